"""Where a part's time goes between its trigger and its reject signal."""

import time
from collections.abc import Callable
from enum import StrEnum


class Stage(StrEnum):
    """What a part passes on its way; the times of all it passes add up."""

    FRAMES = "frames"
    """From the trigger until its frames are there, or will not come."""

    WAITED = "waited"
    """Until the loop has time for it: 0 where no part before it is judged."""

    JUDGED = "judged"
    """Until the model has spoken and a decision is made."""

    DURABLE = "durable"
    """Until its row is on disk: 0 where that was done while the model ran."""

    SIGNALLED = "signalled"
    """Until the output has taken the verdict."""


OnStage = Callable[[Stage, float], None]
"""Told of a stage and how long it took, in seconds; in the thread that passed it, and must not wait."""


class StageClock:
    """Tells how long each stage of one part took.

    Args:
        since_s: the trigger, on the monotonic clock.
        tell: told of every stage as it is passed.
    """

    def __init__(self, since_s: float, tell: OnStage) -> None:
        self._last_s, self._tell = since_s, tell

    def passed(self, stage: Stage) -> None:
        """Note that a stage is done."""
        now_s = time.monotonic()
        self._tell(stage, now_s - self._last_s)
        self._last_s = now_s
