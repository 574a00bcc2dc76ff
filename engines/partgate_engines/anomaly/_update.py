"""Changing what a product was learned from: good images come, or a part's are taken out again.

Both keep the memory bank's size and the rows' provenance, and calibrate the thresholds anew.
"""

from collections.abc import Collection, Sequence

import numpy as np

from partgate_engines._bank import MemoryBank
from partgate_engines._bundle import Bundle
from partgate_engines._errors import ImagesRefused
from partgate_engines._manifest import Source
from partgate_engines.anomaly._alignment import aligned
from partgate_engines.anomaly._budget import Budget
from partgate_engines.anomaly._calibrate import budget_of
from partgate_engines.anomaly._coreset import k_centre
from partgate_engines.anomaly._held_out import HeldOut
from partgate_engines.anomaly._images import Chosen, GoodImage, Joined
from partgate_engines.anomaly._kinship import Descriptions
from partgate_engines.anomaly._learned import Learned, changed
from partgate_engines.anomaly._provenance import without_images
from partgate_engines.anomaly._reading import Patches, Reader
from partgate_engines.anomaly._settings import Progress, quiet
from partgate_engines.anomaly._settle import Settled, judge_good
from partgate_engines.anomaly._witness import feature_graph
from partgate_engines.anomaly.kinds import relearned
from partgate_station import Region

_MOST_PER_UPDATE = 0.25  # of the rows: no update alone turns a bank into another one


def update(
    bundle: Bundle,
    *,
    good: Sequence[GoodImage],
    added: Sequence[GoodImage],
    regions: tuple[Region, ...] = (),
    budget: Budget | None = None,
    progress: Progress = quiet,
) -> Learned:
    """Add good images to a learned product and calibrate it again; torch is not needed.

    Those of the new patches are candidates that lie farther from the memory bank than any patch did it
    was chosen from, the farthest first, at most a quarter of its rows. If the bank then has more rows
    than were asked for at first, as many are chosen anew, by k-centre, among its rows and the candidates:
    what is given up is what others lie nearest to. docs/decisions/0019 says what that does to scores.
    Kinds without a memory bank are learned again.

    Args:
        bundle: what was learned.
        good: the images it was learned from, in the same order; read once, one at a time.
        added: images that were found to be good; read twice.
        regions: what of every image is judged.
        budget: how many good parts the thresholds may flag; None: as many as before.
        progress: called with a step's name, what is done of it and what there is.

    Raises:
        ImagesRefused: not the images it was learned from, none added, or one that cannot be used.
        BundleRefused: the bundle was changed since it was opened.
    """
    manifest = bundle.manifest
    _check_count(bundle, good)
    if not added:
        raise ImagesRefused("0 good images to add; at least 1 is needed")
    good, added = aligned(good, manifest.pose), aligned(added, manifest.pose)
    if manifest.kind != "patchcore":
        return relearned(bundle, Joined(good, added), regions, progress, budget)
    reader = reader_of(bundle, regions, progress)
    descriptions = Descriptions(manifest.n_good + len(added))
    patches = reader.patches(added, first=manifest.n_good, seed=manifest.seed, among=descriptions)
    bank, coverage = _with_candidates(bundle, patches)
    everything = Joined(good, added)
    # New photographs of a part that is known would count as another part, and its old ones vouch for them.
    held, sources = reader.held_out_anew(
        everything,
        (*manifest.good, *patches.sources),
        bank,
        descriptions,
        described=manifest.n_good,
    )
    return _changed(
        bundle, reader, bank, coverage, sources=sources, good=everything, budget=budget, held=held
    )


def forget(
    bundle: Bundle,
    *,
    good: Sequence[GoodImage],
    forgotten: Collection[int],
    regions: tuple[Region, ...] = (),
    budget: Budget | None = None,
    progress: Progress = quiet,
) -> Learned:
    """Take images out of what a product was learned from, with every row that they brought.

    The other images' patches take the places, by k-centre, the farthest from the rows that stay first:
    what only the forgotten rows stood for is still known if another image shows it.

    Args:
        bundle: what was learned.
        good: the images it was learned from, in the same order; those that stay are read twice.
        forgotten: positions of those to take out.
        regions: what of every image is judged.
        budget: how many good parts the thresholds may flag; None: as many as before.
        progress: called with a step's name, what is done of it and what there is.

    Raises:
        ImagesRefused: not the images it was learned from, or none would be left.
        BundleRefused: the bundle was changed since it was opened.
        IndexError: there is no image of such a position.
    """
    manifest = bundle.manifest
    _check_count(bundle, good)
    kept = [position for position in range(manifest.n_good) if position not in set(forgotten)]
    if not kept:
        raise ImagesRefused(f"all {manifest.n_good} good images would be forgotten; learn the product again")
    if len(kept) + len(set(forgotten)) != manifest.n_good:
        raise IndexError(f"positions {sorted(forgotten)} of {manifest.n_good} images")
    remaining = Chosen(aligned(good, manifest.pose), kept)
    if manifest.kind != "patchcore":
        return relearned(bundle, remaining, regions, progress, budget)
    reader = reader_of(bundle, regions, progress)
    patches = reader.patches(remaining, first=0, seed=manifest.seed)
    staying, sources = without_images(bundle.bank(), manifest.good, kept)
    bank, coverage = _filled(staying, patches, rows=manifest.bank_rows, seed=manifest.seed)
    return _changed(bundle, reader, bank, coverage, sources=sources, good=remaining, budget=budget)


def reader_of(bundle: Bundle, regions: tuple[Region, ...], progress: Progress) -> Reader:
    """Return what puts images through a bundle's graph.

    Raises:
        BundleRefused: the bundle was changed since it was opened.
    """
    return Reader(
        graph=feature_graph(bundle), regions=regions, tiling=bundle.manifest.tiling, progress=progress
    )


def _check_count(bundle: Bundle, good: Sequence[GoodImage]) -> None:
    expected = bundle.manifest.n_good
    if len(good) != expected:
        raise ImagesRefused(
            f"bundle {bundle.id[:12]} was learned from {expected} images, {len(good)} are given; give the"
            " same ones in the same order"
        )


def _with_candidates(bundle: Bundle, patches: Patches) -> tuple[MemoryBank, float]:
    manifest, bank = bundle.manifest, bundle.bank()
    size = max(manifest.bank_rows, manifest.bank_rows_learned)
    found = k_centre(
        patches.rows,
        count=max(size - manifest.bank_rows, int(_MOST_PER_UPDATE * manifest.bank_rows), 1),
        seed=manifest.seed,
        start=bank.rows,
        tolerance=manifest.coverage,
    )
    rows = np.concatenate((bank.rows, patches.rows[found.chosen]))
    origin = np.concatenate((bank.origin, patches.origin[found.chosen]))
    if len(rows) <= size:
        return MemoryBank(rows=rows, origin=origin), manifest.coverage
    # In the order of choice, which a score relies on: the first 512 rows cover the most (decision 14).
    again = k_centre(rows, count=size, seed=manifest.seed)
    return (
        MemoryBank(rows=rows[again.chosen], origin=origin[again.chosen]),
        max(manifest.coverage, float(again.distance.max())),
    )


def _filled(
    staying: MemoryBank | None, patches: Patches, *, rows: int, seed: int
) -> tuple[MemoryBank, float]:
    """Return a bank of so many rows: those that stay, and then the farthest patches."""
    start = patches.rows[:0] if staying is None else staying.rows
    origin = patches.origin[:0] if staying is None else staying.origin
    coreset = k_centre(patches.rows, count=rows - len(start), seed=seed, start=start)
    bank = MemoryBank(
        rows=np.concatenate((start, patches.rows[coreset.chosen])),
        origin=np.concatenate((origin, patches.origin[coreset.chosen])),
    )
    return bank, float(coreset.distance.max())


def _changed(
    bundle: Bundle,
    reader: Reader,
    bank: MemoryBank,
    coverage: float,
    *,
    sources: tuple[Source, ...],
    good: Sequence[GoodImage],
    budget: Budget | None,
    held: HeldOut | None = None,
) -> Learned:
    """Return the product with another bank, its thresholds calibrated again; held-out scores may be known."""
    budget = budget or budget_of(bundle.manifest.calibration)
    judged = judge_good(reader, bank, sources, budget, good, held=held)
    settled = Settled(
        bank=bank,
        coverage=coverage,
        sources=sources,
        scores=judged.scores,
        calibration=judged.calibration,
        regions=judged.regions,
    )
    return changed(bundle, settled)
