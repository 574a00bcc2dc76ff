"""Changing what a product without a memory bank was learned from: it is learned again."""

from collections.abc import Sequence

from partgate_engines._bundle import Bundle
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines._openvino_device import compile_graph
from partgate_engines.anomaly._budget import Budget
from partgate_engines.anomaly._calibrate import budget_of
from partgate_engines.anomaly._images import GoodImage
from partgate_engines.anomaly._learned import Learned, changed
from partgate_engines.anomaly._reading import Reader
from partgate_engines.anomaly._settings import LearnSettings, Progress
from partgate_engines.anomaly.kinds._registry import kind_named
from partgate_station import Region


def relearned(
    bundle: Bundle,
    good: Sequence[GoodImage],
    regions: tuple[Region, ...],
    progress: Progress,
    budget: Budget | None = None,
) -> Learned:
    """Learn a product again from other good images, with the graph that it has; torch is not needed.

    All of them are learned: somebody has said of each that it is good. No budget means the one it has.

    Raises:
        ImagesRefused: its network was trained, which takes more than a graph.
        BundleRefused: the bundle was changed since it was opened.
    """
    manifest = bundle.manifest
    settings = LearnSettings(
        kind=manifest.kind,
        backbone=manifest.backbone,
        layers=manifest.layers,
        size_px=manifest.size_px,
        contrast=manifest.contrast,
        budget=budget or budget_of(manifest.calibration),
        keep_outliers=True,
        seed=manifest.seed,
    )
    compiled = compile_graph(bundle.graph, content=bundle.graph_bytes(), with_features=True)
    graph = OpenVinoGraph(bundle.graph, with_features=True, compiled=compiled)
    reader = Reader(graph=graph, regions=regions, tiling=manifest.tiling, progress=progress)
    settled = kind_named(manifest.kind).relearn(reader, good, settings)
    return changed(bundle, settled)
