"""From good images to the graph of a trained network. Imported only where one is trained."""

from collections.abc import Sequence

import torch

from partgate_engines._manifest import KindName
from partgate_engines._tiles import Grid
from partgate_engines.anomaly._affine_graph import AffineGraph
from partgate_engines.anomaly._backbone import build_model, normalisation
from partgate_engines.anomaly._export import Sizes, calm, exported, scored_patches
from partgate_engines.anomaly._graphs import SCORED_SHARE
from partgate_engines.anomaly._images import GoodImage
from partgate_engines.anomaly.kinds._kind import Lesson
from partgate_engines.anomaly.kinds._network import TrainedNetwork
from partgate_engines.anomaly.kinds._trained import TrainedGraph
from partgate_engines.anomaly.kinds._training import BATCH, Tiles, View, read_out, train


def taught(name: KindName, good: Sequence[GoodImage], lesson: Lesson, *, steps: int) -> TrainedGraph:
    """Train a network and export it.

    Raises:
        WeightsRefused, GraphRefused, ImagesRefused, ConfigError: as `learn`.
    """
    settings = lesson.settings
    with calm():
        network = _network(name, lesson)
        grid, maps = _sizes(network, settings.size_px)
        module = AffineGraph(
            network,
            head="weighed",
            size_px=settings.size_px,
            worst=scored_patches(SCORED_SHARE, grid),
            contrast=settings.contrast,
            normal=normalisation(settings.backbone),
        )
        view = View(
            frames=module,
            network=network,
            size_px=settings.size_px,
            grid=grid,
            tiling=settings.tiling(grid),
            regions=lesson.regions,
        )
        tiles, marked = Tiles(images=good, view=view), Tiles(images=lesson.defects, view=view)
        losses = train(network, tiles, marked, steps=steps, seed=settings.seed, progress=lesson.progress)
        row = read_out(network, tiles)
    lesson.progress("export", 0, 1)
    content = exported(module.eval(), Sizes(size_px=settings.size_px, grid=grid, features=maps))
    lesson.progress("export", 1, 1)
    return TrainedGraph(
        module=module, content=content, grid=grid, row=row, losses=(losses.first, losses.last), batch=BATCH
    )


def _network(name: KindName, lesson: Lesson) -> TrainedNetwork:
    """Return an untrained network on the backbone; what it begins with is drawn of the seed."""
    settings = lesson.settings
    model = build_model(
        backbone=settings.backbone, layers=settings.layers, size_px=settings.size_px, weights=lesson.weights
    )
    for parameter in model.parameters():
        parameter.requires_grad = False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        match name:
            case "stfpm":
                from partgate_engines.anomaly.kinds._stfpm import Stfpm

                return Stfpm(model, settings.size_px)
            case "fastflow":
                from partgate_engines.anomaly.kinds._fastflow import FastFlow

                return FastFlow(model, settings.size_px)
            case "supersimplenet":
                from partgate_engines.anomaly.kinds._supersimplenet import SuperSimpleNet

                return SuperSimpleNet(model, settings.contrast)
            case "reverse-distillation":
                from partgate_engines.anomaly.kinds._reverse_distillation import ReverseDistillation

                return ReverseDistillation(model)
    raise ValueError(f"{name} is not trained")


def _sizes(network: TrainedNetwork, size_px: int) -> tuple[Grid, int]:
    network.eval()
    with torch.inference_mode():
        _, maps, gh, gw = network(torch.zeros(2, 3, size_px, size_px)).shape
    return (gh, gw), maps
