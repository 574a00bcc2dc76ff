"""Threads kept to processors: set for one, and inherited by the threads and processes it starts."""

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from partgate_engines._cores import CoreSplit, core_list
from partgate_station import ConfigError

_TASKS = Path("/proc")


@contextlib.contextmanager
def on_cores(processors: Collection[int]) -> Iterator[None]:
    """Keep the calling thread, and all that it starts until the block ends, to these processors.

    Raises:
        ConfigError: the kernel does not give them any more.
    """
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, processors)
    except OSError as error:
        raise ConfigError(
            f"judging.cores: processors {core_list(processors)} cannot be had ({error.strerror}); they were"
            " there when the station started: is one switched off, the container's cpuset changed?"
        ) from error
    try:
        yield
    finally:
        _set(0, before)


def keep_process_on(processors: Collection[int], pid: int = 0) -> Mapping[int, Collection[int]]:
    """Keep all threads of a process, and so all that they start, to these processors.

    Args:
        processors: by the kernel's numbers.
        pid: 0 for this process. One that has ended is passed over.

    Returns:
        Where its threads could run before, by thread.
    """
    before = thread_processors(pid)
    seen: set[int] = set()
    # Anew until there is no thread that was started meanwhile by one that was not kept yet.
    while threads := thread_processors(pid).keys() - seen:
        for thread in threads:
            _set(thread, processors)
        seen |= threads
    return before


def let_go(before: Mapping[int, Collection[int]]) -> None:
    """Let threads run where they could; those that have ended are passed over."""
    for thread, processors in before.items():
        _set(thread, processors)


def thread_processors(pid: int = 0) -> dict[int, frozenset[int]]:
    """Return where each thread of a process may run; nothing of a process that has ended."""
    found: dict[int, frozenset[int]] = {}
    with contextlib.suppress(OSError):
        for path in (_TASKS / (str(pid) if pid else "self") / "task").iterdir():
            with contextlib.suppress(OSError):
                found[int(path.name)] = frozenset(os.sched_getaffinity(int(path.name)))
    return found


def split_of(pid: int) -> CoreSplit | None:
    """Return which processors a running station judges on, read from its threads.

    None where it has ended, or where its loop may run wherever its other threads may.
    """
    threads = thread_processors(pid)
    loop = threads.pop(pid, frozenset[int]())
    others = frozenset[int]().union(*(one for one in threads.values() if not one <= loop))
    if not loop or not others or loop & others:
        return None
    return CoreSplit(judging=loop, others=others)


def _set(thread: int, processors: Collection[int]) -> None:
    with contextlib.suppress(OSError):  # it has ended, or the processors have gone
        os.sched_setaffinity(thread, processors)
