"""Defects drawn on images of good parts, to compare ways of looking before a real defect was seen.

Nothing is learned from them. Their kinds are what surfaces suffer from in general; a product's real
defects may be of another kind, and docs/decisions/0015 and 0025 say how well the comparison held.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from partgate_engines._tiles import Box
from partgate_engines.anomaly._shapes import Plane, between, clouds

Pixels = NDArray[np.uint8]
DefectKind = Literal["hairline", "blob", "band", "dot"]

KINDS: tuple[DefectKind, ...] = ("hairline", "blob", "band", "dot")

_SMALL_PX = 12**0.5  # 2 to 6 px
_LARGE_SHARE = 0.1  # of the shorter side of what is inspected
_SPREAD = 3**0.5  # a class reaches from its middle divided by this to its middle times this
_LONGER = 4.0  # a hairline's length is four sizes and its width a quarter; a band is four sizes long
_LEAST_WIDTH_PX = 1.0

_DARKER = 0.6  # holes, cracks and dirt mostly are
_LEAST_LEVELS = 4.0  # less drowns in a camera's noise
_AROUND_PX = (4.0, 32.0)  # least and most of the blur that says how bright a place is


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeClass:
    """Defects of one order of size, in pixels of the frame."""

    smallest_px: float
    largest_px: float
    kinds: tuple[DefectKind, ...]
    """What is drawn in this size: one of each on every image."""


def size_classes(box: Box) -> tuple[SizeClass, ...]:
    """Return three: a few pixels, a tenth of what is inspected, and what lies in the middle of both.

    A band of a few pixels is a hairline, and a dot of a tenth of the frame would be found by anything.

    Args:
        box: (left, top, right, bottom) in pixels of the frame.
    """
    large_px = max(_LARGE_SHARE * min(box[2] - box[0], box[3] - box[1]), _SMALL_PX)
    return (
        _around(_SMALL_PX, ("dot", "hairline")),
        _around((_SMALL_PX * large_px) ** 0.5, ("blob", "hairline")),
        _around(large_px, ("blob", "band")),
    )


def draw_defect(
    pixels: Pixels, kind: DefectKind, random: np.random.Generator, *, size_px: float, box: Box
) -> Pixels:
    """Return a copy of an image with one defect in it, darker or brighter than what is around it.

    Args:
        pixels: (h, w) or (h, w, c) uint8; not modified.
        kind: a dot, a ragged blob, a broad faint band four times as long as wide, or a hairline sixteen times
            as long as wide.
        random: of its place, shape and depth.
        size_px: a dot's and a blob's diameter and a band's width; a hairline's length and width are
            those of a line with as much surface as a square of this side.
        box: (left, top, right, bottom) in pixels: where it may lie; its middle does.
    """
    share = _PAINTERS[kind](random, size_px)
    inside, part = _placed(share.shape, random, size_px, box)
    window = pixels[inside].astype(np.float32)
    around = cv2.GaussianBlur(window, (0, 0), float(np.clip(size_px, *_AROUND_PX))).reshape(window.shape)
    sign = -1.0 if random.random() < _DARKER else 1.0
    levels = sign * np.maximum(between(random, *_DEPTHS[kind]) * around, _LEAST_LEVELS)
    changed = window + levels * share[part].reshape(*window.shape[:2], *(1,) * (window.ndim - 2))
    spoilt = pixels.copy()
    spoilt[inside] = np.clip(np.rint(changed), 0, 255).astype(np.uint8)
    return spoilt


def _around(middle_px: float, kinds: tuple[DefectKind, ...]) -> SizeClass:
    return SizeClass(smallest_px=middle_px / _SPREAD, largest_px=middle_px * _SPREAD, kinds=kinds)


def _placed(
    shape: tuple[int, ...], random: np.random.Generator, size_px: float, box: Box
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return which pixels a shape covers at a random place in a box, and which part of the shape does."""
    (x, columns), (y, rows) = (
        _along(length, random, size_px, first, last)
        for length, first, last in ((shape[1], box[0], box[2]), (shape[0], box[1], box[3]))
    )
    return (y, x), (rows, columns)


def _along(
    length: int, random: np.random.Generator, size_px: float, first: int, last: int
) -> tuple[slice, slice]:
    margin = min(size_px / 2, (last - first) / 2)
    start = round(random.uniform(first + margin, last - margin) - length / 2)
    begin, end = max(start, first), min(start + length, last)
    return slice(begin, end), slice(begin - start, end - start)


def _dot(random: np.random.Generator, size_px: float) -> Plane:
    del random
    across, down = _canvas(size_px, size_px)
    return _edged(1 - 2 * np.hypot(across, down) / size_px, size_px / 2)


def _blob(random: np.random.Generator, size_px: float) -> Plane:
    longer = random.uniform(1, 2) ** 0.5
    across, down = _turned(random, *_canvas(1.6 * size_px, 1.6 * size_px))
    far = 2 * np.hypot(across / longer, down * longer) / size_px
    far = far + 0.25 * clouds(random, far.shape, max(size_px / 2, 2.0))
    return _edged(1 - far, size_px / 2)


def _band(random: np.random.Generator, size_px: float) -> Plane:
    across, down = _turned(random, *_canvas(_LONGER * size_px, _LONGER * size_px))
    soft_px = between(random, 0.1, 0.5) * size_px
    return _edged(1 - 2 * np.hypot(across / _LONGER, down) / size_px, size_px / 2 / soft_px)


def _hairline(random: np.random.Generator, size_px: float) -> Plane:
    """Draw a line that turns slowly, twice as large, so that half pixels of width are there."""
    length_px, width_px = _LONGER * size_px, max(size_px / _LONGER, _LEAST_WIDTH_PX)
    side = ceil(length_px + width_px) + 4
    count = max(round(length_px / 3), 2)
    heading = random.uniform(0, 2 * np.pi) + np.cumsum(random.normal(0, random.choice([0.03, 0.12]), count))
    moves = length_px / count * np.stack((np.cos(heading), np.sin(heading)), axis=1)
    path = np.cumsum(np.vstack((np.zeros(2), moves)), axis=0)
    path += side / 2 - path.mean(axis=0)
    large = np.zeros((2 * side, 2 * side), dtype=np.float32)
    points = np.rint(2 * path).astype(np.int32)
    cv2.polylines(large, [points], isClosed=False, color=1.0, thickness=max(round(2 * width_px), 1))
    return np.asarray(cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA), dtype=np.float32)


def _canvas(width_px: float, height_px: float) -> tuple[Plane, Plane]:
    """Return how far each pixel lies from the middle, across and down."""
    width, height = ceil(width_px) + 4, ceil(height_px) + 4
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return x - (width - 1) / 2, y - (height - 1) / 2


def _turned(random: np.random.Generator, across: Plane, down: Plane) -> tuple[Plane, Plane]:
    angle = random.uniform(0, np.pi)
    return np.cos(angle) * across + np.sin(angle) * down, np.cos(angle) * down - np.sin(angle) * across


def _edged(inside: NDArray[np.floating[Any]], steep: float) -> Plane:
    """Return 1 inside, 0 outside and what lies between at the edge."""
    return np.asarray(np.clip(inside * steep + 0.5, 0, 1), dtype=np.float32)


_PAINTERS: Mapping[DefectKind, Callable[[np.random.Generator, float], Plane]] = {
    "hairline": _hairline,
    "blob": _blob,
    "band": _band,
    "dot": _dot,
}
# Of the brightness around: a band is broad and faint, the others may be strong.
_DEPTHS: Mapping[DefectKind, tuple[float, float]] = {
    "hairline": (0.12, 0.8),
    "blob": (0.12, 0.8),
    "band": (0.06, 0.25),
    "dot": (0.2, 0.8),
}
