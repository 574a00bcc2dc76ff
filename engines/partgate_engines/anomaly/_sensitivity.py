"""How many times each region of a part counts: so that good parts lie as far from the limit in all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from partgate_engines._manifest import RegionEvidence, Source
from partgate_engines.anomaly._budget import worst_of_parts
from partgate_engines.anomaly._held_out import HeldOut, named
from partgate_engines.anomaly._kinship import parts_of
from partgate_engines.anomaly._reading import Reader
from partgate_station import Region

FEW = 20
"""Parts; from fewer, nobody knows how a region's good scores lie."""

_LEVEL = 0.75
"""The quantile of the good parts' scores that is brought to the same height in all regions.

Sensitivities and thresholds come from the same parts. Were it the order statistic that a threshold lies
above, every region would just touch the limit on those parts, and a new part would have as many chances to
pass it as there are regions: of 1,000 draws with four regions and 299 parts only 344 keep what they promise.
By the upper quartile it is 942 to 958, and 944 to 949 with sensitivities from nowhere (docs/decisions/0026).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """Good images scored with the sensitivities that were set by them."""

    reader: Reader
    """Puts images through the graph with those."""

    held: HeldOut
    evidence: tuple[RegionEvidence, ...]
    warnings: tuple[str, ...]


def weighed(reader: Reader, sources: Sequence[Source], score: Callable[[Reader], HeldOut]) -> Weighed:
    """Score good images, set the sensitivities of the regions that have none, and score them with those.

    Args:
        reader: puts images through the graph.
        sources: of the images.
        score: scores them, held out; called once more where a sensitivity was set.
    """
    held = score(reader)
    if not named(reader.regions):
        return Weighed(reader=reader, held=held, evidence=(), warnings=())
    by_part = _by_part(held.by_region, parts_of(sources))
    regions = set_sensitivities(reader.regions, by_part)
    evidence = _evidence(reader.regions, regions, by_part)
    warnings = _doubts(reader.regions, regions, by_part)
    if regions != reader.regions:
        reader = reader.with_regions(regions)
        held = score(reader)
    return Weighed(reader=reader, held=held, evidence=evidence, warnings=warnings)


def set_sensitivities(
    regions: tuple[Region, ...], by_part: Sequence[NDArray[np.float64]]
) -> tuple[Region, ...]:
    """Return the regions with sensitivities where there were none and two or more can be compared.

    The region whose good parts score highest counts once, and the others as many times as it takes for
    their upper quartiles to lie as high. What a recipe says stays.

    Args:
        regions: of a recipe.
        by_part: for every region with a name, the scores of the good parts in it.
    """
    levels = {
        number: float(np.quantile(scores, _LEVEL))
        for number, scores in zip(named(regions), by_part, strict=True)
        if regions[number].sensitivity is None and len(scores) >= FEW
    }
    levels = {number: level for number, level in levels.items() if level > 0}
    if len(levels) < 2:  # noqa: PLR2004 - one alone is compared with nothing
        return regions
    highest = max(levels.values())
    return tuple(
        region.model_copy(update={"sensitivity": _rounded(highest / levels[number])})
        if number in levels
        else region
        for number, region in enumerate(regions)
    )


def _rounded(sensitivity: float) -> float:
    least, most = Region.SENSITIVITIES
    return round(min(max(sensitivity, least), most), 3)


def _by_part(by_region: NDArray[np.float32], parts: Sequence[int]) -> list[NDArray[np.float64]]:
    """Return, for every region, the worst score of each part that has one, in the order of the parts."""
    known = np.isfinite(by_region)
    return [
        worst_of_parts(scores[here], [parts[int(position)] for position in np.flatnonzero(here)])
        for scores, here in zip(by_region.T, known.T, strict=True)
    ]


def _evidence(
    before: Sequence[Region], after: Sequence[Region], by_part: Sequence[NDArray[np.float64]]
) -> tuple[RegionEvidence, ...]:
    return tuple(
        RegionEvidence(
            name=after[number].name or "",
            sensitivity=after[number].weight,
            set_by=_set_by(before[number], after[number]),
            scores=tuple(float(score) for score in scores),
        )
        for number, scores in zip(named(after), by_part, strict=True)
    )


def _set_by(before: Region, after: Region) -> Literal["recipe", "learning", "nobody"]:
    if before.sensitivity is not None:
        return "recipe"
    return "nobody" if after.sensitivity is None else "learning"


def _doubts(
    before: Sequence[Region], after: Sequence[Region], by_part: Sequence[NDArray[np.float64]]
) -> tuple[str, ...]:
    """Say which regions were left to count once though they have names."""
    numbers = named(after)
    asked = [number for number in numbers if before[number].sensitivity is None]
    if len(asked) < 2:  # noqa: PLR2004 - nothing was to be set
        return ()
    return tuple(
        f"region '{after[number].name}' counts once: {_why(scores)}"
        for number, scores in zip(numbers, by_part, strict=True)
        if number in asked and after[number].sensitivity is None
    )


def _why(scores: NDArray[np.float64]) -> str:
    if not len(scores):
        return "no patch belongs to it; a patch belongs to the smallest region that holds half of it"
    if len(scores) < FEW:
        return f"{len(scores)} good parts say too little of it; from {FEW} on its sensitivity is set"
    return "there is no other region to compare it with, or nothing to see in it"
