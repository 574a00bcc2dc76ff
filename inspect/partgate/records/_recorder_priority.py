"""What of the processors a recorder's process gets: what nobody else wants, as long as that is enough.

    IDLE --more than BEHIND commands wait--> NICED --at most CAUGHT_UP wait--> IDLE

A niced process that runs is left its time slice when a thread of the model wakes up, one that is idle by
policy is not. But an idle one gets nothing at all beside work that never pauses, such as a product that is
learned on the station's machine: so the line, which sees what waits, takes it back in time.
"""

import contextlib
import os
import threading
from pathlib import Path

import structlog

NICENESS = 10
BEHIND = 32  # commands, of 16 parts: a quarter of what may wait
CAUGHT_UP = 8

log = structlog.get_logger(__name__)


class RecorderPriority:
    """The priority of one process. Used by one thread, of the line."""

    def __init__(self, pid: int) -> None:
        """Leave it as it is until it is known what waits."""
        self._pid = pid
        self._is_idle = False
        self._may_change = can_come_back()

    def follow(self, waiting: int) -> None:
        """Give the process what it needs for so many commands; costs nothing while that does not change."""
        if not self._may_change:
            return
        if self._is_idle and waiting > BEHIND:
            self._set(os.SCHED_OTHER)
        elif not self._is_idle and waiting <= CAUGHT_UP:
            self._set(os.SCHED_IDLE)

    def _set(self, policy: int) -> None:
        self._is_idle = policy == os.SCHED_IDLE
        try:
            _give(self._pid, policy)
        except PermissionError as error:
            log.warning("the recorder's priority stays as it is", error=str(error))
            self._may_change = False


def hurry() -> None:
    """Have this process idle no longer: it is to end, and somebody may wait for that."""
    with contextlib.suppress(PermissionError):  # then it never was idle
        _give(os.getpid(), os.SCHED_OTHER)


def can_come_back() -> bool:
    """Return whether a process of this user may leave the idle policy again.

    Root may, and so may who has a limit on niceness (systemd's `LimitNICE`); others would keep their
    recorder idle for good. Tried by a thread that ends here.
    """
    found = list[bool]()

    def try_it() -> None:
        here = threading.get_native_id()
        try:
            os.setpriority(os.PRIO_PROCESS, here, min(os.getpriority(os.PRIO_PROCESS, here) + NICENESS, 19))
            os.sched_setscheduler(here, os.SCHED_IDLE, os.sched_param(0))
            os.sched_setscheduler(here, os.SCHED_OTHER, os.sched_param(0))
        except OSError:
            return
        found.append(True)

    thread = threading.Thread(target=try_it, name="priority-trial")
    thread.start()
    thread.join()
    return bool(found)


def _give(pid: int, policy: int) -> None:
    """Give all threads of a process a policy; those that start later have that of who starts them."""
    for thread in _threads(pid):
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setscheduler(thread, policy, os.sched_param(0))


def _threads(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
    return []  # it has ended
