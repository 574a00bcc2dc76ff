"""Frames that are not what was photographed just now, recognised where they come from."""

import numpy as np

from partgate_cameras._errors import FrameBlank, FrameFormatError, FrameFrozen
from partgate_cameras._frame import Frame
from partgate_cameras._ring import Image

SAMPLE_STEP = 61  # a prime, so that a pattern in the picture does not hide between the samples
BLANK_STEP = 31


class FrameChecks:
    """Looks at each frame of one camera; used by the thread that grabs."""

    def __init__(
        self,
        camera_id: str,
        *,
        frozen_after: int,
        shape: tuple[int, ...] | None,
        one_size: bool,
        follow_numbers: bool = True,
        refuse_blank: bool = False,
    ) -> None:
        """Begin.

        Args:
            camera_id: for the texts.
            frozen_after: so many frames in a row with the same bytes are refused; 0 never.
            shape: what every frame must have; None takes any.
            one_size: without `shape`, every frame must have the first one's.
            follow_numbers: refuse a number that comes again. Not of a camera that follows its numbers
                itself: it alone knows when they begin anew.
            refuse_blank: refuse a frame whose pixels are all the same. Of a sensor, whose noise never is.
        """
        self._what, self._frozen_after = f"camera {camera_id}", frozen_after
        self._shape, self._one_size = shape, one_size
        self._follow_numbers, self._refuse_blank = follow_numbers, refuse_blank
        self._last_id: int | None = None
        self._equal = 1

    def check(self, frame: Frame, previous: Image | None) -> None:
        """Accept a frame, or refuse it.

        Args:
            frame: the newest.
            previous: the image before it, None if there was none.

        Raises:
            FrameFormatError: its size is not that of the frames before.
            FrameFrozen: its number is that of the frame before, or it is the last of too many with
                the same bytes.
            FrameBlank: all its pixels are the same.
        """
        if self._shape is not None and frame.image.shape != self._shape:
            raise FrameFormatError(
                f"{self._what}: frame {frame.frame_id}: {frame.image.shape}, expected {self._shape}"
            )
        if self._one_size:
            self._shape = frame.image.shape
        last, self._last_id = self._last_id, frame.frame_id
        if self._follow_numbers and last == frame.frame_id:
            raise FrameFrozen(f"{self._what}: gave frame {last} again")
        self._count_equal(frame, previous)
        if self._refuse_blank and _blank(frame.image):
            raise FrameBlank(
                f"{self._what}: frame {frame.frame_id}: every pixel is {_level(frame.image)},"
                " it shows nothing; is the light on, the lens free, the exposure right?"
            )

    def _count_equal(self, frame: Frame, previous: Image | None) -> None:
        if not self._frozen_after or previous is None:
            return
        self._equal = self._equal + 1 if _same(frame.image, previous) else 1
        if self._equal >= self._frozen_after:
            raise FrameFrozen(
                f"{self._what}: frame {frame.frame_id} is the {self._equal}. in a row with the same bytes"
                " (`frozen_after` in the station file); is the sensor alive, the lens covered?"
            )


def _blank(image: Image) -> bool:
    """Return whether all pixels are the same; a few samples say no of nearly every picture."""
    first = image[:1, :1]
    sampled = bool((image[::BLANK_STEP, ::BLANK_STEP] == first).all())
    return sampled and bool((image == first).all())


def _level(image: Image) -> str:
    return " ".join(str(level) for level in np.atleast_1d(image[0, 0]))


def _same(one: Image, other: Image) -> bool:
    """Compare; a few samples say no for nearly every pair that differs (noise), at 1/60 of the cost."""
    if one.shape != other.shape:
        return False
    sampled = np.array_equal(one.reshape(-1)[::SAMPLE_STEP], other.reshape(-1)[::SAMPLE_STEP])
    return sampled and np.array_equal(one, other)
