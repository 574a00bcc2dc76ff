"""How defects are drawn.

A painter takes a surface and returns paint: where it lies, how densely, and in which grey. Shapes
are drawn by OpenCV eight times finer than a pixel and then blurred by a lens's width, so that edges
look photographed. Sizes grow with the part and have floors in pixels, so that a person sees each at
a glance on every texture:

- Scratch: a bent line, 3-5 px wide and at least 40 px long, 90-140 grey levels lighter or darker than
  what it crosses.
- Stain: a lobed spot with a soft edge, at least 24 px across, 90-140 levels lighter or darker; some
  of the texture shows through.
- Hole: dark and round, at least 14 px across, with a lit rim on one side.
- Missing piece: a corner or a bite of the edge, broken off with a jagged line, at least 20 px; the
  nearly black belt below is seen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

SUBPIXEL_BITS = 3  # OpenCV takes coordinates in eighths of a pixel
DARKEST, LIGHTEST = 8, 247
Points = NDArray[np.float64]  # (n, 2): x, y in pixels


class DefectKind(StrEnum):
    """What a defect is."""

    SCRATCH = "scratch"
    STAIN = "stain"
    HOLE = "hole"
    MISSING_PIECE = "missing_piece"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paint:
    """What a painter lays over a surface."""

    opacity: NDArray[np.float32]
    """(h, w), 0 to 1."""

    colour: NDArray[np.float32]
    """(h, w) grey levels."""


Painter = Callable[[NDArray[np.float32], np.random.Generator], Paint]


def _scratch(surface: NDArray[np.float32], rng: np.random.Generator) -> Paint:
    size = surface.shape[0]
    length = max(40.0, rng.uniform(0.2, 0.5) * size)
    angle, bend = rng.uniform(0, np.pi), rng.uniform(-0.15, 0.15) * length
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    middle = _centre(size, margin=min(0.5 * size - 1, 0.4 * length), rng=rng)
    t = np.linspace(-1, 1, 33)[:, None]  # (33, 1)
    line = middle + t * along * length / 2 + (1 - t**2) * across * bend
    opacity = _stroke(size, line, width_px=int(rng.integers(3, 5, endpoint=True)), blur_px=0.6)
    return Paint(opacity=opacity, colour=_shifted(surface, opacity, rng, (90, 140), keep=0.15))


def _stain(surface: NDArray[np.float32], rng: np.random.Generator) -> Paint:
    size = surface.shape[0]
    radius = max(12.0, rng.uniform(0.06, 0.14) * size)
    outline = _lobed(_centre(size, margin=1.2 * radius, rng=rng), radius, lobes=0.18, rng=rng)
    opacity = np.float32(0.92) * _filled(size, outline, blur_px=1.2)
    return Paint(opacity=opacity, colour=_shifted(surface, opacity, rng, (90, 140), keep=0.15))


def _hole(surface: NDArray[np.float32], rng: np.random.Generator) -> Paint:
    size = surface.shape[0]
    radius = max(7.0, rng.uniform(0.03, 0.07) * size)
    middle = _centre(size, margin=radius + 4, rng=rng)
    outline = _lobed(middle, radius, lobes=0.05, rng=rng)
    light = rng.uniform(0, 2 * np.pi)
    rim = outline + 0.22 * radius * np.array([np.cos(light), np.sin(light)])
    hole, lit = _filled(size, outline, blur_px=0.7), _filled(size, rim, blur_px=0.7)
    return Paint(opacity=np.maximum(hole, lit), colour=235 + hole * np.float32(12 - 235))


def _missing_piece(surface: NDArray[np.float32], rng: np.random.Generator) -> Paint:
    size = surface.shape[0]
    extent = max(24.0, rng.uniform(0.12, 0.28) * size)
    break_line = _broken_corner(extent, rng) if rng.random() < 0.5 else _bitten_edge(size, extent, rng)  # noqa: PLR2004 - evens
    opacity = np.rot90(_filled(size, break_line, blur_px=0.7), int(rng.integers(4)))
    belt = np.full_like(surface, rng.uniform(6, 16))
    return Paint(opacity=np.ascontiguousarray(opacity), colour=belt)


PAINTERS: Mapping[DefectKind, Painter] = {
    DefectKind.SCRATCH: _scratch,
    DefectKind.STAIN: _stain,
    DefectKind.HOLE: _hole,
    DefectKind.MISSING_PIECE: _missing_piece,
}


def _centre(size: int, *, margin: float, rng: np.random.Generator) -> Points:
    """Return a point that lies at least `margin` inside the part."""
    return rng.uniform(margin, size - 1 - margin, 2)


def _lobed(middle: Points, radius: float, *, lobes: float, rng: np.random.Generator) -> Points:
    """Return an outline around `middle` whose radius swells and shrinks by about `lobes` of itself."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    order = np.arange(2, 6)[:, None]
    waves = (
        np.cos(order * angle + rng.uniform(0, 2 * np.pi, (4, 1)))
        * rng.normal(0, lobes, (4, 1))
        / np.sqrt(order)
    )
    distance = radius * np.clip(1 + waves.sum(0), 0.6, 1.4)
    outline: Points = middle + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return outline


def _jagged(start: Points, end: Points, roughness_px: float, rng: np.random.Generator) -> Points:
    """Return a broken line from `start` to `end`."""
    t = np.linspace(0, 1, 12)[:, None]
    line = start + t * (end - start)
    line[1:-1] += rng.normal(0, roughness_px, (10, 2))
    return line


def _broken_corner(extent: float, rng: np.random.Generator) -> Points:
    right, down = extent * rng.uniform(0.8, 1.3, 2)
    line = _jagged(np.array([right, -2.0]), np.array([-2.0, down]), 0.05 * extent, rng)
    return np.concatenate([line, [[-2.0, -2.0]]])


def _bitten_edge(size: int, extent: float, rng: np.random.Generator) -> Points:
    left = rng.uniform(0, size - extent)
    deepest = np.array([left + extent * rng.uniform(0.35, 0.65), extent * rng.uniform(0.5, 0.8)])
    down = _jagged(np.array([left, -2.0]), deepest, 0.04 * extent, rng)
    up = _jagged(deepest, np.array([left + extent, -2.0]), 0.04 * extent, rng)
    return np.concatenate([down, up])


def _shifted(
    surface: NDArray[np.float32],
    opacity: NDArray[np.float32],
    rng: np.random.Generator,
    levels: tuple[float, float],
    *,
    keep: float,
) -> NDArray[np.float32]:
    """Return the surface made lighter or darker by so many levels, with `keep` of its texture left.

    Lighter or darker is chance, unless only one of them stays within what can be shown.
    """
    mean = float(np.average(surface, weights=opacity))
    step = rng.uniform(*levels)
    room = [level for level in (mean - step, mean + step) if DARKEST < level < LIGHTEST]
    level = rng.choice(room) if room else (0.0 if mean > LIGHTEST / 2 else 255.0)
    return (level + keep * (surface - mean)).astype(np.float32)


def _fixed(points: Points) -> NDArray[np.int32]:
    fixed: NDArray[np.int32] = np.rint(points * 2**SUBPIXEL_BITS).astype(np.int32)
    return fixed


def _filled(size: int, outline: Points, *, blur_px: float) -> NDArray[np.float32]:
    import cv2

    canvas = np.zeros((size, size), np.uint8)
    cv2.fillPoly(canvas, [_fixed(outline)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    return _blurred(canvas, blur_px)


def _stroke(size: int, line: Points, *, width_px: int, blur_px: float) -> NDArray[np.float32]:
    import cv2

    canvas = np.zeros((size, size), np.uint8)
    cv2.polylines(canvas, [_fixed(line)], False, 255, width_px, cv2.LINE_AA, SUBPIXEL_BITS)  # noqa: FBT003 - OpenCV takes it by place
    return _blurred(canvas, blur_px)


def _blurred(canvas: NDArray[np.uint8], blur_px: float) -> NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.GaussianBlur(canvas.astype(np.float32) / 255, (0, 0), blur_px), np.float32)
