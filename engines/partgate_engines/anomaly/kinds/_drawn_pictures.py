"""What a head sees of one good picture: undamaged views of it, and defects drawn on it and on others."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from partgate_engines.anomaly.kinds._drawn_defects import Damage, Pixels, cropped, draw_damage, flipped

VIEWS = 4
_DRAWN: tuple[Damage, ...] = ("crack", "blob", "zone")
DEFECTS = 2 * len(_DRAWN)
_RARE: tuple[Damage, ...] = ("chip", "smear")
_RARE_SHARE = 0.2
_LEAST_SEEN = 0.6  # of each side, in a view
_CELL = 8  # px of a picture of 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """One good picture and what was made of it."""

    clean: NDArray[np.uint8]
    """(1 + VIEWS, s, s, c): as it is, then views of it."""

    spoilt: NDArray[np.uint8]
    """(DEFECTS, s, s, c): one defect in each."""

    covered: NDArray[np.float32]
    """(DEFECTS, s / 16, s / 16), 0..1: how much of its most covered quarter a defect covers of a patch."""


def pictures_of(pixels: Pixels, random: np.random.Generator) -> Pictures:
    """Make views and defects of a good picture, (s, s, c) uint8; the same random numbers make the same."""
    views = [view(pixels, random) for _ in range(VIEWS)]
    bases = [pixels] * len(_DRAWN) + [view(pixels, random) for _ in _DRAWN]
    spoilt, masks = zip(
        *(
            draw_damage(base, _chosen(kind, random), random)
            for base, kind in zip(bases, 2 * _DRAWN, strict=True)
        ),
        strict=True,
    )
    return Pictures(
        clean=np.stack([pixels, *views]),
        spoilt=np.stack(spoilt),
        covered=np.stack([covered(mask) for mask in masks]),
    )


def view(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Return an undamaged picture of the same surface: a part of it in its size, perhaps mirrored."""
    return flipped(random, cropped(random, pixels, least=_LEAST_SEEN, at_border=True))


def covered(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return how much of the most covered quarter of every patch a mask covers.

    Args:
        mask: (s, s), s a multiple of 32.

    Returns:
        (s / 16, s / 16) float32, 0..1.
    """
    cells = mask.shape[0] // _CELL
    shares = cv2.resize(mask.astype(np.float32), (cells, cells), interpolation=cv2.INTER_AREA)
    return np.asarray(shares.reshape(cells // 2, 2, cells // 2, 2).max(axis=(1, 3)), dtype=np.float32)


def _chosen(kind: Damage, random: np.random.Generator) -> Damage:
    if random.random() < _RARE_SHARE:
        return _RARE[int(random.integers(len(_RARE)))]
    return kind
