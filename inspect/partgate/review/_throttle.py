"""Slows down whoever guesses passwords, in memory and bounded."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tries:
    count: int
    last_s: float
    free_at_s: float


class Throttle:
    """Count tries per key; beyond the free ones each waits twice as long as the one before.

    Overflow policy: with `keys` keys known, the one that tried longest ago is forgotten.
    """

    def __init__(
        self,
        *,
        free: int,
        longest_s: float = 60,
        forget_after_s: float = 900,
        keys: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._free = free
        self._longest_s = longest_s
        self._forget_after_s = forget_after_s
        self._keys = keys
        self._clock = clock
        self._lock = threading.Lock()
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def admit(self, key: str) -> float:
        """Count a try and let it pass (0), or return the seconds it has to wait.

        A try counts before its outcome is known: many at the same moment are many tries.
        """
        with self._lock:
            now_s = self._clock()
            tries = self._known(key, now_s)
            if tries is not None and tries.free_at_s > now_s:
                return tries.free_at_s - now_s
            self._count(key, tries.count + 1 if tries else 1, now_s)
            return 0

    def forgive(self, key: str) -> None:
        """Forget the tries of a key whose password was right."""
        with self._lock:
            self._tries.pop(key, None)

    def take_back(self, key: str) -> None:
        """Uncount one try, because its password was right; earlier ones stay."""
        with self._lock:
            tries = self._tries.get(key)
            if tries is not None:
                self._tries[key] = _Tries(
                    count=max(0, tries.count - 1), last_s=tries.last_s, free_at_s=self._clock()
                )

    def _known(self, key: str, now_s: float) -> _Tries | None:
        tries = self._tries.get(key)
        if tries is None or now_s - tries.last_s > self._forget_after_s:
            return None
        return tries

    def _count(self, key: str, count: int, now_s: float) -> None:
        beyond = count - self._free
        wait_s = min(self._longest_s, 2.0 ** min(beyond, 30)) if beyond >= 0 else 0
        self._tries[key] = _Tries(count=count, last_s=now_s, free_at_s=now_s + wait_s)
        self._tries.move_to_end(key)
        while len(self._tries) > self._keys:
            self._tries.popitem(last=False)
