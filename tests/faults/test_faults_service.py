"""A station as a service manager sees it: started, asked, told to end while parts run, started twice."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from commands import partgate
from partgate.line._stages import Stage
from partgate.records import Balance, Database, Home, balance

STATION = """\
station_id = "service"
[trigger]
kind = "interval"
period_s = 0.05
[health]
port = 0
[[cameras]]
kind = "virtual"
camera_id = "top"
size_px = 64
"""
STARTS_WITHIN_S = 45.0


@dataclass
class Manager:
    """What started a station: it hears its notifications, and its log."""

    process: subprocess.Popen[str]
    listener: socket.socket
    home: Path
    log_path: Path
    heard: list[str] = field(default_factory=list)

    def hear_until(self, wanted: str, timeout_s: float = STARTS_WITHIN_S) -> None:
        self.listener.settimeout(timeout_s)
        while not self.heard or wanted not in self.heard[-1]:
            self.heard.append(self.listener.recv(4096).decode())

    def log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def page(self, path: str) -> tuple[int, str]:
        address = next(str(line["address"]) for line in self.log() if line["event"] == "health pages")
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@contextmanager
def managed(tmp_path: Path) -> Iterator[Manager]:
    config, home, log_path = tmp_path / "station.toml", tmp_path / "line", tmp_path / "log"
    config.write_text(STATION)
    name = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, log_path.open("w") as log:
        listener.bind(str(name))
        process = subprocess.Popen(
            [sys.executable, "-m", "partgate", "run", str(config), "--home", str(home), "--json"],
            env={
                **os.environ,
                "NOTIFY_SOCKET": str(name),
                "WATCHDOG_USEC": "300000",
                "PARTGATE_LOG": "json",
            },
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            yield Manager(process, listener, home, log_path)
        finally:
            process.kill()
            process.communicate(timeout=10)


def ledger(home: Path) -> Balance:
    with Database.open(Home.open(home)) as database, database.read() as session:
        return balance(session)


def test_sigterm_while_parts_run_ends_in_time_with_every_part_recorded(tmp_path: Path) -> None:
    with managed(tmp_path) as manager:
        manager.hear_until("READY=1")
        manager.hear_until("WATCHDOG=1")
        manager.hear_until("parts, ready")
        assert manager.page("/live") == (200, "the loop turns\n")
        assert manager.page("/ready")[0] == 200
        status, metrics = manager.page("/metrics")
        assert status == 200
        counted = re.search(r'partgate_parts_total\{reason="NO_RECIPE".*\} (\S+)', metrics)
        assert counted is not None
        assert float(counted[1]) > 0
        assert 'partgate_proof{proof="camera top",station="service"} 1.0' in metrics
        # What the stages took is what the parts took, and the moment that the signal itself took.
        stages = re.findall(r"^partgate_stage_seconds_sum\{.*\} (\S+)$", metrics, re.MULTILINE)
        latency = re.search(r"^partgate_trigger_to_verdict_seconds_sum\{.*\} (\S+)$", metrics, re.MULTILINE)
        assert latency is not None
        assert len(stages) == len(Stage)
        assert sum(map(float, stages)) >= float(latency[1])
        told_s = time.monotonic()
        manager.process.send_signal(signal.SIGTERM)
        out, _ = manager.process.communicate(timeout=20)
        took_s = time.monotonic() - told_s
        manager.hear_until("STOPPING=1")
    assert manager.process.returncode == 0
    assert took_s < 10
    said = json.loads(out)
    assert said["balanced"] is True
    found = ledger(manager.home)
    assert found.balanced
    assert found.open == 0
    assert found.triggers == said["parts"] > 0
    assert not [line for line in manager.log() if line["event"] in {"not proven", "station not ready"}]
    assert manager.heard.count("READY=1") == 1
    assert manager.heard.index("READY=1") > next(
        number for number, line in enumerate(manager.heard) if line.startswith("STATUS=starting")
    )


def test_a_second_start_is_refused_with_the_first_ones_process(tmp_path: Path) -> None:
    with managed(tmp_path) as manager:
        manager.hear_until("READY=1")
        second = partgate("run", tmp_path / "station.toml", "--parts", "1", home=manager.home)
        assert second.returncode == 75
        assert f"pid {manager.process.pid}" in second.stderr
        assert manager.process.poll() is None


def test_a_part_in_work_has_its_numbers_in_the_log(tmp_path: Path) -> None:
    with managed(tmp_path) as manager:
        manager.hear_until("READY=1")
        os.kill(camera_pid(manager.process.pid), signal.SIGKILL)
        manager.hear_until("NOT READY: camera top")
        assert manager.page("/live")[0] == 200
        manager.hear_until("parts, ready")  # by itself
        manager.process.send_signal(signal.SIGTERM)
        manager.process.communicate(timeout=20)
    missed = [line for line in manager.log() if line["event"] == "no frame"]
    assert missed
    assert all(isinstance(line["trigger"], int) and line["part"] for line in missed)
    assert any("camera top: lost" in str(line["event"]) for line in manager.log())  # logged by a library
    assert ledger(manager.home).balanced


def camera_pid(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = {int(child) for task in tasks for child in (task / "children").read_text().split()}
    return next(
        child
        for child in children
        if b"partgate_cameras._child" in Path(f"/proc/{child}/cmdline").read_bytes()
    )


def test_a_port_that_is_taken_ends_the_start_at_once_with_69(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = tmp_path / "station.toml"
        config.write_text(STATION.replace("port = 0", f"port = {port}"))
        done = partgate("run", config, "--parts", "1", home=tmp_path / "line")
    assert done.returncode == 69
    assert f"[health] port {port} on 127.0.0.1: another program has it" in done.stderr
    assert ledger(tmp_path / "line").triggers == 0
