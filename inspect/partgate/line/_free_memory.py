"""What an outage leaves in the allocator: memory that is free, and that the process keeps all the same."""

import ctypes
from collections.abc import Callable
from functools import cache


def give_back_free_memory() -> None:
    """Give the system back whatever the allocator holds free; other threads of Python run meanwhile.

    In an outage up to 64 parts wait with their frames. Afterwards single blocks that are still in use keep
    what lies around them: in ten minutes of faults a line that used 80 MB, as in the first of them, went from
    163 to 181 MB of its own, in steps that looked like a leak (docs/decisions/0017). Takes 2 ms there, and
    whoever allocates waits: to be called while no part may come.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    """Return glibc's own; None with another library, which has none."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
