"""From torch to ONNX, and the proof that both say the same."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from partgate_engines._errors import GraphRefused
from partgate_engines._manifest import Contrast
from partgate_engines._openvino_device import evaluate, library
from partgate_engines._resize import resize_matrix
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
_TOLERANCE = 1e-3  # of the largest value; OpenVINO in f32 stays below 5e-6

# Exported at the first, checked at the others: an exporter that bakes a size in is found out.
_EXPORT_AT = (2, 96, 120, 3)
_CHECK_AT = ((1, 150, 70, 1), (3, 64, 300, 3))

Arrays = tuple[NDArray[Any], ...]


def export(
    *,
    backbone: str,
    layers: Sequence[str],
    size_px: int,
    scored_share: float,
    weights: Weights,
    contrast: Contrast = "global",
) -> bytes:
    """Export the graph of a backbone.

    Args:
        backbone: timm's name.
        layers: whose features make a patch.
        size_px: the backbone's input.
        scored_share: of the patches, the worst, over which the score is the mean.
        weights: of the backbone.
        contrast: whether the backbone sees grey levels or local contrast.

    Returns:
        An ONNX model with its weights inside. The same input gives the same bytes.

    Raises:
        WeightsRefused: the weights, the backbone and the layers do not go together.
        GraphRefused: the ONNX model does not say what torch says at other sizes.
    """
    with _calm():
        import torch

        from partgate_engines.anomaly._backbone import build_model

        model = build_model(backbone=backbone, layers=layers, size_px=size_px, weights=weights)
        grid, features = _grid(model, size_px)
        module = _graph_of(model, size_px=size_px, grid=grid, scored_share=scored_share, contrast=contrast)
        content = _to_onnx(module, _example(_EXPORT_AT, size_px, grid, features))
        for shape in _CHECK_AT:
            example = _example(shape, size_px, grid, features)
            with torch.inference_mode():
                expected = module(*(torch.from_numpy(array) for array in example))
            _compare(content, example, tuple(tensor.numpy() for tensor in expected))
    return content


def build_graph(
    *,
    backbone: str,
    layers: Sequence[str],
    size_px: int,
    scored_share: float,
    weights: Weights,
    contrast: Contrast = "global",
) -> Any:
    """Return the module that `export` exports: what the graph means, in torch.

    Raises:
        WeightsRefused: the weights, the backbone and the layers do not go together.
    """
    with _calm():
        from partgate_engines.anomaly._backbone import build_model

        model = build_model(backbone=backbone, layers=layers, size_px=size_px, weights=weights)
        grid, _ = _grid(model, size_px)
        return _graph_of(model, size_px=size_px, grid=grid, scored_share=scored_share, contrast=contrast)


def _graph_of(
    model: Any, *, size_px: int, grid: tuple[int, int], scored_share: float, contrast: Contrast
) -> Any:
    from partgate_engines.anomaly._patch_graph import PatchGraph

    worst = min(max(round(scored_share * grid[0] * grid[1]), 1), _MOST_SCORED)
    return PatchGraph(model, size_px=size_px, worst=worst, contrast=contrast).eval()


@contextmanager
def _calm() -> Iterator[None]:
    # torch warns that its older exporter will go one day, and of every size it traces; the newer one
    # fixes the batch of PatchCore at the example's (docs/decisions/0003), and what tracing bakes in is
    # found by `_compare`.
    library()  # first, so that anomalib's own import of OpenVINO tells nobody either
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _grid(model: Any, size_px: int) -> tuple[tuple[int, int], int]:
    """Return the grid and the number of features of a patch."""
    import torch

    with torch.inference_mode():
        layers = model.feature_extractor(torch.zeros(1, 3, size_px, size_px))
        _, features, gh, gw = model.generate_embedding(layers).shape
    return (gh, gw), features


def _example(shape: tuple[int, int, int, int], size_px: int, grid: tuple[int, int], features: int) -> Arrays:
    n, height_px, width_px, channels = shape
    random = np.random.default_rng(n)
    bank = random.standard_normal((5 + n, features + 1)).astype(np.float32)
    bank[:, -1] = (bank[:, :-1] ** 2).sum(axis=1) / 4
    mask = np.ones((n, *grid), dtype=np.float32)
    for frame in range(n):
        mask[frame, 0, : frame + 1] = 0
    return (
        random.integers(0, 256, size=(n, height_px, width_px, channels), dtype=np.uint8),
        resize_matrix(height_px, size_px),
        np.ascontiguousarray(resize_matrix(width_px, size_px).T),
        np.full((3, channels), 1 / channels, dtype=np.float32),
        bank,
        mask,
    )


def _to_onnx(module: Any, example: Arrays) -> bytes:
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
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _compare(content: bytes, example: Arrays, expected: Arrays) -> None:
    with TemporaryDirectory(prefix="partgate-graph-") as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(content)
        found = evaluate(path, dict(zip(_INPUTS, example, strict=True)), _OUTPUTS)
    for name, ours, theirs in zip(_OUTPUTS, found, expected, strict=True):
        off = _difference(ours, theirs)
        if not off <= _TOLERANCE:
            raise GraphRefused(
                f"the exported graph is wrong: {name} for frames of {example[0].shape} differs from torch by"
                f" {off:.1e} of its largest value (at most {_TOLERANCE:.0e} is allowed)"
            )


def _difference(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-12))
