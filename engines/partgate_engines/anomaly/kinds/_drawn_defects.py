"""Defects drawn on pictures of good parts, with where they are: what a head is trained to find.

A zone is a part of the surface whose texture is another one.
docs/decisions/0024 says which kinds brought what.
"""

from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from partgate_engines.anomaly._shapes import between, clouds, ellipse, hairline

Pixels = NDArray[np.uint8]
Levels = NDArray[np.float32]
"""(s, s, c) grey levels."""

Plane = NDArray[np.float32]
Random = np.random.Generator
Damage = Literal["crack", "blob", "zone", "chip", "smear"]
Picture = TypeVar("Picture", Pixels, Levels)
Painter = Callable[[Random, Levels], tuple[Levels, Plane]]

_SEEN_PX = 256.0  # sizes below are in pixels of a picture of this width
_FINE_PX = 10.0  # what is smaller is texture, what is larger is light
_MARKED: Mapping[Damage, float] = {"crack": 0.2, "blob": 0.3, "zone": 0.4, "chip": 0.4, "smear": 0.4}
"""How much of a defect's strength makes a pixel part of it."""


def draw_damage(pixels: Pixels, kind: Damage, random: Random) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return a copy of a picture with one defect in it, and where that is.

    What a defect does not reach keeps its pixels; one that lies outside the picture leaves all of them.

    Args:
        pixels: (s, s, c) uint8; not modified.
        kind: a dark or bright line, up to three spots, a zone of another texture, a piece that is missing
            at the border, or a broad faint spot.
        random: of its place, size and strength.

    Returns:
        (s, s, c) uint8 and (s, s) bool.
    """
    is_turned = _runs_across(pixels)
    levels = np.ascontiguousarray(_turned(pixels) if is_turned else pixels, dtype=np.float32)
    changed, share = _PAINTERS[kind](random, levels)
    mask = share > _MARKED[kind]
    if not mask.any():
        return pixels.copy(), np.zeros(pixels.shape[:2], dtype=np.bool_)
    mixed = levels + share[..., None] * (changed - levels)
    spoilt = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    if is_turned:
        spoilt, mask = _turned(spoilt), mask.T
    return np.ascontiguousarray(spoilt), np.ascontiguousarray(mask)


def _runs_across(pixels: Pixels) -> bool:
    """Return whether a surface's grain runs from left to right: neighbours below differ more than beside."""
    levels = pixels.astype(np.float32)
    return bool(np.abs(np.diff(levels, axis=0)).mean() > np.abs(np.diff(levels, axis=1)).mean())


def _turned(pixels: Pixels) -> Pixels:
    return pixels.transpose(1, 0, 2)


def _crack(random: Random, levels: Levels) -> tuple[Levels, Plane]:
    share = hairline(random, levels.shape[:2], _scale(levels))
    return levels * (1 + _sign(random, dark=0.85) * between(random, 0.2, 0.8)), share


def _blob(random: Random, levels: Levels) -> tuple[Levels, Plane]:
    scale = _scale(levels)
    around, changed = _blurred(levels, 4 * scale, 4 * scale), levels.copy()
    covered = np.zeros(levels.shape[:2], dtype=np.float32)
    for _ in range(random.integers(1, 4)):
        share = ellipse(random, levels.shape[:2], between(random, 1.3, 8) * scale, ragged=0.12)
        spot = around * (1 + _sign(random, dark=0.75) * between(random, 0.2, 0.9))
        changed = np.where(share[..., None] > 0, spot, changed)
        covered = np.maximum(covered, share)
    return changed, covered


def _chip(random: Random, levels: Levels) -> tuple[Levels, Plane]:
    """Leave a piece out at the border: a polygon of one brightness, with a little of a surface."""
    side, scale = levels.shape[0], _scale(levels)
    angle = np.sort(random.uniform(0, 2 * np.pi, random.integers(4, 9)))
    reach = between(random, 8, 60) * scale * random.uniform(0.4, 1, len(angle))
    along, border = random.uniform(0, side), float(random.choice([0, side]))
    middle = (along, border) if random.random() < 0.5 else (border, along)  # noqa: PLR2004 - as often
    corners = np.stack((np.cos(angle), np.sin(angle)), axis=1) * reach[:, None] + middle
    share = np.zeros((side, side), dtype=np.float32)
    cv2.fillPoly(share, [np.rint(corners).astype(np.int32)], color=1.0)
    share = np.asarray(cv2.GaussianBlur(share, (0, 0), random.uniform(0.5, 2) * scale), dtype=np.float32)
    brightness = random.choice([random.uniform(0.05, 0.5), random.uniform(1.2, 2)])
    surface = 1 + 0.15 * clouds(random, (side, side), between(random, 8, 30) * scale)
    return levels.mean(axis=(0, 1)) * brightness * surface[..., None], share


def _smear(random: Random, levels: Levels) -> tuple[Levels, Plane]:
    radius = between(random, 15, 60) * _scale(levels)
    share = ellipse(random, levels.shape[:2], radius, ragged=0.25)
    soft = cv2.GaussianBlur(share, (0, 0), radius * between(random, 0.05, 0.3))
    return levels * (1 + _sign(random) * between(random, 0.06, 0.35)), np.asarray(soft, dtype=np.float32)


def _zone(random: Random, levels: Levels) -> tuple[Levels, Plane]:
    """Change the texture of a part of the surface, and often its brightness a little."""
    fine = _FINE_PX * _scale(levels)
    light = _blurred(levels, fine, fine)
    texture = levels - light
    drawn = random.random()
    if drawn < 0.4:  # noqa: PLR2004 - the shares of the three ways
        other = _restrained(random, texture)
    elif drawn < 0.75:  # noqa: PLR2004
        other = _elsewhere(random, texture)
    else:
        other = _striped(random, texture)
    gain = 1.0
    if random.random() < 0.7:  # noqa: PLR2004
        gain += _sign(random) * between(random, 0.03, 0.3)
    return light * gain + other, _area(random, levels.shape[0])


def _restrained(random: Random, texture: Levels) -> Levels:
    """Make a texture stronger or weaker, more often than not smeared along the grain."""
    if random.random() < 0.6:  # noqa: PLR2004
        texture = _blurred(texture, 0.01, between(random, 3, 20) * _scale(texture))
    strong = random.random() < 0.5  # noqa: PLR2004
    return texture * (between(random, 1.5, 4) if strong else between(random, 0.1, 0.6))


def _elsewhere(random: Random, texture: Levels) -> Levels:
    """Take the texture from another part of the picture, stretched, mirrored, stronger or weaker."""
    return flipped(random, cropped(random, texture, least=0.5)) * between(random, 0.6, 2)


def _striped(random: Random, texture: Levels) -> Levels:
    """Draw another grain over what is left of the texture."""
    side = texture.shape[1]
    thick_px = between(random, 0.5, 3) * max(_scale(texture), 0.5)
    lines = _blurred(random.standard_normal((1, side, 1)).astype(np.float32), thick_px, thick_px)
    lines /= max(float(lines.std()), 1e-6)
    strength = float(texture.std()) * random.uniform(0.7, 2)
    return texture * np.float32(random.uniform(0.3, 1)) + np.float32(strength) * lines


def _area(random: Random, side: int) -> Plane:
    """Return a half-plane across the grain or along it, a corner or a rectangle, with a wavy soft border."""
    scale, drawn = side / _SEEN_PX, random.random()
    if drawn < 0.55:  # noqa: PLR2004 - the shares of the three shapes
        inside = _half(random, side)
    elif drawn < 0.75:  # noqa: PLR2004
        inside = _corner(random, side)
    else:
        inside = _rectangle(random, side)
    wavy = clouds(random, (side, side), side / 4) * random.uniform(0, 5) * scale
    soft_px = between(random, 1, 10) * scale
    return np.asarray(np.clip((inside + wavy) / soft_px + 0.5, 0, 1), dtype=np.float32)


def _half(random: Random, side: int) -> Plane:
    """Return how far inside pixels lie."""
    y, x = _places(side)
    line = random.uniform(12, 120) * side / _SEEN_PX - random.normal(0, 0.12) * (x - side / 2)
    inside = np.asarray(line - y, dtype=np.float32)
    return flipped(random, inside.T if random.random() < 0.25 else inside)  # noqa: PLR2004


def _corner(random: Random, side: int) -> Plane:
    y, x = _places(side)
    steep_x, steep_y = random.uniform(0.5, 1.5, 2)
    inside = random.uniform(30, 120) * side / _SEEN_PX - (steep_x * x + steep_y * y)
    return flipped(random, np.asarray(inside, dtype=np.float32))


def _rectangle(random: Random, side: int) -> Plane:
    y, x = _places(side)
    middle_y, middle_x = random.uniform(0.12, 0.88, 2) * side
    high, wide = random.uniform(15, (60, 90)) * side / _SEEN_PX
    inside = np.minimum(high - np.abs(y - middle_y), wide - np.abs(x - middle_x))
    return np.asarray(inside, dtype=np.float32)


def _places(side: int) -> tuple[Plane, Plane]:
    y, x = np.mgrid[:side, :side].astype(np.float32)
    return y, x


def cropped(random: Random, levels: Picture, *, least: float, at_border: bool = False) -> Picture:
    """Return a part of a picture, at least so much of each side, stretched to the whole.

    Args:
        random: of its size and place.
        levels: (s, s, c).
        least: share of a side.
        at_border: whether it keeps one corner of the picture: parts' borders then stay at the border.
    """
    side = levels.shape[0]
    lengths = (random.uniform(least, 1, 2) * side).astype(int)
    free = side - lengths
    top, left = free * random.integers(0, 2, 2) if at_border else random.integers(0, free + 1)
    part = levels[top : top + lengths[0], left : left + lengths[1]]
    return cv2.resize(part, (side, side)).reshape(levels.shape).astype(levels.dtype)


def flipped(random: Random, levels: Picture) -> Picture:
    """Return a picture, upside down or mirrored or both or neither; a copy."""
    down, right = (1 - 2 * random.integers(0, 2, 2)).tolist()
    return np.ascontiguousarray(levels[::down, ::right])


def _blurred(levels: Levels, across: float, down: float) -> Levels:
    found = cv2.GaussianBlur(levels, (0, 0), sigmaX=across, sigmaY=down)
    return np.asarray(found, dtype=np.float32).reshape(levels.shape)


def _sign(random: Random, *, dark: float = 0.5) -> float:
    return -1.0 if random.random() < dark else 1.0


def _scale(levels: Levels) -> float:
    return float(levels.shape[0] / _SEEN_PX)


_PAINTERS: Mapping[Damage, Painter] = {
    "crack": _crack,
    "blob": _blob,
    "zone": _zone,
    "chip": _chip,
    "smear": _smear,
}
