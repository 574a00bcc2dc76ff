"""Parts of a line that does not exist: cut from a photograph, some with a defect drawn on.

A part is a random crop of the texture under slightly varying light: gain, offset and sensor noise
are drawn anew for every part, so that two good parts differ in position, light and noise and in
nothing else. With the camera's `defect_rate` as probability a part gets one defect, of a kind that
`_defects.py` documents, in the same light. A defect that came out fainter than `MIN_CONTRAST` (a
dark one on a dark spot) is drawn again elsewhere: the truth must be plain to a person, or counting
escapes would mean nothing.

Everything is drawn from `SeedSequence((seed, number))`: the same settings and number give the same
pixels, in any order and in any process.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from partgate_cameras._defects import PAINTERS, DefectKind, Paint
from partgate_cameras._texture import load_texture
from partgate_station import VirtualCamera

MIN_CONTRAST = 45.0  # grey levels
MAX_ATTEMPTS = 20

# Standard deviations from part to part: what a lamp and a sensor do within a shift.
GAIN_SPREAD = 0.03
OFFSET_SPREAD = 3.0  # grey levels
NOISE_SPREAD = 2.0  # grey levels
FAILED_LIGHT = 0.05  # what is left of it: daylight


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Defect:
    """What was drawn onto a part."""

    kind: DefectKind
    size_px: int
    """The longer side of the box around it."""

    contrast: float
    """Mean absolute difference that it makes within `mask`, in grey levels."""

    mask: NDArray[np.bool_]
    """(h, w): where it is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VirtualPart:
    """A drawn part and the truth about it."""

    image: NDArray[np.uint8]
    """(h, w), owned by the caller."""

    defect: Defect | None
    """None for a good part."""


def draw_part(config: VirtualCamera, number: int) -> VirtualPart:
    """Return the part with that number on the line.

    Args:
        config: texture, seed, size and defect rate.
        number: >= 0.

    Raises:
        Unavailable: scikit-image, in whose wheel the photographs lie, is not installed.
    """
    part = _drawn(config, number)
    if not _is_dark(config, number):
        return part
    return replace(part, image=np.asarray(np.rint(part.image * FAILED_LIGHT), np.uint8))


def _is_dark(config: VirtualCamera, number: int) -> bool:
    begins = config.light_fails_at
    return begins is not None and begins <= number < begins + config.light_fails_for


def _drawn(config: VirtualCamera, number: int) -> VirtualPart:
    light_seed, defect_seed = np.random.SeedSequence((config.seed, number)).spawn(2)
    light = np.random.default_rng(light_seed)
    surface = _cut(load_texture(config.texture), config.size_px, light)
    gain, offset = light.normal(1, GAIN_SPREAD), light.normal(0, OFFSET_SPREAD)
    noise = light.normal(offset, NOISE_SPREAD, surface.shape).astype(np.float32)
    chance = np.random.default_rng(defect_seed)
    if chance.random() >= config.defect_rate:
        return VirtualPart(image=_expose(surface, gain, noise), defect=None)
    kind = tuple(PAINTERS)[chance.integers(len(PAINTERS))]
    attempts = (_with_defect(surface, kind, chance, gain, noise) for _ in range(MAX_ATTEMPTS))
    return _plainest(attempts)


def _cut(texture: NDArray[np.uint8], size_px: int, rng: np.random.Generator) -> NDArray[np.float32]:
    top = rng.integers(0, texture.shape[0] - size_px, endpoint=True)
    left = rng.integers(0, texture.shape[1] - size_px, endpoint=True)
    return texture[top : top + size_px, left : left + size_px].astype(np.float32)


def _expose(surface: NDArray[np.float32], gain: float, noise: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(surface * np.float32(gain) + noise), 0, 255), np.uint8)


def _with_defect(
    surface: NDArray[np.float32],
    kind: DefectKind,
    rng: np.random.Generator,
    gain: float,
    noise: NDArray[np.float32],
) -> VirtualPart:
    paint: Paint = PAINTERS[kind](surface, rng)
    painted = surface + paint.opacity * (paint.colour - surface)
    image = _expose(painted, gain, noise)
    mask = paint.opacity > 0.5  # noqa: PLR2004 - more paint than surface
    difference = np.abs(image.astype(np.int16) - _expose(surface, gain, noise))
    rows, columns = np.nonzero(mask)
    defect = Defect(
        kind=kind,
        size_px=int(max(np.ptp(rows), np.ptp(columns))) + 1,
        contrast=float(difference[mask].mean()),
        mask=mask,
    )
    return VirtualPart(image=image, defect=defect)


def _plainest(attempts: Iterator[VirtualPart]) -> VirtualPart:
    """Return the first part whose defect is plain; if there is none, the plainest of all."""
    best = next(attempts)
    while _contrast(best) < MIN_CONTRAST:
        another = next(attempts, None)
        if another is None:
            break
        best = max(best, another, key=_contrast)
    return best


def _contrast(part: VirtualPart) -> float:
    return part.defect.contrast if part.defect is not None else 0.0
