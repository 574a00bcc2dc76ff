"""Defects drawn on images of good parts, to compare ways of looking before a real defect was seen.

Nothing is learned from them. Their kinds are what surfaces suffer from in general; a product's real
defects may be of another kind, and docs/decisions/0015 says how well the comparison held.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from partgate_engines._tiles import Box

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float32]
DefectKind = Literal["hairline", "blob", "band", "dot"]

KINDS: tuple[DefectKind, ...] = ("hairline", "blob", "band", "dot")

_SEEN_PX = 256.0  # what is judged is seen at about this size: sizes below are in pixels of that
_DARKER = 0.6  # holes, cracks and dirt mostly are
_LEAST_LEVELS = 4.0  # less drowns in a camera's noise


def draw_defect(pixels: Pixels, kind: DefectKind, random: np.random.Generator, *, box: Box) -> Pixels:
    """Return a copy of an image with one defect in it, darker or brighter than what is around it.

    Args:
        pixels: (h, w) or (h, w, c) uint8; not modified.
        kind: a hairline of 1 to 3 px, a blob of 2 to 12 px radius, a broad faint band or a dot of 1 to
            2.5 px radius; px of the image as the backbone sees it, at about 256 px.
        random: of its place, size and depth.
        box: (left, top, right, bottom) in pixels: where it may lie.
    """
    left, top, right, bottom = box
    window = pixels[top:bottom, left:right].astype(np.float32)
    scale = max(float(np.sqrt(window.shape[0] * window.shape[1])) / _SEEN_PX, 1.0)
    shape = _PAINTERS[kind](random, window.shape[:2], scale)
    depth = between(random, *_DEPTHS[kind])
    sign = -1.0 if random.random() < _DARKER else 1.0
    around = cv2.GaussianBlur(window, (0, 0), 4 * scale).reshape(window.shape)
    levels = sign * np.maximum(depth * around, _LEAST_LEVELS)
    changed = window + levels * shape.reshape(*shape.shape, *(1,) * (window.ndim - 2))
    spoilt = pixels.copy()
    spoilt[top:bottom, left:right] = np.clip(np.rint(changed), 0, 255).astype(np.uint8)
    return spoilt


def hairline(random: np.random.Generator, shape: tuple[int, ...], scale: float) -> Plane:
    """Draw a line that turns slowly, twice as large, so that half pixels of width are there."""
    height, width = shape
    step = 3 * scale
    count = max(int(between(random, 15, 200) * scale / step), 3)
    heading = random.uniform(0, 2 * np.pi) + np.cumsum(random.normal(0, random.choice([0.03, 0.12]), count))
    moves = step * np.stack((np.cos(heading), np.sin(heading)), axis=1)
    path = random.uniform((0, 0), (width, height)) + np.cumsum(moves, axis=0) - moves.sum(axis=0) / 2
    large = np.zeros((2 * height, 2 * width), dtype=np.float32)
    thick = max(round(2 * scale * between(random, 1, 3)), 1)
    cv2.polylines(large, [np.rint(2 * path).astype(np.int32)], isClosed=False, color=1.0, thickness=thick)
    return np.asarray(cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32)


def _blob(random: np.random.Generator, shape: tuple[int, ...], scale: float) -> Plane:
    return ellipse(random, shape, between(random, 2, 12) * scale, ragged=0.25)


def _dot(random: np.random.Generator, shape: tuple[int, ...], scale: float) -> Plane:
    return ellipse(random, shape, between(random, 1, 2.5) * scale, ragged=0.0)


def ellipse(random: np.random.Generator, shape: tuple[int, ...], radius: float, *, ragged: float) -> Plane:
    across, down = _turned(random, shape)
    longer = random.uniform(1, 2) if ragged else 1.0
    far = np.hypot(across / longer**0.5, down * longer**0.5) / radius
    if ragged:
        far = far + ragged * clouds(random, shape, max(radius, 2.0))
    return np.asarray(np.clip((1 - far) * radius + 0.5, 0, 1), dtype=np.float32)


def _band(random: np.random.Generator, shape: tuple[int, ...], scale: float) -> Plane:
    across, _ = _turned(random, shape)
    half = between(random, 8, 50) * scale
    soft = between(random, 1, 8) * scale
    return np.asarray(np.clip((half - np.abs(across)) / soft + 0.5, 0, 1), dtype=np.float32)


def _turned(random: np.random.Generator, shape: tuple[int, ...]) -> tuple[Plane, Plane]:
    """Return how far each pixel lies from a random place, along two axes at a random angle."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    y, x = y - random.uniform(0, shape[0]), x - random.uniform(0, shape[1])
    angle = random.uniform(0, np.pi)
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def clouds(random: np.random.Generator, shape: tuple[int, ...], size: float) -> Plane:
    cells = [int(np.ceil(length / size)) + 2 for length in shape]
    coarse = random.standard_normal(cells).astype(np.float32)
    smooth = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, dtype=np.float32)


def between(random: np.random.Generator, least: float, most: float) -> float:
    """Return a number whose logarithm is even: as many small ones as large ones."""
    return float(np.exp(random.uniform(np.log(least), np.log(most))))


_PAINTERS: Mapping[DefectKind, Callable[[np.random.Generator, tuple[int, ...], float], Plane]] = {
    "hairline": hairline,
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
