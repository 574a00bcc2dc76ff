"""Which part each reviewer has open, so that two of them are not led to the same one."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from uuid import UUID

HELD_S = 60.0
"""Nobody looks at a part for longer without a decision, unless they have gone away from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    part_id: UUID
    until_s: float


class Desks:
    """Notes the part that each login opened last, for a minute. It advises: no part is kept from anybody.

    Overflow policy: with `logins` logins known, the one that opened a part longest ago is forgotten.
    """

    def __init__(self, *, logins: int = 64, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = logins
        self._clock = clock
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Open] = OrderedDict()

    def note(self, login: str, part_id: UUID) -> None:
        """Note that a login has opened a part, and so left the one before."""
        with self._lock:
            self._open[login] = _Open(part_id=part_id, until_s=self._clock() + HELD_S)
            self._open.move_to_end(login)
            while len(self._open) > self._limit:
                self._open.popitem(last=False)

    def of_others(self, login: str) -> Collection[UUID]:
        """Return the parts that lie open at other logins."""
        with self._lock:
            now_s = self._clock()
            return {
                noted.part_id
                for other, noted in self._open.items()
                if other != login and noted.until_s > now_s
            }
