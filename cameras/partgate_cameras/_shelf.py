"""Frames that came by themselves, until somebody asks for them."""

from collections import deque
from typing import Literal

from partgate_cameras._errors import CameraError
from partgate_cameras._frame import Frame

Arrived = Frame | CameraError

LEAST = 8  # frames for which there is room whatever their size
MOST = 1024
MOST_BYTES = 128 * 1024**2


class Shelf:
    """What came and was not asked for, in order: frames, and errors that stand for one.

    Args:
        overflow: what happens to one more than there is room for. `leave`: it is not taken from the device,
            whose buffers it fills; whoever takes it later does not know when it came.
    """

    def __init__(self, *, overflow: Literal["leave"]) -> None:
        self._overflow = overflow
        self._arrived: deque[Arrived] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._arrived)

    @property
    def has_room(self) -> bool:
        """Whether one more may be put here."""
        return len(self) < LEAST or (len(self) < MOST and self._bytes < MOST_BYTES)

    def put(self, arrived: Arrived) -> None:
        """Add what came last."""
        self._arrived.append(arrived)
        self._bytes += _bytes(arrived)

    def take(self) -> Arrived:
        """Remove and return what came first; there must be something."""
        oldest = self._arrived.popleft()
        self._bytes -= _bytes(oldest)
        return oldest

    def clear(self) -> None:
        """Forget all."""
        self._arrived.clear()
        self._bytes = 0


def _bytes(arrived: Arrived) -> int:
    return arrived.image.nbytes if isinstance(arrived, Frame) else 0
