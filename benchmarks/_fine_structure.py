"""Parts with a fine structure, drawn: cloth and print whose defects are a few pixels large.

Everything that differs between two good parts of a line differs here: where the structure begins, its
angle and scale, threads or dots that are not quite alike, light and noise.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float64]
Kind = Literal["cloth", "print"]

KINDS: tuple[Kind, ...] = ("cloth", "print")
SMALLEST_PX, LARGEST_PX = 2.0, 6.0
_THREAD_PX, _DOT_PX = 7.0, 6.0
_PRINT_ANGLE = np.radians(15)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinePart:
    """A drawn part."""

    pixels: Pixels
    """(h, w) grey."""

    defect: tuple[float, float, float] | None
    """Row, column and diameter in pixels; None for a good part."""

    def mask(self) -> NDArray[np.bool_]:
        """Return where the defect is: (h, w), all False for a good part."""
        height_px, width_px = self.pixels.shape
        if self.defect is None:
            return np.zeros((height_px, width_px), dtype=np.bool_)
        row, column, diameter = self.defect
        y, x = np.arange(height_px)[:, None], np.arange(width_px)
        return np.asarray(np.hypot(y - row, x - column) <= diameter / 2)


def draw(
    kind: Kind,
    number: int,
    *,
    defective: bool = False,
    height_px: int = 640,
    width_px: int = 640,
    defect_px: float | None = None,
) -> FinePart:
    """Draw a part; the same number gives the same one.

    Args:
        kind: of structure.
        number: of the part; defective parts have others than good ones.
        defective: with one defect.
        height_px: of the frame.
        width_px: of the frame.
        defect_px: the defect's diameter; None for one of 2 to 6 px.
    """
    random = np.random.default_rng((KINDS.index(kind), number, int(defective)))
    u, v = _places(random, height_px, width_px)
    plane = _cloth(random, u, v) if kind == "cloth" else _print(random, u, v)
    defect = _spoil(random, plane, defect_px) if defective else None
    y, x = np.mgrid[:height_px, :width_px] / max(height_px, width_px)
    slope_y, slope_x = random.uniform(-0.08, 0.08, 2)
    plane *= random.uniform(0.92, 1.08) + slope_y * (y - 0.5) + slope_x * (x - 0.5)
    plane += random.normal(0, 3, plane.shape)
    return FinePart(pixels=np.clip(np.rint(plane), 0, 255).astype(np.uint8), defect=defect)


def _places(random: np.random.Generator, height_px: int, width_px: int) -> tuple[Plane, Plane]:
    """Return where each pixel lies on the material, which is never put down twice in the same way."""
    y, x = np.mgrid[:height_px, :width_px].astype(np.float64)
    angle, scale = np.radians(random.uniform(-1.5, 1.5)), random.uniform(0.99, 1.01)
    shift_u, shift_v = random.uniform(0, 1000, 2)
    u = scale * (np.cos(angle) * x - np.sin(angle) * y) + shift_u
    v = scale * (np.sin(angle) * x + np.cos(angle) * y) + shift_v
    return u, v


def _cloth(random: np.random.Generator, u: Plane, v: Plane) -> Plane:
    """Draw a plain weave: warp and weft take turns to lie above."""
    warp, weft = u / _THREAD_PX, v / _THREAD_PX
    above = np.sin(np.pi * warp) * np.sin(np.pi * weft) > 0
    lit = np.where(above, 0.5 + 0.5 * np.cos(2 * np.pi * warp), 0.5 + 0.5 * np.cos(2 * np.pi * weft))
    thread = np.where(above, np.floor(warp), np.floor(weft)).astype(np.intp)
    own = random.normal(0, 4, 4096)[thread % 4096]
    return np.asarray(np.where(above, 95, 80) + 55 * lit + own + _clouds(random, u.shape, 4))


def _print(random: np.random.Generator, u: Plane, v: Plane) -> Plane:
    """Draw a halftone: dark dots on a grid at an angle, larger where the tone is darker."""
    a = (np.cos(_PRINT_ANGLE) * u - np.sin(_PRINT_ANGLE) * v) / _DOT_PX
    b = (np.sin(_PRINT_ANGLE) * u + np.cos(_PRINT_ANGLE) * v) / _DOT_PX
    distance = _DOT_PX * np.hypot(a - np.rint(a), b - np.rint(b))
    radius = 2.0 + _clouds(random, u.shape, 0.12)
    return np.asarray(205 - 130 * np.clip(radius - distance + 0.5, 0, 1) + _clouds(random, u.shape, 3))


def _clouds(random: np.random.Generator, shape: tuple[int, ...], deviation: float) -> Plane:
    """Return slow changes over the whole part."""
    coarse = random.normal(0, deviation, (9, 9))
    return np.asarray(cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float64)


def _spoil(random: np.random.Generator, plane: Plane, defect_px: float | None) -> tuple[float, float, float]:
    """Put one round spot into a plane: dirt or a hole, darker or lighter than what is around it."""
    height_px, width_px = plane.shape
    diameter = defect_px or float(random.uniform(SMALLEST_PX, LARGEST_PX))
    row, column = random.uniform(12, height_px - 12), random.uniform(12, width_px - 12)
    top, left = int(row) - 8, int(column) - 8
    y, x = np.mgrid[top : top + 17, left : left + 17]
    inside = np.clip(diameter / 2 - np.hypot(y - row, x - column) + 0.5, 0, 1)
    window = plane[top : top + 17, left : left + 17]
    value = window.mean() + random.choice([-1, 1]) * random.uniform(60, 90)
    window += inside * (value - window)
    return row, column, diameter
