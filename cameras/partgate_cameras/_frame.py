"""The frame, and what every kind of camera can do."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

GREY_DIMENSIONS = 2
COLOUR_SHAPE = (3, 3)  # dimensions, channels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One image for one trigger.

    The array is taken over: it becomes read-only and must not be a view of one that changes.
    """

    image: NDArray[np.uint8]
    """(h, w) grey or (h, w, 3) RGB, uint8, C-contiguous, read-only."""

    camera_id: str

    frame_id: int
    """The camera's own counter; a gap means frames that nobody got."""

    camera_timestamp_ns: int | None
    """On the camera's clock, whose zero is the camera's affair; None where it gives none."""

    received_at: datetime
    """When the frame was complete in this program, UTC."""

    def __post_init__(self) -> None:
        shape = self.image.shape
        if self.image.ndim != GREY_DIMENSIONS and (self.image.ndim, *shape[2:]) != COLOUR_SHAPE:
            raise ValueError(f"a frame is (h, w) or (h, w, 3), not {shape}")
        if self.image.dtype != np.uint8:
            raise ValueError(f"a frame is uint8, not {self.image.dtype}")
        if not self.image.flags.c_contiguous:
            raise ValueError("a frame is C-contiguous")
        self.image.flags.writeable = False


class Camera(Protocol):
    """Something that gives one frame per trigger. Used by one thread at a time."""

    camera_id: str

    @property
    def exhausted(self) -> bool:
        """Whether there will be no more frames, so that no trigger may come any more."""

    def open(self) -> None:
        """Get ready to grab; after `close` again as often as wanted.

        Raises:
            CameraError: the camera cannot be used as configured; nothing is left open.
        """

    def grab(self, timeout_s: float) -> Frame:
        """Return the frame of the trigger that has just come.

        Args:
            timeout_s: how long to wait for it, > 0.

        Raises:
            CameraError: there is none, or it cannot be judged. `grab` may be called again.
            ImageError: the file that was its turn cannot be read. The next call takes the next.
            EndOfImages: there will be no more.
        """

    def close(self) -> None:
        """Release everything; does nothing if there is nothing to release."""
