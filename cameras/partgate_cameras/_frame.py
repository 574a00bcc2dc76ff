"""The frame, and what every kind of camera can do."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from partgate_cameras._image_measures import ImageMeasures

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

    arrived_s: float = field(default_factory=time.monotonic)
    """The same moment on the monotonic clock, which the processes of a machine share."""

    lost_before: int = 0
    """Frames that the camera numbered between the one given before and this one, and nobody got."""

    measures: ImageMeasures | None = None
    """Of its light, focus and place; None where nobody has measured it."""

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


@runtime_checkable
class Provident(Protocol):
    """A camera that has its next frame already, and can get it ready before somebody asks."""

    def prepare(self) -> None:
        """Get the next frame ready; raises nothing, `grab` says what is wrong with it."""


@runtime_checkable
class Numbered(Protocol):
    """A camera that is a device with a serial number."""

    @property
    def serial_number(self) -> str | None:
        """Of the device that is open."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StrayFrame:
    """A frame that came when its part had been given up, or that was dropped: it is given to no part."""

    camera_id: str
    frame_id: int | None
    camera_timestamp_ns: int | None
    received_at: datetime
    why: str
    """As `CODE: sentence`."""

    image: NDArray[np.uint8] | None = None
    """As a frame's; None where there was no room to keep it."""


class StreamingCamera(Camera, Protocol):
    """A camera whose frames come by themselves, one at each edge of its trigger line."""

    @property
    def restarts(self) -> int:
        """How often it was opened anew; what was on its way before did not survive it."""

    def next_frame(self, timeout_s: float) -> Frame:
        """Return the oldest frame that has come and not been given yet.

        Raises:
            NoFrameYet: none came in time, which is no fault: the line may be idle.
            CameraError: as `grab`; one with `arrived_s` stands for a frame that cannot be judged.
        """

    def flush(self, timeout_s: float) -> None:
        """Drop what has come and what is on its way; frames exposed from now on are given.

        Raises:
            CameraError: the camera could not be flushed.
        """

    def take_strays(self) -> Sequence[StrayFrame]:
        """Return the strays that were not taken yet."""
