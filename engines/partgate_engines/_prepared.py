"""What was made of a frame before its turn to be judged came."""

from typing import Generic, TypeVar
from weakref import ref

import numpy as np
from numpy.typing import NDArray

Made = TypeVar("Made")
_MOST = 64  # more than the frames of all parts in work


class PreparedFrames(Generic[Made]):
    """By frame what was made of it. One thread keeps, another takes.

    Of a frame that can be written to nothing is kept: it may be another picture by then.
    """

    def __init__(self) -> None:
        self._made: dict[int, tuple[ref[NDArray[np.uint8]], Made]] = {}

    def keep(self, frame: NDArray[np.uint8], made: Made) -> None:
        """Keep what was made of a frame, and no frame itself: until it is taken, or the frame is gone."""
        if frame.flags.writeable:
            return
        for key, (known, _) in list(self._made.items()):
            if known() is None:
                self._made.pop(key, None)
        if len(self._made) >= _MOST:
            self._made.pop(next(iter(self._made)), None)
        self._made[id(frame)] = (ref(frame), made)

    def take(self, frame: NDArray[np.uint8]) -> Made | None:
        """Return what was made of a frame, once; None if nothing is kept."""
        found = self._made.pop(id(frame), None)
        return found[1] if found is not None and found[0]() is frame else None

    def clear(self) -> None:
        """Let go of everything."""
        self._made.clear()
