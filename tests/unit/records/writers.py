"""Processes that write records and are killed, or write side by side; started by test_records_processes.py.

The parent imports everything once and forks: it has neither threads nor connections of its own then.
"""

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from partgate.records import (
    ClosedPart,
    Database,
    Home,
    ImageStore,
    OpenPart,
    RecordedFrame,
    Recorder,
    RecorderProcess,
    add_station,
    audit,
    utc_now,
)
from partgate_station import Verdict

TIMEOUT_S = 20
LINE_BYTES = 35  # of an acknowledgement, at least: 32 digits, a space, a process id, a line's end


def line(home: Home, acknowledged: int) -> None:
    """Take parts until killed; a line in `acknowledged` is a promise made after the row was durable."""
    image = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    database = Database.open(home)
    recorder = Recorder(database, ImageStore(home), station_id="one", keep="all")
    recorder.recover()
    first = recorder.next_trigger_id()
    for trigger_id in range(first, first + 100_000):
        part = OpenPart(trigger_id=trigger_id, triggered_at=utc_now())
        recorder.open_part(part).result(TIMEOUT_S)
        os.write(acknowledged, f"{part.part_id.hex}\n".encode())
        frame = RecordedFrame(
            camera_id="top",
            frame_id=trigger_id,
            received_at=utc_now(),
            image=image + np.uint8(trigger_id % 251),
        )
        recorder.close_part(
            ClosedPart(part_id=part.part_id, verdict=Verdict.REJECT, score=1.0, frames=(frame,))
        )


def process_line(home: Home, acknowledged: int) -> None:
    """Take parts as `line` does, with a recorder in a process of its own; its id is noted at every part."""
    image = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    database = Database.open(home)
    recorder = RecorderProcess(database, station_id="one", keep="all")
    recorder.recover()
    first = recorder.next_trigger_id()
    for trigger_id in range(first, first + 100_000):
        part = OpenPart(trigger_id=trigger_id, triggered_at=utc_now())
        recorder.open_part(part).result(TIMEOUT_S)
        frame = RecordedFrame(
            camera_id="top",
            frame_id=trigger_id,
            received_at=utc_now(),
            image=image + np.uint8(trigger_id % 251),
        )
        closed = ClosedPart(part_id=part.part_id, verdict=Verdict.REJECT, score=1.0, frames=(frame,))
        recorder.note_verdict(closed)  # from here on the verdict may leave
        os.write(acknowledged, f"{part.part_id.hex} {recorder.pid or 0}\n".encode())
        recorder.close_part(closed)


def kill_processes(home: Home, acknowledged: int, rounds: int, victims: str) -> None:
    """Kill the line, its recorder or both, again and again, and the line at the end of every round.

    `recorder`: twice in the life of one line, which has to go on. `both`: the recorder first.
    """
    moments = random.Random(20260108)
    for _ in range(rounds):
        pid, killed = fork(lambda: process_line(home, acknowledged)), 0
        for _ in range({"line": 0, "recorder": 2, "both": 1}[victims]):
            recorder_pid = _wait_for_parts(acknowledged, moments.randint(1, 60))
            while recorder_pid in (0, killed):  # on a busy machine parts are taken before the next one runs
                recorder_pid = _wait_for_parts(acknowledged, 1)
            os.kill(recorder_pid, signal.SIGKILL)
            killed = recorder_pid
        if victims != "both":
            _wait_for_parts(acknowledged, moments.randint(1, 60))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            sys.exit("the line ended before it was killed")


def _wait_for_parts(acknowledged: int, parts: int) -> int:
    """Wait until so many more parts were acknowledged; return the recorder's process of then."""
    wanted = os.fstat(acknowledged).st_size + parts * LINE_BYTES
    deadline = time.monotonic() + TIMEOUT_S
    while os.fstat(acknowledged).st_size < wanted:
        if time.monotonic() > deadline:
            sys.exit(f"the line took fewer than {parts} parts in {TIMEOUT_S} s")
        time.sleep(0.001)
    lines = Path(sys.argv[3]).read_text().split("\n")
    return int(lines[-2].split()[1])


def clerk(home: Home, number: int, rows: int) -> None:
    """Write rows that depend on the ones before: a lost or doubled act breaks the audit chain."""
    with Database.open(home) as database:
        for row in range(rows):

            def act(session: object, row: int = row) -> None:
                add_station(session, station_id=f"{number}-{row}")  # type: ignore[arg-type]
                audit.append(session, who=str(number), what="station.add", subject=str(row))  # type: ignore[arg-type]

            database.write(act).result(TIMEOUT_S)


def fork(act: Callable[[], None]) -> int:
    """Run an act in a child process and return its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        act()
    except Exception:  # noqa: BLE001 - the top of a process: said, and an exit code
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def kill_lines(home: Home, acknowledged: int, rounds: int) -> None:
    """Start a line and kill it, again and again, at moments chosen by a seeded generator."""
    moments = random.Random(20260103)
    for _ in range(rounds):
        before = os.fstat(acknowledged).st_size
        pid = fork(lambda: line(home, acknowledged))
        deadline = time.monotonic() + TIMEOUT_S
        while os.fstat(acknowledged).st_size == before and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.15))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            sys.exit("the line ended before it was killed")


def run_clerks(home: Home, clerks: int, rows: int) -> None:
    """Let several processes write at the same time, the first start included."""
    pids = [fork(lambda number=number: clerk(home, number, rows)) for number in range(clerks)]  # type: ignore[misc]
    if any(os.waitpid(pid, 0)[1] for pid in pids):
        sys.exit("a clerk failed")


if __name__ == "__main__":
    place = Home.open(Path(sys.argv[2]))
    if sys.argv[1] == "lines":
        kill_lines(place, os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND), int(sys.argv[4]))
    elif sys.argv[1] == "processes":
        kill_processes(
            place, os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND), int(sys.argv[4]), sys.argv[5]
        )
    else:
        run_clerks(place, int(sys.argv[3]), int(sys.argv[4]))
