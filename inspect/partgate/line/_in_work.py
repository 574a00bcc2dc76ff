"""Parts in work: handed from the thread that takes them in to the loop, in the order of their triggers."""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

from partgate.line._judge import Judge
from partgate.line._part import Trigger
from partgate.line._stages import StageClock
from partgate.records import OpenPart
from partgate_cameras import CameraError, Frame, ImageError

TURN_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenPart:
    """A part whose trigger has come, and what its cameras gave."""

    trigger: Trigger
    part: OpenPart
    judge: Judge | None
    """Who judges it, whatever comes into force meanwhile; None where no recipe is active."""

    durable: Future[None]
    """Resolves when its row is on disk."""

    deadline_ms: int
    clock: StageClock
    frames: Sequence[Frame] = ()
    error: CameraError | ImageError | None = None
    """Of the first camera without a frame."""

    fault: Exception | None = None
    """What nobody foresaw: the station has to end, with this part closed."""

    @property
    def deadline_s(self) -> float:
        """When its verdict must have left, on the monotonic clock."""
        return self.trigger.monotonic_s + self.deadline_ms / 1000


class PartsInWork:
    """Parts that were taken in and are not done: those that wait, and the one that is judged.

    `has_room`, `put` and `finish` are the taking thread's, the rest is the loop's.

    Args:
        most: so many at once.
        overflow: what happens to one more. `block`: it is not taken in before one is done; its trigger waits
            with its source, by the source's rules.
    """

    def __init__(self, most: int, *, overflow: Literal["block"]) -> None:
        self._most, self._overflow = most, overflow
        self._changed = threading.Condition()
        self._waiting: deque[TakenPart] = deque()  # at most `most`
        self._in_work = 0
        self._is_finished = False
        self._failure: Exception | None = None
        self.is_ending = False
        """Whether the loop wants no more."""

    def has_room(self, most: int | None = None) -> bool:
        """Wait until fewer parts than `most` are in work; return False if the loop wants no more."""
        with self._changed:
            while self._in_work >= (most or self._most) and not self.is_ending:
                self._changed.wait(TURN_S)
            return not self.is_ending

    @property
    def is_empty(self) -> bool:
        """Whether the loop has nothing in hand, and nothing waits for it."""
        with self._changed:
            return self._in_work == 0

    def put(self, taken: TakenPart) -> None:
        """Hand a part over."""
        with self._changed:
            self._waiting.append(taken)
            self._in_work += 1
            self._changed.notify_all()

    def finish(self, failure: Exception | None) -> None:
        """Note that no more parts come, and why where something failed."""
        with self._changed:
            self._is_finished, self._failure = True, failure
            self._changed.notify_all()

    def next(self, timeout_s: float) -> TakenPart | None:
        """Return the next part; None if there is none in time, or if `is_over`.

        Raises:
            Exception: what has failed, once every part that was taken in before was returned.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_finished, timeout_s)
            if self._waiting:
                return self._waiting.popleft()
            if self._failure is not None:
                raise self._failure
            return None

    @property
    def is_over(self) -> bool:
        """Whether there will be no more parts, and nothing has failed."""
        with self._changed:
            return self._is_finished and not self._waiting and self._failure is None

    def done(self) -> None:
        """Give back the place of the oldest part in work."""
        with self._changed:
            self._in_work -= 1
            self._changed.notify_all()

    def end(self) -> None:
        """Want no more."""
        with self._changed:
            self.is_ending = True
            self._changed.notify_all()

    def left(self) -> Sequence[TakenPart]:
        """Return the parts that nobody has asked for, once no more come."""
        with self._changed:
            left = tuple(self._waiting)
            self._waiting.clear()
            return left
