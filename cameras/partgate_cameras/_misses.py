"""Frames that did not come, or not whole: when they show that a camera has to be opened anew."""

import time

from partgate_cameras import _messages as wire
from partgate_cameras._patience import Patience

IDLE = "NoFrameYet"  # says nothing of the camera, neither good nor bad
INCOMPLETE = "FrameIncomplete"
NO_FRAME = frozenset({"FrameTimeout", INCOMPLETE})


class Misses:
    """Counts what a camera owed, until it gives a frame. Used by one thread."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._missed = 0  # triggers in a row
        self._incomplete = 0  # in a row, of frames that come by themselves
        self._incomplete_since_s = 0.0

    def gave(self) -> None:
        """Note a frame: it lives."""
        self._missed = self._incomplete = 0

    def refused(self, message: wire.NotDelivered, *, hopeless: bool) -> str | None:
        """Note an answer without a frame; return why the camera has to be opened anew, None if it has not.

        Args:
            message: of an error that is one of ours.
            hopeless: whether no frame could have come in the time that was given.
        """
        if message.error == INCOMPLETE and message.arrived_s is not None:
            return self._came_incomplete()
        if message.error == IDLE or (hopeless and message.error in NO_FRAME):
            return None
        if message.error not in NO_FRAME:
            self.gave()
            return None
        self._missed += 1
        enough = self._missed >= self._patience.misses
        return f"{self._missed} triggers in a row without a frame" if enough else None

    def _came_incomplete(self) -> str | None:
        """Note a frame that came by itself, and only in part.

        The camera lives, and opening it anew would cost the parts that pass meanwhile their rows where it
        is the trigger. If no whole one comes for long, it is tried all the same.
        """
        now_s = time.monotonic()
        self._missed = 0
        self._incomplete += 1
        if self._incomplete == 1:
            self._incomplete_since_s = now_s
        for_s = now_s - self._incomplete_since_s
        if self._incomplete < self._patience.misses or for_s < self._patience.incomplete_s:
            return None
        return f"{self._incomplete} incomplete frames in {for_s:.1f} s and none that is whole"
