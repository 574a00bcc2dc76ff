"""The frames both sides get: parts of the virtual line, small and as a 5 Mpx camera gives them."""

import numpy as np
from numpy.typing import NDArray

from partgate_cameras import draw_part
from partgate_engines.anomaly import GoodImage
from partgate_station import VirtualCamera

Pixels = NDArray[np.uint8]

LINE = VirtualCamera(kind="virtual", camera_id="top", seed=1, size_px=320)
WIDTH_PX, HEIGHT_PX = 2448, 2048
_SCRATCH_PX = 2
_TINT = np.array((1.0, 0.94, 0.86), np.float32)


def parts(count: int, *, first: int = 0) -> list[Pixels]:
    """Return parts of the line, some with a defect: (320, 320) uint8 each."""
    return [draw_part(LINE, number).image for number in range(first, first + count)]


def good_parts(count: int) -> list[GoodImage]:
    """Return parts without a defect."""
    line = LINE.model_copy(update={"defect_rate": 0.0})
    return [GoodImage(pixels=draw_part(line, n).image, origin=str(n)) for n in range(count)]


def large_frames(count: int, *, colour: bool, first: int = 0) -> list[Pixels]:
    """Return 5 Mpx frames with a sensor's noise; every other one has a scratch 2 px wide.

    Returns:
        (2048, 2448) uint8 each, or (2048, 2448, 3) red, green, blue.
    """
    return [_large(number, colour=colour) for number in range(first, first + count)]


def _large(number: int, *, colour: bool) -> Pixels:
    import cv2

    random = np.random.default_rng(number)
    part = draw_part(LINE.model_copy(update={"defect_rate": 0.0}), number).image
    large = cv2.resize(part, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC)
    surface = np.asarray(large, np.float32)
    if number % 2:
        ends = random.integers((0, 0, 0, 0), (WIDTH_PX, HEIGHT_PX, WIDTH_PX, HEIGHT_PX)).tolist()
        cv2.line(surface, ends[:2], ends[2:], 250.0, _SCRATCH_PX)
    if colour:
        surface = np.asarray(surface[:, :, None] * _TINT, np.float32)
    noise = random.normal(0, 2, surface.shape).astype(np.float32)
    return np.asarray(np.clip(np.rint(surface + noise), 0, 255), np.uint8)


def shrunk(frame: Pixels, size_px: int) -> Pixels:
    """Return a frame at the model's size by OpenCV's area filter: the quickest good way there is."""
    import cv2

    return np.asarray(cv2.resize(frame, (size_px, size_px), interpolation=cv2.INTER_AREA), np.uint8)
