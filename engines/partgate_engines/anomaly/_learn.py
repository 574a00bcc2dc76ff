"""Learning a product from good images."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bank import MemoryBank
from partgate_engines._manifest import Calibration, Source, Trial
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines.anomaly._budget import Budget
from partgate_engines.anomaly._calibrate import calibrate
from partgate_engines.anomaly._choice import choose
from partgate_engines.anomaly._coreset import k_centre
from partgate_engines.anomaly._graphs import graph_for
from partgate_engines.anomaly._images import GoodImage, check_count
from partgate_engines.anomaly._kinship import copies, parts_of
from partgate_engines.anomaly._learned import Learned, file_sha256
from partgate_engines.anomaly._reading import Patches, Reader
from partgate_engines.anomaly._settings import LearnSettings, Progress, quiet
from partgate_engines.anomaly._weights import find_weights
from partgate_station import Region

_MANY_RELATED = 0.25  # of the images; a few are alike by chance

# Seconds once a graph is there; the first time torch and anomalib export it, some twenty seconds.
GRAPH_STEP = "graph (exported once)"


def learn(
    good: Sequence[GoodImage],
    *,
    settings: LearnSettings,
    graphs: Path,
    regions: tuple[Region, ...] = (),
    progress: Progress = quiet,
) -> Learned:
    """Learn a product: the patches of good images that stand for all others, and thresholds.

    Args:
        good: at least one; read twice, one at a time, so it may decode images as they are asked for.
        settings: how.
        graphs: the folder of the graphs that all products share.
        regions: what of every image is judged.
        progress: called with a step's name, what is done of it and what there is.

    Raises:
        ImagesRefused: no images, or one that cannot be used.
        ConfigError: a region does not fit into an image.
        MissingInput, DataError, Unavailable: the weights or the packages for them are not there.
    """
    check_count(good)
    settings, trials = _chosen(good, settings, graphs, regions, progress)
    progress(GRAPH_STEP, 0, 1)
    weights = find_weights(settings.backbone, settings.weights)
    path = graph_for(settings, weights, graphs)
    graph = OpenVinoGraph(path, with_features=True)
    progress(GRAPH_STEP, 1, 1)
    tiling = settings.tiling(graph.grid)
    reader = Reader(graph=graph, regions=regions, tiling=tiling, progress=progress)
    patches = reader.patches(good, first=0, seed=settings.seed)
    bank, coverage = _bank(reader, patches, settings)
    scores, calibration = judge_good(reader, bank, patches.sources, settings.budget, good)
    return Learned(
        kind=settings.kind,
        backbone=settings.backbone,
        layers=settings.layers,
        size_px=settings.size_px,
        grid=graph.grid,
        tiling=tiling,
        contrast=settings.contrast,
        trials=trials,
        weights_sha256=weights.sha256,
        graph=path,
        graph_sha256=file_sha256(path),
        bank=bank,
        bank_rows_learned=settings.bank_rows,
        coverage=coverage,
        seed=settings.seed,
        good=patches.sources,
        held_out_scores=scores,
        calibration=calibration,
        regions=regions,
        learned_at=datetime.now(UTC),
    )


def _chosen(
    good: Sequence[GoodImage],
    settings: LearnSettings,
    graphs: Path,
    regions: tuple[Region, ...],
    progress: Progress,
) -> tuple[LearnSettings, tuple[Trial, ...]]:
    if not settings.auto:
        return settings, ()
    weights = find_weights(settings.backbone, settings.weights)

    def patches_of(one: LearnSettings, images: Sequence[GoodImage]) -> Patches:
        step = f"trying {one.contrast} contrast, {'+'.join(one.layers)}"

        def tell(_: str, done: int, total: int) -> None:
            progress(step, done, total)

        tell("graph", 0, len(images))
        graph = OpenVinoGraph(graph_for(one, weights, graphs), with_features=True)
        reader = Reader(graph=graph, regions=regions, tiling=one.tiling(graph.grid), progress=tell)
        return reader.patches(images, first=0, seed=one.seed)

    choice = choose(good, settings, patches_of=patches_of, regions=regions)
    return choice.settings, choice.trials


def judge_good(
    reader: Reader,
    bank: MemoryBank,
    sources: Sequence[Source],
    budget: Budget,
    *good: Sequence[GoodImage],
) -> tuple[NDArray[np.float32], Calibration]:
    """Return the held-out scores of the images a bank was learned from, and the thresholds."""
    scores = reader.held_out_scores(chain.from_iterable(good), sources, bank)
    held_out = np.flatnonzero(np.isfinite(scores))
    if held_out.size:
        scored, part_of = [sources[int(position)] for position in held_out], parts_of(sources)
        return scores, calibrate(
            scores[held_out],
            parts=[part_of[int(position)] for position in held_out],
            budget=budget,
            names=[source.origin for source in scored],
            digests=[source.pixels_sha256 for source in scored],
            warnings=_doubts(sources),
        )
    mirrored = reader.mirrored_scores(good[0][0], bank)
    return mirrored, calibrate(mirrored, method="mirrored", budget=budget, warnings=_doubts(sources))


def _bank(reader: Reader, patches: Patches, settings: LearnSettings) -> tuple[MemoryBank, float]:
    reader.progress("bank", 0, 1)
    coreset = k_centre(patches.rows, count=settings.bank_rows, seed=settings.seed)
    bank = MemoryBank(rows=patches.rows[coreset.chosen], origin=patches.origin[coreset.chosen])
    reader.progress("bank", 1, 1)
    return bank, float(coreset.distance.max())


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
