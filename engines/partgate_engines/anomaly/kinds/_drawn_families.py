"""Families of defects, drawn on tiles of good parts, on which the drawn kind is held against a memory bank.

A family is what a head can be taught without: of a defect that nobody drew, it has to say what it says of one
that it was not shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from partgate_engines.anomaly.kinds._drawn_defects import Damage, Pixels, draw_damage
from partgate_engines.anomaly.kinds._drawn_pictures import DEFECTS, VIEWS, covered, view

Family = Literal["lines", "spots", "zones"]

FAMILIES: Mapping[Family, tuple[Damage, Damage]] = {
    "lines": ("crack", "crack"),
    "spots": ("blob", "chip"),
    "zones": ("zone", "smear"),
}
"""What is drawn of each: mostly the first, now and then the second, as a head is taught."""

TAUGHT = DEFECTS // len(FAMILIES)
"""Rounds of all families that a head is taught: the first on the tile as it is, the others on views of it."""

ROUNDS = TAUGHT + 1
"""The last is drawn on the tile as it is, and nobody is taught it."""

TESTED = (0, ROUNDS - 1)
"""Rounds whose pictures are told from the tile as it is; a view of it is unknown to a bank, not spoilt."""

_RARE_SHARE = 0.2
_SEEN_FROM = 0.08  # of a patch, for it to count as defective: as the head's lesson has it
_TRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyPictures:
    """A tile of a good part, and what was made of it."""

    clean: NDArray[np.uint8]
    """(1 + VIEWS, s, s, c): as it is, then views of it."""

    spoilt: NDArray[np.uint8]
    """(ROUNDS * families, s, s, c): one defect of every family, round after round."""

    covered: NDArray[np.float32]
    """(ROUNDS * families, gh, gw), 0..1, how much of a patch is defective."""

    mask: NDArray[np.float32]
    """(gh, gw), how many times a patch counts; 0 where it is not judged."""

    @property
    def scored(self) -> NDArray[np.uint8]:
        """The tile as it is, then with a defect of every family, round after round that is tested."""
        count = len(FAMILIES)
        return np.concatenate((self.clean[:1], *(self.spoilt[n * count : (n + 1) * count] for n in TESTED)))


def family_pictures(tile: Pixels, mask: NDArray[np.float32], random: np.random.Generator) -> FamilyPictures:
    """Make views of a tile and draw defects of every family on it.

    Args:
        tile: (s, s, c) uint8.
        mask: (s / 16, s / 16), above 0 where patches are judged: defects lie there.
        random: of views and defects; the same random numbers make the same.
    """
    views = [view(tile, random) for _ in range(VIEWS)]
    spoilt, cover = [], []
    for turn in range(ROUNDS):
        for family in FAMILIES:
            base = tile if turn in TESTED else view(tile, random)
            pixels, share = _drawn(base, family, mask, random)
            spoilt.append(pixels)
            cover.append(share)
    return FamilyPictures(
        clean=np.stack([tile, *views]), spoilt=np.stack(spoilt), covered=np.stack(cover), mask=mask
    )


def slots_without(family: int | None) -> NDArray[np.intp]:
    """Return which pictures of a tile a head is taught, as many as ever: (DEFECTS,).

    Args:
        family: the number of the one that is left out; others take its places in turn. None: none is.
    """
    slots = np.arange(DEFECTS)
    if family is None:
        return slots
    turn, own = np.divmod(slots, len(FAMILIES))
    other = (family + 1 + turn % (len(FAMILIES) - 1)) % len(FAMILIES)
    return np.asarray(turn * len(FAMILIES) + np.where(own == family, other, own), dtype=np.intp)


def by_family(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, families, draws) of scores of what was scored beside the tiles as they are."""
    return scores.reshape(len(scores), len(TESTED), len(FAMILIES)).transpose(0, 2, 1)


def _drawn(
    base: Pixels, family: Family, mask: NDArray[np.float32], random: np.random.Generator
) -> tuple[Pixels, NDArray[np.float32]]:
    """Draw a defect where something is judged; one that never comes to lie there stays as it fell."""
    usual, rare = FAMILIES[family]
    damage = rare if random.random() < _RARE_SHARE else usual
    for _ in range(_TRIES):
        pixels, marked = draw_damage(base, damage, random)
        share = covered(marked)
        if (share[mask > 0] > _SEEN_FROM).any():
            break
    return pixels, share
