"""What golden frames should get: by torch where it is at hand, else by OpenVINO."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bundle import Bundle
from partgate_engines._errors import TrainingUnavailable, WeightsRefused
from partgate_engines._golden import GoldenFrame
from partgate_engines._manifest import Contrast, GraphPrecision, KindName, Tiling
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines._openvino_device import compile_graph
from partgate_engines._placement import Placement, place
from partgate_engines._runtime import with_channels
from partgate_engines._tiles import Grid
from partgate_engines.anomaly._graphs import SCORED_SHARE
from partgate_engines.anomaly._versions import version_of
from partgate_engines.anomaly._weights import find_weights
from partgate_station import Region

Answer = tuple[float, NDArray[np.float32]]
_TILES_AT_ONCE = 8  # torch keeps what OpenVINO has let go of


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a product looks at a frame."""

    size_px: int
    grid: Grid
    tiling: Tiling | None
    regions: tuple[Region, ...]

    def at(self, frame: NDArray[np.uint8]) -> Placement:
        """Return where in a frame, (h, w, c), it looks."""
        return place(
            height_px=frame.shape[0],
            width_px=frame.shape[1],
            regions=self.regions,
            size_px=self.size_px,
            grid=self.grid,
            tiling=self.tiling,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What computes references, and its name and version."""

    name: str
    bank: NDArray[np.float32]
    """(k, d + 1) float32, as the graph takes it."""

    look: Look
    graph: Any
    """`OpenVinoGraph`, or the graph in torch."""

    def judge(self, pixels: NDArray[np.uint8]) -> Answer:
        """Return the score and the (GH, GW) map of a frame, (h, w) or (h, w, c) uint8."""
        frame = with_channels(pixels)
        placement = self.look.at(frame)
        if isinstance(self.graph, OpenVinoGraph):
            return self.graph.run(frame, placement)
        return _by_torch(self.graph, frame, placement, self.bank)


def was_exported_here() -> bool:
    """Return whether this process has imported torch already, to export a graph.

    Ten seconds of importing torch are not spent on references alone.
    """
    return "partgate_engines.anomaly._frame_graph" in sys.modules


def openvino_reference(
    graph: Path, bank: NDArray[np.float32], look: Look, *, precision: GraphPrecision = "f32"
) -> Reference:
    """Return references computed by OpenVINO, in the precision that the graph says and float32.

    By the graph as it was exported, not as a station's OpenVINO changes it: else the gate would not see what
    that does.

    Raises:
        GraphRefused: OpenVINO cannot read the graph.
    """
    compiled = OpenVinoGraph(graph, compiled=compile_graph(graph, as_exported=True))
    compiled.bind_bank(bank)
    name = f"openvino {version_of('openvino')}, {precision}"
    return Reference(name=name, bank=bank, look=look, graph=compiled)


def torch_reference(
    bank: NDArray[np.float32],
    look: Look,
    *,
    kind: KindName,
    backbone: str,
    layers: Sequence[str],
    contrast: Contrast,
    precision: GraphPrecision,
    weights: Path | None,
    weights_sha256: str,
) -> Reference:
    """Return references computed by the module that was exported, in torch.

    Args:
        bank: (k, d + 1) float32, as the graph takes it.
        look: how the product looks at a frame.
        kind: what was learned; one whose graph is not its own.
        backbone: timm's name.
        layers: whose features make a patch.
        contrast: what the backbone sees.
        precision: what the graph is computed in.
        weights: their file or folder; None for those that come with a package.
        weights_sha256: what they must be.

    Raises:
        TrainingUnavailable: torch or anomalib are not installed.
        WeightsMissing, WeightsRefused: the weights are not there, or other ones.
    """
    found = find_weights(backbone, weights)
    if found.sha256 != weights_sha256:
        raise WeightsRefused(
            f"{found.path}: not the weights that the product was learned with (SHA-256 {found.sha256[:12]},"
            f" the manifest says {weights_sha256[:12]}); name those with --weights"
        )
    try:
        from partgate_engines.anomaly._export import build_graph

        # Within as well: not the import but the call imports torch, anomalib and timm.
        module = build_graph(
            backbone=backbone,
            layers=layers,
            size_px=look.size_px,
            scored_share=SCORED_SHARE,
            weights=found,
            contrast=contrast,
            kind=kind,
            precision=precision,
        )
    except ModuleNotFoundError as error:
        raise TrainingUnavailable(
            f"references by torch need {error.name}; install partgate[train]"
        ) from error
    return module_reference(module, bank, look)


def module_reference(module: Any, bank: NDArray[np.float32], look: Look) -> Reference:
    """Return references computed by a graph in torch."""
    return Reference(name=f"torch {version_of('torch')}", bank=bank, look=look, graph=module)


def recomputed(bundle: Bundle, weights: Path | None) -> tuple[tuple[GoldenFrame, ...], str]:
    """Return a bundle's golden frames with references computed by torch now, and torch's name.

    Raises:
        TrainingUnavailable: also where the network was trained, and torch's form of it is not kept.
        WeightsMissing, WeightsRefused: as for `torch_reference`.
    """
    manifest = bundle.manifest
    if manifest.training is not None:
        raise TrainingUnavailable(
            f"{manifest.kind} was trained for this product: its graph is all that is kept of the network, so"
            f" torch cannot say anew what it says. The bundle's own references are by"
            f" {manifest.golden.references}; verify without --torch"
        )
    reference = torch_reference(
        bundle.bank().augmented(),
        Look(size_px=manifest.size_px, grid=manifest.grid, tiling=manifest.tiling, regions=manifest.regions),
        kind=manifest.kind,
        backbone=manifest.backbone,
        layers=manifest.layers,
        contrast=manifest.contrast,
        precision=manifest.precision,
        weights=weights,
        weights_sha256=manifest.weights_sha256,
    )
    return tuple(_again(frame, reference) for frame in bundle.golden()), reference.name


def _again(frame: GoldenFrame, reference: Reference) -> GoldenFrame:
    score, anomaly_map = reference.judge(frame.pixels)
    return GoldenFrame(name=frame.name, pixels=frame.pixels, score=score, anomaly_map=anomaly_map)


def _by_torch(
    module: Any, frame: NDArray[np.uint8], placement: Placement, bank: NDArray[np.float32]
) -> Answer:
    import torch

    channels = frame.shape[2]
    colours = np.eye(3, dtype=np.float32) if channels == 3 else np.ones((3, 1), np.float32)  # noqa: PLR2004
    tiles, scores, maps = placement.cut(frame), [], []
    for first in range(0, len(tiles), _TILES_AT_ONCE):
        part = slice(first, first + _TILES_AT_ONCE)
        arrays = (tiles[part], placement.rows, placement.columns, colours, bank, placement.mask[part])
        with torch.inference_mode():
            # Copies: torch warns of arrays that it must not write to.
            score, anomaly_map, _ = module(*(torch.from_numpy(np.array(array)) for array in arrays))
        scores.append(float(score.max()))
        maps.append(np.array(anomaly_map.numpy(), dtype=np.float32))
    return max(scores), placement.stitch(np.concatenate(maps))
