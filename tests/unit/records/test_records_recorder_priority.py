"""What of the processors the recorder's process gets, by what waits for it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from partgate.records import Database, RecorderProcess
from partgate.records import _recorder_priority as priority
from partgate.records._recorder_priority import BEHIND, CAUGHT_UP, RecorderPriority, can_come_back, hurry

TIMEOUT_S = 20
TWO_THREADS = """
import threading, sys
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("there", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def process() -> Iterator[int]:
    """A process of two threads that does nothing."""
    with subprocess.Popen(
        [sys.executable, "-c", TWO_THREADS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as started:
        assert started.stdout is not None
        started.stdout.readline()
        yield started.pid
        started.communicate()


def _policies(pid: int) -> set[int]:
    return {os.sched_getscheduler(int(thread.name)) for thread in Path(f"/proc/{pid}/task").iterdir()}


def test_it_is_idle_until_it_is_behind_and_again_once_it_has_caught_up(process: int) -> None:
    idle = os.SCHED_IDLE if can_come_back() else os.SCHED_OTHER
    followed = RecorderPriority(process)
    assert _policies(process) == {os.SCHED_OTHER}
    for waiting, policy in [
        (CAUGHT_UP + 1, os.SCHED_OTHER),  # nothing is known yet of how it keeps up
        (CAUGHT_UP, idle),
        (BEHIND, idle),
        (BEHIND + 1, os.SCHED_OTHER),
        (CAUGHT_UP + 1, os.SCHED_OTHER),
        (0, idle),
    ]:
        followed.follow(waiting)
        assert _policies(process) == {policy}, waiting


def test_who_could_not_come_back_does_not_become_idle(process: int) -> None:
    with mock.patch("os.sched_setscheduler", side_effect=PermissionError):
        assert not can_come_back()
        followed = RecorderPriority(process)
        followed.follow(0)
    followed.follow(0)
    assert _policies(process) == {os.SCHED_OTHER}


def test_after_a_refusal_in_service_nothing_else_is_tried(process: int) -> None:
    with mock.patch.object(priority, "can_come_back", return_value=True):
        followed = RecorderPriority(process)
    with mock.patch("os.sched_setscheduler", side_effect=PermissionError) as refused:
        followed.follow(0)
        tried = refused.call_count
        followed.follow(BEHIND + 1)
        assert refused.call_count == tried == 1


def test_a_process_that_has_ended_is_no_error(process: int) -> None:
    followed = RecorderPriority(process)
    with mock.patch("os.sched_setscheduler", side_effect=ProcessLookupError):
        followed.follow(0)
    RecorderPriority(2**22 + 1).follow(0)  # more than there may be


def test_hurrying_takes_a_process_out_of_idle() -> None:
    if not can_come_back():
        pytest.skip("this user may not leave the idle policy, so no recorder of theirs is ever in it")
    program = (
        "import os; from partgate.records._recorder_priority import hurry;"
        "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)); hurry();"
        "print(os.sched_getscheduler(0) == os.SCHED_OTHER)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    hurry()  # where nothing is idle it changes nothing
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_the_recorder_of_a_station_is_idle_once_it_is_ready(database: Database) -> None:
    expected = os.SCHED_IDLE if can_come_back() else os.SCHED_OTHER
    with RecorderProcess(database, station_id="one", keep="all") as recorder:
        recorder.wait_ready(TIMEOUT_S)
        assert recorder.pid is not None
        until_s = time.monotonic() + TIMEOUT_S
        while _policies(recorder.pid) != {expected} and time.monotonic() < until_s:
            time.sleep(0.05)
        assert _policies(recorder.pid) == {expected}
        assert os.getpriority(os.PRIO_PROCESS, recorder.pid) >= priority.NICENESS
