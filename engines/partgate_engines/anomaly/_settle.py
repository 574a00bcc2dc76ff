"""From the patches of good images to a memory bank and thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bank import MemoryBank
from partgate_engines._manifest import Calibration, RegionEvidence, Source
from partgate_engines.anomaly._budget import Budget
from partgate_engines.anomaly._calibrate import calibrate
from partgate_engines.anomaly._coreset import k_centre
from partgate_engines.anomaly._held_out import HeldOut
from partgate_engines.anomaly._images import Chosen, GoodImage
from partgate_engines.anomaly._kinship import copies, parts_of
from partgate_engines.anomaly._outliers import SetAside, odd_ones, told
from partgate_engines.anomaly._provenance import renumbered
from partgate_engines.anomaly._reading import Patches, Reader
from partgate_engines.anomaly._sensitivity import Weighed, weighed
from partgate_engines.anomaly._settings import LearnSettings
from partgate_station import Region

_MANY_RELATED = 0.25  # of the images; a few are alike by chance
_BLOCK = 8192  # patches moved at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A memory bank, what it was chosen from, and thresholds."""

    bank: MemoryBank
    coverage: float
    sources: tuple[Source, ...]
    """Of the images that were learned; the bank's origins are positions in here."""

    scores: NDArray[np.float32]
    """(n,) float32, held out, in their order."""

    calibration: Calibration
    regions: tuple[Region, ...]
    """What of every image is judged, with the sensitivities that were set."""

    set_aside: tuple[SetAside, ...] = ()


def settle(reader: Reader, patches: Patches, good: Sequence[GoodImage], settings: LearnSettings) -> Settled:
    """Choose a bank, judge the good images by it, and do so again without those that do not belong.

    Args:
        reader: puts images through the graph.
        patches: of all good images.
        good: in the same order; read once, and once more if some do not belong.
        settings: how large the bank is to be, for which budget, and whether odd images are learned.
    """
    first = _settled(reader, patches, good, settings, ())
    aside = () if settings.keep_outliers else odd_ones(first.scores, patches.sources)
    if not aside:
        return first
    left_out = {one.position for one in aside}
    kept = [position for position in range(len(good)) if position not in left_out]
    return _settled(reader, _only(patches, kept), Chosen(good, kept), settings, aside)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedGood:
    """What good images got that a bank was learned from."""

    scores: NDArray[np.float32]
    calibration: Calibration
    regions: tuple[Region, ...]
    """With the sensitivities that were set by them."""


def judge_good(
    reader: Reader,
    bank: MemoryBank,
    sources: Sequence[Source],
    budget: Budget,
    good: Sequence[GoodImage],
    *,
    warnings: Sequence[str] = (),
    held: HeldOut | None = None,
) -> JudgedGood:
    """Return the held-out scores of the images a bank was learned from, and the thresholds.

    `held` are those by the reader's own regions, where they are known already.
    """

    def score(one: Reader) -> HeldOut:
        known = held if one is reader else None
        return one.held_out(good, sources, bank) if known is None else known

    found = weighed(reader, sources, score)
    return calibrated_by(found, bank, good, sources=sources, budget=budget, warnings=warnings)


def calibrated_by(
    found: Weighed,
    bank: MemoryBank,
    good: Sequence[GoodImage],
    *,
    sources: Sequence[Source],
    budget: Budget,
    method: Literal["leave-one-out", "held-back"] = "leave-one-out",
    warnings: Sequence[str] = (),
) -> JudgedGood:
    """Return the thresholds of good images that were scored, their regions weighed."""
    scores, calibration = calibrated(
        found.reader,
        bank,
        good,
        sources=sources,
        scores=found.held.scores,
        budget=budget,
        method=method,
        warnings=(*warnings, *found.warnings),
        regions=found.evidence,
    )
    return JudgedGood(scores=scores, calibration=calibration, regions=found.reader.regions)


def calibrated(
    reader: Reader,
    bank: MemoryBank,
    good: Sequence[GoodImage],
    *,
    sources: Sequence[Source],
    scores: NDArray[np.float32],
    budget: Budget,
    method: Literal["leave-one-out", "held-back"] = "leave-one-out",
    warnings: Sequence[str] = (),
    regions: tuple[RegionEvidence, ...] = (),
) -> tuple[NDArray[np.float32], Calibration]:
    """Return the scores of good images, and the thresholds that they give.

    Args:
        reader: puts images through the graph.
        bank: what was learned.
        good: the images; the first one's mirrors are scored where no score is a number.
        sources: of the images.
        scores: (n,) held out, in their order; those that are not a number do not count.
        budget: how many good parts may be flagged.
        method: how they were held out.
        warnings: what else a person should know.
        regions: what they say of the regions with names.
    """
    warnings = (*warnings, *_doubts(sources))
    held_out = np.flatnonzero(np.isfinite(scores))
    if held_out.size:
        scored, part_of = [sources[int(position)] for position in held_out], parts_of(sources)
        calibration = calibrate(
            scores[held_out],
            method=method,
            parts=[part_of[int(position)] for position in held_out],
            budget=budget,
            names=[source.origin for source in scored],
            digests=[source.pixels_sha256 for source in scored],
            warnings=warnings,
        )
        return scores, calibration.model_copy(update={"regions": regions})
    mirrored = reader.mirrored_scores(good[0], bank)
    return mirrored, calibrate(mirrored, method="mirrored", budget=budget, warnings=warnings)


def _settled(
    reader: Reader,
    patches: Patches,
    good: Sequence[GoodImage],
    settings: LearnSettings,
    aside: tuple[SetAside, ...],
) -> Settled:
    reader.progress("bank", 0, 1)
    coreset = k_centre(patches.rows, count=settings.bank_rows, seed=settings.seed)
    bank = MemoryBank(rows=patches.rows[coreset.chosen], origin=patches.origin[coreset.chosen])
    reader.progress("bank", 1, 1)
    warnings = told(aside, len(good) + len(aside))
    judged = judge_good(reader, bank, patches.sources, settings.budget, good, warnings=warnings)
    return Settled(
        bank=bank,
        coverage=float(coreset.distance.max()),
        sources=patches.sources,
        scores=judged.scores,
        calibration=judged.calibration,
        regions=judged.regions,
        set_aside=aside,
    )


def _only(patches: Patches, kept: Sequence[int]) -> Patches:
    """Return the patches of some images, moved to the front of the same memory."""
    sources, number = renumbered(patches.sources, kept)
    origin = number[patches.origin]
    stays = np.flatnonzero(origin >= 0)
    rows = patches.rows
    # In place and block by block: the patches of many images are not there twice.
    for first in range(0, len(stays), _BLOCK):
        block = stays[first : first + _BLOCK]
        rows[first : first + len(block)] = rows[block]
    return Patches(rows=rows[: len(stays)], origin=origin[stays], sources=sources)


def _doubts(sources: Sequence[Source]) -> tuple[str, ...]:
    """Say where the images are fewer parts than they seem."""
    doubled, related = copies(sources), sum(bool(source.alike) for source in sources)
    doubts = []
    if doubled:
        doubts.append(f"{doubled} of {len(sources)} good images are copies of others; they count once")
    if related >= _MANY_RELATED * len(sources):
        doubts.append(
            f"{related} of {len(sources)} good images seem to show the same part as another; they are held"
            " out together, and promise less than as many parts"
        )
    return tuple(doubts)
