"""What befalls the model while parts come (robustness F15-F18, F49): none is without its row."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlmodel import select

from commands import opened
from partgate.line._taking import PARTS_IN_WORK
from partgate.records import Balance, Part, SignalState, balance
from partgate_station import Verdict

# Each starts whole stations: some seconds on a quiet machine, fifty on a busy one.
pytestmark = pytest.mark.timeout(240)

STUB = Path(__file__).parents[1] / "stub_station.py"
STATION = """\
station_id = "stubbed"
product = "tile"
[trigger]
kind = "interval"
period_s = 0.05
[output]
kind = "simulator"
confirm_ms = 5000
[[cameras]]
kind = "virtual"
camera_id = "top"
size_px = 64
"""
WATCHDOG_S = 0.6


def command(tmp_path: Path, fault: str, at: int, *more: str) -> list[str]:
    config = tmp_path / "station.toml"
    config.write_text(STATION)
    return [
        sys.executable,
        str(STUB),
        fault,
        str(at),
        "run",
        str(config),
        "--home",
        str(tmp_path / "line"),
        *more,
    ]


def run(tmp_path: Path, fault: str, at: int, *, parts: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(tmp_path, fault, at, "--parts", str(parts)),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def ledger(tmp_path: Path) -> tuple[Balance, Sequence[Part]]:
    with opened(tmp_path / "line") as database, database.read() as session:
        parts = session.exec(select(Part).order_by(Part.trigger_id)).all()  # type: ignore[arg-type]
        session.expunge_all()
        return balance(session), parts


@pytest.mark.parametrize(
    ("fault", "exit_code", "says"),
    [("device", 70, "this process must end"), ("memory", 1, "MemoryError")],
    ids=["F16 poisoned device", "F18 no memory"],
)
def test_f16_f18_a_fault_of_the_runtime_ends_the_process_with_its_part_closed_and_the_next_one_judges(
    fault: str, exit_code: int, says: str, tmp_path: Path
) -> None:
    done = run(tmp_path, fault, 4, parts=10)
    assert done.returncode == exit_code, done.stderr
    assert says in done.stderr
    found, parts = ledger(tmp_path)
    assert found.balanced
    assert [part.verdict for part in parts] == [*[Verdict.ACCEPT] * 3, Verdict.UNDECIDED]
    assert (parts[-1].reason or "").startswith("STATION_FAULT")
    assert parts[-1].signal_state is SignalState.CONFIRMED, "the gate was told to stay shut"
    again = run(tmp_path, "none", 1, parts=2)
    assert again.returncode == 0, again.stderr
    found, parts = ledger(tmp_path)
    assert (found.balanced, found.accept, found.undecided, found.triggers) == (True, 5, 1, 6)


def test_f17_what_is_no_number_is_undecided_part_for_part(tmp_path: Path) -> None:
    done = run(tmp_path, "nan", 3, parts=5)
    assert done.returncode == 0, done.stderr
    _, parts = ledger(tmp_path)
    assert [part.verdict for part in parts] == [Verdict.ACCEPT] * 2 + [Verdict.UNDECIDED] * 3
    assert all((part.reason or "").startswith("SCORE_NOT_FINITE") for part in parts[2:])


def test_f15_a_model_that_is_too_slow_costs_its_parts_alone(tmp_path: Path) -> None:
    done = run(tmp_path, "slow", 3, parts=5)
    assert done.returncode == 0, done.stderr
    found, parts = ledger(tmp_path)
    assert found.balanced
    late = [part for part in parts if (part.reason or "").startswith("DEADLINE_MISSED")]
    assert [part.trigger_id for part in late][-3:] == [3, 4, 5]
    # Those that were judged and late keep their score; those whose turn came too late have none.
    assert all(part.score is None or part.score == pytest.approx(0.1) for part in late)


@contextmanager
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(90)
        yield listener


def test_f15_f49_a_model_that_hangs_stops_the_signs_of_life_and_a_new_process_judges(tmp_path: Path) -> None:
    """The service manager's part, to kill what gives no sign of life any more, is played here."""
    with listening(tmp_path) as listener:
        process = subprocess.Popen(
            command(tmp_path, "hang", 4),
            env={
                **os.environ,
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
                "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while "WATCHDOG=1" not in listener.recv(4096).decode():
                pass
            fed_s = [time.monotonic()]
            silent_from_s = time.monotonic()
            while time.monotonic() - silent_from_s < 5 * WATCHDOG_S:
                listener.settimeout(5 * WATCHDOG_S)
                try:
                    told = listener.recv(4096).decode()
                except TimeoutError:
                    break
                if "WATCHDOG=1" in told:
                    silent_from_s = time.monotonic()
                    fed_s.append(silent_from_s)
            assert process.poll() is None, "it hangs, it has not ended"
            os.kill(process.pid, signal.SIGABRT)
        finally:
            process.kill()
            process.wait(timeout=10)
    again = run(tmp_path, "none", 1, parts=3)
    assert again.returncode == 0, again.stderr
    found, parts = ledger(tmp_path)
    assert (found.balanced, found.open) == (True, 0)
    verdicts = [part.verdict for part in parts]
    assert verdicts[:3] == verdicts[-3:] == [Verdict.ACCEPT] * 3
    hung = parts[3:-3]
    assert 1 <= len(hung) <= PARTS_IN_WORK, "the one that it hung over, and those taken meanwhile"
    for part in hung:
        assert part.verdict is Verdict.UNDECIDED
        assert (part.reason or "").startswith("INTERRUPTED")
        assert part.signal_state is None, "it was never signalled: its gate stayed shut"
