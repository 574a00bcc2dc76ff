"""From torch to ONNX, and the proof that both say the same."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from partgate_engines._errors import GraphRefused
from partgate_engines._machine import adds_bytes_exactly, processor_name
from partgate_engines._manifest import Contrast, GraphPrecision, KindName
from partgate_engines._openvino_device import evaluate, library
from partgate_engines._resize import resize_matrix
from partgate_engines._tiles import Grid
from partgate_engines.anomaly._graphs import FEATURE_STEP
from partgate_engines.anomaly._weights import Weights

_INPUTS = ("frames", "rows", "columns", "channels", "bank", "mask")
_OUTPUTS = ("score", "anomaly_map", "features")
_FREE_AXES = {
    "frames": {0: "n", 1: "h", 2: "w", 3: "c"},
    "rows": {1: "h"},
    "columns": {0: "w"},
    "channels": {1: "c"},
    "bank": {0: "k"},
    "mask": {0: "n"},
    "score": {0: "n"},
    "anomaly_map": {0: "n"},
    "features": {0: "n"},
}
_OPSET = 17
_MOST_SCORED = 3840  # TensorRT's TopK takes no more
REDUCED = 32
"""Features of a patch where every place has a covariance of its own: 4 MB at 32 x 32 places."""

_TOLERANCE = 1e-3  # of the largest value; OpenVINO in f32 stays below 5e-6

# Of root mean squares: where a value lies between two steps rounding decides, and what follows carries it on.
_STEPS_TOLERANCE = 5e-2

# Exported at the first, checked at the others: an exporter that bakes a size in is found out.
_EXPORT_AT = (2, 96, 120, 3)
_CHECK_AT = ((1, 150, 70, 1), (3, 64, 300, 3))

Arrays = tuple[NDArray[Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What is fixed in a graph."""

    size_px: int
    grid: Grid
    features: int
    bank_rows: int | None = None
    """None: any number."""


def export(
    *,
    backbone: str,
    layers: Sequence[str],
    size_px: int,
    scored_share: float,
    weights: Weights,
    contrast: Contrast = "global",
    kind: KindName = "patchcore",
    precision: GraphPrecision = "f32",
) -> bytes:
    """Export the graph of a backbone.

    Args:
        backbone: timm's name.
        layers: whose features make a patch.
        size_px: the backbone's input.
        scored_share: of the patches, the worst, over which the score is the mean.
        weights: of the backbone.
        contrast: whether the backbone sees grey levels or local contrast.
        kind: what is made of the features.
        precision: what convolutions compute in.

    Returns:
        An ONNX model with its weights inside. The same input gives the same bytes.

    Raises:
        WeightsRefused: the weights, the backbone and the layers do not go together.
        GraphRefused: the ONNX model does not say what torch says at other sizes.
    """
    with calm():
        module, sizes = _built(
            backbone=backbone,
            layers=layers,
            size_px=size_px,
            scored_share=scored_share,
            weights=weights,
            contrast=contrast,
            kind=kind,
            precision=precision,
        )
    return exported(module, sizes)


def exported(module: Any, sizes: Sizes) -> bytes:
    """Export a graph in torch, and prove that it says the same at other sizes.

    Raises:
        GraphRefused: it does not.
    """
    with calm():
        import torch

        step: float | None = getattr(module, "feature_step", None)
        content = _to_onnx(module, _example_of(_EXPORT_AT, sizes), step)
        for shape in _CHECK_AT:
            example = _example_of(shape, sizes)
            with torch.inference_mode():
                expected = module(*(torch.from_numpy(array) for array in example))
            _compare(
                content, example, tuple(tensor.numpy() for tensor in expected), in_steps=step is not None
            )
    return content


def build_graph(
    *,
    backbone: str,
    layers: Sequence[str],
    size_px: int,
    scored_share: float,
    weights: Weights,
    contrast: Contrast = "global",
    kind: KindName = "patchcore",
    precision: GraphPrecision = "f32",
) -> Any:
    """Return the module that `export` exports: what the graph means, in torch.

    Raises:
        WeightsRefused: the weights, the backbone and the layers do not go together.
    """
    with calm():
        module, _ = _built(
            backbone=backbone,
            layers=layers,
            size_px=size_px,
            scored_share=scored_share,
            weights=weights,
            contrast=contrast,
            kind=kind,
            precision=precision,
        )
    return module


def scored_patches(scored_share: float, grid: Grid) -> int:
    """Return over how many patches the score is the mean."""
    return min(max(round(scored_share * grid[0] * grid[1]), 1), _MOST_SCORED)


def _built(
    *,
    backbone: str,
    layers: Sequence[str],
    size_px: int,
    scored_share: float,
    weights: Weights,
    contrast: Contrast,
    kind: KindName,
    precision: GraphPrecision,
) -> tuple[Any, Sizes]:
    from partgate_engines.anomaly._backbone import build_model

    model = build_model(backbone=backbone, layers=layers, size_px=size_px, weights=weights)
    grid, features = _grid(model, size_px)
    worst = scored_patches(scored_share, grid)
    if kind == "patchcore":
        module = _patch_graph(model, precision, size_px=size_px, worst=worst, contrast=contrast)
        return module.eval(), Sizes(size_px=size_px, grid=grid, features=features)
    return _affine(
        model, size_px=size_px, grid=grid, features=features, worst=worst, contrast=contrast, kind=kind
    )


def _patch_graph(
    model: Any, precision: GraphPrecision, *, size_px: int, worst: int, contrast: Contrast
) -> Any:
    """Return the graph of a memory bank."""
    if precision == "int8":
        from partgate_engines.anomaly._quantised_graph import QuantisedPatchGraph

        return QuantisedPatchGraph(model, size_px=size_px, worst=worst, contrast=contrast)
    from partgate_engines.anomaly._patch_graph import PatchGraph

    return PatchGraph(model, size_px=size_px, worst=worst, contrast=contrast)


def _affine(
    model: Any, *, size_px: int, grid: Grid, features: int, worst: int, contrast: Contrast, kind: KindName
) -> tuple[Any, Sizes]:
    """Return the graph of a kind that learns affine functions of frozen features."""
    from partgate_engines.anomaly._affine_graph import AffineGraph, PatchFeatures
    from partgate_engines.anomaly._backbone import normalisation

    by_place = kind == "padim"
    left = min(REDUCED, features) if by_place else features
    module = AffineGraph(
        PatchFeatures(model, contrast=contrast, reduced=left if by_place else None),
        head="by place" if by_place else "everywhere",
        size_px=size_px,
        worst=worst,
        contrast=contrast,
        normal=normalisation(model.backbone),
    ).eval()
    rows = grid[0] * grid[1] * left if by_place else None
    return module, Sizes(size_px=size_px, grid=grid, features=left, bank_rows=rows)


@contextmanager
def calm() -> Iterator[None]:
    """Let the training libraries be imported, and graphs be traced, without their warnings."""
    # torch warns that its older exporter will go one day, and of every size it traces; the newer one
    # fixes the batch of PatchCore at the example's (docs/decisions/0003), and what tracing bakes in is
    # found by `_compare`.
    library()  # first, so that anomalib's own import of OpenVINO tells nobody either
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _grid(model: Any, size_px: int) -> tuple[Grid, int]:
    """Return the grid and the number of features of a patch."""
    import torch

    with torch.inference_mode():
        layers = model.feature_extractor(torch.zeros(1, 3, size_px, size_px))
        _, features, gh, gw = model.generate_embedding(layers).shape
    return (gh, gw), features


def _example_of(shape: tuple[int, int, int, int], sizes: Sizes) -> Arrays:
    return _example(shape, sizes.size_px, sizes.grid, sizes.features, bank_rows=sizes.bank_rows)


def _example(
    shape: tuple[int, int, int, int],
    size_px: int,
    grid: Grid,
    features: int,
    *,
    bank_rows: int | None = None,
) -> Arrays:
    n, height_px, width_px, channels = shape
    random = np.random.default_rng(n)
    bank = random.standard_normal((bank_rows or 5 + n, features + 1)).astype(np.float32)
    bank[:, -1] = (bank[:, :-1] ** 2).sum(axis=1) / 4
    mask = np.ones((n, *grid), dtype=np.float32)
    for frame in range(n):
        mask[frame, 0, : frame + 1] = 0
        mask[frame, 1] = 0.5 + frame
    return (
        random.integers(0, 256, size=(n, height_px, width_px, channels), dtype=np.uint8),
        resize_matrix(height_px, size_px),
        np.ascontiguousarray(resize_matrix(width_px, size_px).T),
        np.full((3, channels), 1 / channels, dtype=np.float32),
        bank,
        mask,
    )


def _to_onnx(module: Any, example: Arrays, step: float | None) -> bytes:
    import torch

    with TemporaryDirectory(prefix="partgate-export-") as folder:
        path = Path(folder) / "graph.onnx"
        torch.onnx.export(
            module,
            tuple(torch.from_numpy(array) for array in example),
            path,
            input_names=list(_INPUTS),
            output_names=list(_OUTPUTS),
            dynamic_axes=_FREE_AXES,
            opset_version=_OPSET,
            dynamo=False,
        )
        model = onnx.load(path)  # external data, if there is any, comes inside
    for node in model.graph.node:
        node.doc_string = ""  # the exporter writes paths of this machine into it
    if step is not None:
        onnx.helper.set_model_props(model, {FEATURE_STEP: repr(step)})
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _compare(content: bytes, example: Arrays, expected: Arrays, *, in_steps: bool = False) -> None:
    with TemporaryDirectory(prefix="partgate-graph-") as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(content)
        found = evaluate(path, dict(zip(_INPUTS, example, strict=True)), _OUTPUTS)
    for name, ours, theirs in zip(_OUTPUTS, found, expected, strict=True):
        off = _difference(ours, theirs, in_steps=in_steps)
        allowed, scale = (_STEPS_TOLERANCE, "values") if in_steps else (_TOLERANCE, "largest value")
        if not off <= allowed:
            raise GraphRefused(
                f"the exported graph is wrong: {name} for frames of {example[0].shape} differs from torch by"
                f" {off:.1e} of its {scale} (at most {allowed:.0e} is allowed){_advice(in_steps=in_steps)}"
            )


def _advice(*, in_steps: bool) -> str:
    if not in_steps or adds_bytes_exactly():
        return ""
    return (
        f"; this processor ({processor_name()}) has no VNNI, without which sums of bytes overflow:"
        " learn in float32 (leave out --precision int8), or on the station's processor if that has it"
    )


def _difference(ours: NDArray[Any], theirs: NDArray[Any], *, in_steps: bool) -> float:
    """Return the largest difference as a share of the largest value, or of both the root mean square."""
    if ours.shape != theirs.shape:
        return float("inf")
    difference = np.abs(ours - theirs)
    if in_steps:
        return float(np.sqrt(np.square(difference).mean() / max(np.square(theirs).mean(), 1e-24)))
    return float(difference.max() / max(np.abs(theirs).max(), 1e-12))
