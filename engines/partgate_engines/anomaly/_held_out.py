"""Held-out scores of good images: of the whole part, and of each of its regions that has a name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from partgate_engines._placement import Placement
from partgate_engines.anomaly._graphs import SCORED_SHARE
from partgate_station import Region


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """What was not learned from images says of them; filled image by image, in place.

    Convention: n images, r regions with names, in the order of the recipe.
    """

    scores: NDArray[np.float32]
    """(n,), by the regions' sensitivities; not a number where there is none."""

    by_region: NDArray[np.float32]
    """(n, r), as `region_scores` has them; not a number where there is none."""

    @classmethod
    def none(cls, images: int, regions: Sequence[Region]) -> Self:
        """Return that of images none of which was scored yet."""
        return cls(
            scores=np.full(images, np.nan, dtype=np.float32),
            by_region=np.full((images, len(named(regions))), np.nan, dtype=np.float32),
        )

    def put(self, position: int, found: tuple[float, NDArray[np.float32]]) -> None:
        """Keep an image's score and those of its regions."""
        self.scores[position], self.by_region[position] = found


def named(regions: Sequence[Region]) -> list[int]:
    """Return the positions of the regions that have names."""
    return [number for number, region in enumerate(regions) if region.name is not None]


def region_scores(
    anomaly_map: NDArray[np.float32], placement: Placement, regions: Sequence[Region]
) -> NDArray[np.float32]:
    """Return what a part would score if nothing but one region were judged, and that counted once.

    Of the map, so that nothing is judged twice: of a graph that looks twice, the score differs in what is
    looked at again (rank correlation 0.9999, docs/decisions/0014).

    Args:
        anomaly_map: (GH, GW), with the regions' sensitivities in it.
        placement: where it lies.
        regions: that the placement was made for.

    Returns:
        (r,) for the regions with names; not a number where no patch belongs to one.
    """
    numbers = named(regions)
    found = np.full(len(numbers), np.nan, dtype=np.float32)
    if not numbers:
        return found
    plain, patches = placement.plain(anomaly_map), placement.mask[0].size
    tile = placement.cells // patches
    worst = max(round(SCORED_SHARE * patches), 1)
    for at, number in enumerate(numbers):
        mine = placement.owners == number
        if mine.any():
            of_tile = tile[mine]
            found[at] = max(_mean_of_worst(plain[mine][of_tile == one], worst) for one in np.unique(of_tile))
    return found


def _mean_of_worst(distances: NDArray[np.float32], worst: int) -> float:
    """Return the mean of the worst; what there are too few of counts as zero, as in the graph."""
    return float(np.sort(distances)[-worst:].sum() / worst)
