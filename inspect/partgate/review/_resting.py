"""Something that is counted for each page, unless counting it is slow."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

REST = 20
STALE_S = 30.0
"""So long after its rest a number is still good enough for pages that come while it is counted anew."""
WAIT_S = 0.1
FIRST_WAIT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known(Generic[T]):
    value: T
    good_until_s: float


class Resting(Generic[T]):
    """Counts anew for each page; what was slow to count rests twenty times that long.

    One page counts at a time. Those that come meanwhile are shown what was counted before; where that is
    long ago, or there is nothing, they wait for a second and then count for themselves.

    Args:
        fresh_below_s: what takes no longer does not rest.
        clock: monotonic.
    """

    def __init__(self, *, fresh_below_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._fresh_below_s = fresh_below_s
        self._clock = clock
        self._counting = threading.Lock()
        self._known: _Known[T] | None = None

    def get(self, count: Callable[[], T]) -> T:
        """Return what `count` gives, or gave a while ago."""
        began_s, known = self._clock(), self._known
        if known is not None and began_s < known.good_until_s:
            return known.value
        if not self._counting.acquire(blocking=False):
            usable = known is not None and began_s < known.good_until_s + STALE_S
            if not self._counting.acquire(timeout=WAIT_S if usable else FIRST_WAIT_S):
                return known.value if known is not None and usable else count()
            began_s, known = self._clock(), self._known
        try:
            if known is None or began_s >= known.good_until_s:
                known = self._known = self._counted(count, began_s)
        finally:
            self._counting.release()
        return known.value

    def _counted(self, count: Callable[[], T], began_s: float) -> _Known[T]:
        value = count()
        took_s = self._clock() - began_s
        rest_s = REST * took_s if took_s > self._fresh_below_s else 0
        return _Known(value=value, good_until_s=began_s + rest_s)
