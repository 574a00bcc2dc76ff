"""What befalls a station from beside it (F44, F45, F50, F54): review, crash loop, memory, its own end."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO

import pytest
from structlog.testing import capture_logs

from commands import opened, station, wait_for, wait_for_parts
from partgate.line import Outcome, _station, run_station
from partgate.line._outputs import Confirmation, NoOutput
from partgate.records import Database, Home, OpenPart, RecorderProcess, SignalState, balance
from partgate_cameras import CameraUnavailable, FrameTimeout
from partgate_cameras._respawn import Pace
from partgate_station import IntervalTrigger, StationConfig, VirtualCamera
from scripted_cameras import camera_in_process, scripted

# Each starts whole stations: some seconds on a quiet machine, forty on a busy one.
pytestmark = pytest.mark.timeout(240)

COLLECTING = """\
station_id = "beside"
[trigger]
kind = "interval"
period_s = 0.05
[[cameras]]
kind = "virtual"
camera_id = "top"
size_px = 64
"""
SLOW_CLIENTS = 200
LOG_BYTES_PER_HOUR = 1_000_000


@contextlib.contextmanager
def review(home: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "partgate", "review", "--port", "0", "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, _port(process.stdout)
    finally:
        process.kill()
        process.communicate(timeout=10)


def _port(said: IO[str]) -> int:
    for line in said:
        if found := re.search(r"://[^/:]+:(\d+)", line):
            return int(found[1])
    raise AssertionError("the review never said where it listens")


def _triggers(home: Path) -> int:
    with opened(home) as database, database.read() as session:
        return balance(session).triggers


def test_f44_the_line_does_not_notice_a_review_that_is_flooded_stopped_and_killed(tmp_path: Path) -> None:
    config, home = tmp_path / "station.toml", tmp_path / "line"
    config.write_text(COLLECTING)
    Database.open(Home.open(home)).close()
    with station(home, config) as line:
        wait_for_parts(home, 3)
        with review(home) as (site, port), contextlib.ExitStack() as stack:
            for _ in range(SLOW_CLIENTS):  # they ask, and never read the answer
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
                client.sendall(b"GET /parts HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            flooded = _triggers(home)
            wait_for_parts(home, flooded + 10)
            site.send_signal(signal.SIGSTOP)
            stopped = _triggers(home)
            wait_for_parts(home, stopped + 10)
            site.kill()
        killed = _triggers(home)
        wait_for_parts(home, killed + 10)
        line.send_signal(signal.SIGTERM)
        out, err = line.communicate(timeout=30)
    assert line.returncode == 0, err
    assert "NOT_RECORDED" not in err
    assert "balanced" in out
    with opened(home) as database, database.read() as session:
        found = balance(session)
    assert (found.balanced, found.open) == (True, 0)
    assert found.triggers == found.undecided > 30


@dataclass
class RememberingOutput(NoOutput):
    """Confirms a part when it is told to, and remembers what it was told, in order."""

    told: list[str] = field(default_factory=list)
    pending: list[Future[Confirmation]] = field(default_factory=list)
    problem: str | None = None

    def ready(self, *, parts_may_come: bool) -> None:
        said = "ready" if parts_may_come else "not ready"
        if not self.told or self.told[-1] != said:
            self.told.append(said)

    def signal(self, outcome: Outcome) -> Future[Confirmation]:
        self.told.append(f"part {outcome.trigger_id}")
        confirmed: Future[Confirmation] = Future()
        confirmed.set_result(Confirmation(state=SignalState.CONFIRMED, took_ms=1.0, sends=1))
        return confirmed

    def close(self) -> None:
        self.told.append("closed")


def test_f45_not_ready_is_shown_before_the_part_in_work_is_finished_and_nothing_after_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, stop = RememberingOutput(), threading.Event()
    monkeypatch.setattr(_station, "output_of", lambda config: contextlib.closing(output))

    def on_outcome(outcome: Outcome) -> None:
        if outcome.trigger_id == 3:
            stop.set()  # as SIGTERM does, in the middle of a part
            give_up_s = time.monotonic() + 30
            while output.told[-1] != "not ready" and time.monotonic() < give_up_s:
                time.sleep(0.01)

    config = StationConfig(
        station_id="ending",
        trigger=IntervalTrigger(kind="interval", period_s=0.05),
        cameras=(VirtualCamera(kind="virtual", camera_id="top", size_px=64),),
    )
    with capture_logs() as logged:
        run = run_station(config, Home.open(tmp_path / "line"), stop=stop, on_outcome=on_outcome)
    assert "station not ready" not in {entry["event"] for entry in logged}, "an end is no fault"
    assert run.parts == 3
    parts = [said for said in output.told if said.startswith("part")]
    assert parts == ["part 1", "part 2", "part 3"]
    assert output.told[-3:] == ["part 3", "not ready", "closed"]
    assert output.told.index("ready") < output.told.index("part 3")
    assert run.balance.balanced


def test_f50_a_camera_that_crashes_at_every_start_is_alarmed_of_once_and_floods_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Counted at a pace that is quick here; at the real one there are 360 attempts an hour."""
    camera = camera_in_process(tmp_path, {"0": "exit"})
    camera.open()
    try:
        camera._make = partial(scripted, script={"open": "exit"}, folder=tmp_path, always=True)
        with pytest.raises(CameraUnavailable):
            camera.grab(20)
        wait_for(lambda: camera.restarts >= 8)
        attempts = camera.restarts
    finally:
        camera.close()
    alarms = [record for record in caplog.records if "a person has to look after it" in record.getMessage()]
    assert len(alarms) == 1
    said = sum(len(record.getMessage()) + 100 for record in caplog.records)  # and time, level, names
    assert 3600 / Pace().longest_s * said / attempts < LOG_BYTES_PER_HOUR


def test_f15_a_backlog_of_parts_that_are_over_does_not_look_like_a_camera_that_is_lost(
    tmp_path: Path,
) -> None:
    """After a stall every trigger that waited asks for its frame with no time left."""
    camera = camera_in_process(tmp_path, {str(number): "timeout" for number in range(1, 11)})
    camera.open()
    try:
        assert camera.grab(20).frame_id == 0
        for _ in range(10):
            with pytest.raises(FrameTimeout):
                camera.grab(0.001)
        assert camera.grab(20).frame_id == 11
        assert camera.restarts == 0
    finally:
        camera.close()


def test_f54_the_recorder_goes_before_the_line_when_memory_runs_out_and_comes_back(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "line")
    with Database.open(home) as database, RecorderProcess(database, station_id="one", keep="all") as recorder:
        recorder.wait_ready()
        first = recorder.pid
        own = int(Path("/proc/self/oom_score_adj").read_text())
        assert int(Path(f"/proc/{first}/oom_score_adj").read_text()) > own
        assert first is not None
        os.kill(first, signal.SIGKILL)
        part = OpenPart(trigger_id=1, triggered_at=datetime.now(UTC))
        recorder.open_part(part).result(30)
        wait_for(lambda: recorder.is_ready and recorder.pid != first)


def test_metrics_count_what_became_of_signals(tmp_path: Path) -> None:
    config, home = tmp_path / "station.toml", tmp_path / "line"
    Database.open(Home.open(home)).close()
    config.write_text(COLLECTING + '[output]\nkind = "simulator"\nconfirm_ms = 5000\n[health]\nport = 0\n')
    with station(home, config) as line:
        assert line.stderr is not None
        found = next(filter(None, (re.search(r"address=(\S+):(\d+)", said) for said in line.stderr)))
        host, port = found.groups()
        wait_for_parts(home, 5)
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            text = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    confirmed = re.search(r'partgate_signals_total\{state="CONFIRMED",station="beside"\} (\S+)', text)
    assert confirmed is not None
    assert float(confirmed[1]) >= 4
    assert 'partgate_signals_total{state="UNCONFIRMED",station="beside"} 0.0' in text
    assert 'partgate_signal_confirmed_seconds_count{station="beside"}' in text
