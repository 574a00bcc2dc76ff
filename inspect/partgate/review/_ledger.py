"""The ledger's balance in the header of each page."""

import threading
import time
from collections.abc import Callable

from sqlmodel import Session

from partgate.records import Balance, balance

FRESH_BELOW_S = 0.25
"""Counting 200,000 parts takes 0.05 s; up to about a million each page counts anew."""
REST = 20


class Ledger:
    """Counts the ledger for each page; one that is slow to count rests twenty times that long.

    The station shares the machine, and a reviewer opens a page every few seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: Balance | None = None
        self._good_until_s = 0.0

    def count(self, session: Session) -> Balance:
        """Return the balance; of a very large ledger that of a few seconds ago."""
        with self._lock:
            began_s = self._clock()
            if self._last is None or began_s >= self._good_until_s:
                self._last = balance(session)
                took_s = self._clock() - began_s
                self._good_until_s = began_s + (REST * took_s if took_s > FRESH_BELOW_S else 0)
            return self._last
