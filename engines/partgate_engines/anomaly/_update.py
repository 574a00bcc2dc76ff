"""Adding good images to a product that was learned."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from partgate_engines._bank import MemoryBank
from partgate_engines._bundle import Bundle
from partgate_engines._errors import ImagesRefused
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines.anomaly._calibrate import budget_of
from partgate_engines.anomaly._coreset import k_centre
from partgate_engines.anomaly._images import GoodImage
from partgate_engines.anomaly._learn import judge_good
from partgate_engines.anomaly._learned import Learned
from partgate_engines.anomaly._reading import Patches, Reader
from partgate_engines.anomaly._settings import Progress, quiet
from partgate_station import Region

_MOST_PER_UPDATE = 0.25  # of the rows there are
_MOST_IN_ALL = 2  # times the rows of the first learning: judging takes longer with every row


def update(
    bundle: Bundle,
    *,
    good: Sequence[GoodImage],
    added: Sequence[GoodImage],
    regions: tuple[Region, ...] = (),
    progress: Progress = quiet,
) -> Learned:
    """Add good images to a learned product and calibrate it again; torch is not needed.

    Those of the new patches join the memory bank that lie farther from it than any patch of the old
    images did, the farthest first, until none does: the bank stays as dense as it was. At most a
    quarter of its rows are added at once, and it grows to at most twice the rows of the first
    learning. Rows are never taken away, so no score of any part gets higher.

    Args:
        bundle: what was learned.
        good: the images it was learned from, in the same order; read once, one at a time.
        added: images that were found to be good; read twice.
        regions: what of every image is judged.
        progress: called with a step's name, what is done of it and what there is.

    Raises:
        ImagesRefused: not the images it was learned from, none added, or one that cannot be used.
        BundleRefused: the bundle was changed since it was opened.
    """
    manifest = bundle.manifest
    _check(bundle, good, added)
    graph = OpenVinoGraph(bundle.graph, with_features=True)
    reader = Reader(graph=graph, regions=regions, tiling=manifest.tiling, progress=progress)
    patches = reader.patches(added, first=manifest.n_good, seed=manifest.seed)
    bank, coverage = _extended(bundle, patches)
    sources = (*manifest.good, *patches.sources)
    budget = budget_of(manifest.calibration)
    scores, calibration = judge_good(reader, bank, sources, budget, good, added)
    return Learned(
        kind=manifest.kind,
        backbone=manifest.backbone,
        layers=manifest.layers,
        size_px=manifest.size_px,
        grid=manifest.grid,
        tiling=manifest.tiling,
        contrast=manifest.contrast,
        trials=manifest.trials,
        weights_sha256=manifest.weights_sha256,
        graph=bundle.graph,
        graph_sha256=manifest.graph_sha256,
        bank=bank,
        bank_rows_learned=manifest.bank_rows_learned,
        coverage=coverage,
        seed=manifest.seed,
        good=sources,
        held_out_scores=scores,
        calibration=calibration,
        regions=regions,
        learned_at=datetime.now(UTC),
        parent=bundle.id,
    )


def _check(bundle: Bundle, good: Sequence[GoodImage], added: Sequence[GoodImage]) -> None:
    expected = bundle.manifest.n_good
    if len(good) != expected:
        raise ImagesRefused(
            f"bundle {bundle.id[:12]} was learned from {expected} images, {len(good)} are given; give the"
            " same ones in the same order"
        )
    if not added:
        raise ImagesRefused("0 good images to add; at least 1 is needed")


def _extended(bundle: Bundle, patches: Patches) -> tuple[MemoryBank, float]:
    manifest, bank = bundle.manifest, bundle.bank()
    room = max(_MOST_IN_ALL * manifest.bank_rows_learned - manifest.bank_rows, 0)
    coreset = k_centre(
        patches.rows,
        count=min(room, max(int(_MOST_PER_UPDATE * manifest.bank_rows), 1)),
        seed=manifest.seed,
        start=bank.rows,
        tolerance=manifest.coverage,
    )
    extended = MemoryBank(
        rows=np.concatenate((bank.rows, patches.rows[coreset.chosen])),
        origin=np.concatenate((bank.origin, patches.origin[coreset.chosen])),
    )
    return extended, max(manifest.coverage, float(coreset.distance.max()))
