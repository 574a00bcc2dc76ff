"""A bound on costly work: the site shares its machine with an inspection line."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from partgate.review._errors import SiteBusy


class Slots:
    """Let so many callers in at once; the others wait, and are turned away at the deadline."""

    def __init__(self, *, name: str, count: int, timeout_s: float) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._free = threading.BoundedSemaphore(count)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold one slot.

        Raises:
            SiteBusy: none became free in time.
        """
        if not self._free.acquire(timeout=self._timeout_s):
            raise SiteBusy(f"{self._name}: no slot became free within {self._timeout_s:g} s; try again")
        try:
            yield
        finally:
            self._free.release()
