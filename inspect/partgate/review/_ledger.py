"""The ledger's balance in the header of each page."""

import time
from collections.abc import Callable

from sqlmodel import Session

from partgate.records import Balance, balance
from partgate.review._resting import Resting

FRESH_BELOW_S = 0.25
"""Counting 200,000 parts takes 0.05 s; up to about a million each page counts anew."""


class Ledger:
    """Counts the ledger for each page; one that is slow to count rests.

    The station shares the machine, and a reviewer opens a page every few seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._balance: Resting[Balance] = Resting(fresh_below_s=FRESH_BELOW_S, clock=clock)

    def count(self, session: Session) -> Balance:
        """Return the balance; of a very large ledger that of a few seconds ago."""
        return self._balance.get(lambda: balance(session))
