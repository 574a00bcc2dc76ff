"""Shapes of defects: planes of 0..1 that say how much of a pixel a defect covers."""

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]


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


def ellipse(random: np.random.Generator, shape: tuple[int, ...], radius: float, *, ragged: float) -> Plane:
    across, down = _turned(random, shape)
    longer = random.uniform(1, 2) if ragged else 1.0
    far = np.hypot(across / longer**0.5, down * longer**0.5) / radius
    if ragged:
        far = far + ragged * clouds(random, shape, max(radius, 2.0))
    return np.asarray(np.clip((1 - far) * radius + 0.5, 0, 1), dtype=np.float32)


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
