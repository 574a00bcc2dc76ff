"""How many parts are left to review."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from sqlmodel import Session

from partgate.review._filter import Filter
from partgate.review._queue import MOST_COUNTED, count_open
from partgate.review._resting import Resting

FRESH_BELOW_S = 0.05
"""Every page and every list that lies open asks: a count that takes longer rests for seconds."""


class Left:
    """Counts what is left of each choice of parts for each page; a count that is slow rests.

    Overflow policy: with `choices` choices known, the one that was asked for longest ago is forgotten.
    """

    def __init__(self, *, choices: int = 64, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = choices
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: OrderedDict[str, Resting[int]] = OrderedDict()

    def text(self, session: Session, choice: Filter) -> str:
        """Return how many parts of a choice nobody has reviewed yet, as a page says it."""
        left = self._of(choice.open_query()).get(lambda: count_open(session, choice))
        return f"{MOST_COUNTED}+" if left > MOST_COUNTED else str(left)

    def _of(self, choice: str) -> Resting[int]:
        with self._lock:
            if choice not in self._counts:
                self._counts[choice] = Resting(fresh_below_s=FRESH_BELOW_S, clock=self._clock)
            self._counts.move_to_end(choice)
            while len(self._counts) > self._limit:
                self._counts.popitem(last=False)
            return self._counts[choice]
