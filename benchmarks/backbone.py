"""The whole graph against the bare backbone: what everything that is not the backbone costs.

Ours: a decoded frame's score, with resize and head: what a verdict waits for. The other: the feature
extractor alone, exported and compiled in the same way and the same precision, its normalised float input
bound once. Before anything is timed, the exported backbone says what torch's says.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _ours
from benchmarks._arms import Work, arm, compare, finite
from benchmarks._bundles import LITE0, RESNET18, Backbone, learned_product, saved, weights_of
from benchmarks._frames import parts
from benchmarks._result import Bound, Result, compared
from partgate_engines import Bundle

FRAMES = 20
FIRST = 40
BOUND = Bound(value=0.5)  # at most twice the bare backbone's time
_OPSET = 17


def our_arm(bundle: Path) -> Work:
    """Score parts of the line."""
    return _ours.scoring(bundle, parts(FRAMES, first=FIRST))


def bare_arm(bundle: Path, weights: Path | None, precision: str) -> Work:
    """Run the feature extractor alone, on an input that is bound once."""
    import openvino  # type: ignore[import-untyped]  # the wheel ships no annotations
    import torch

    manifest = Bundle.open(bundle, trusted=None).manifest
    extractor = _extractor(manifest, weights)
    pixels = np.random.default_rng(0).normal(0, 1, (1, 3, manifest.size_px, manifest.size_px))
    pixels = pixels.astype(np.float32)
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "backbone.onnx"
        torch.onnx.export(extractor, (torch.from_numpy(pixels),), path, opset_version=_OPSET, dynamo=False)
        config = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        request = openvino.Core().compile_model(path, "CPU", config).create_infer_request()
    request.set_input_tensor(openvino.Tensor(pixels, shared_memory=True))
    request.infer()
    with torch.inference_mode():
        expected = [layer.numpy() for layer in extractor(torch.from_numpy(pixels))]
    found = [np.array(tensor.data) for tensor in request.output_tensors]
    _hold_same(found, expected, precision)

    def once() -> float:
        request.infer()
        return float(found[0].flat[0])

    return Work(run=lambda: [once() for _ in range(FRAMES)], facts={"precision": precision})


def _extractor(manifest: Any, weights: Path | None) -> Any:
    import torch

    from partgate_engines.anomaly._backbone import build_model
    from partgate_engines.anomaly._weights import find_weights

    model = build_model(
        backbone=manifest.backbone,
        layers=manifest.layers,
        size_px=manifest.size_px,
        weights=find_weights(manifest.backbone, weights),
    )

    class Layers(torch.nn.Module):
        """The extractor's layers as a tuple: the exporter names outputs by position."""

        def __init__(self) -> None:
            super().__init__()
            self.extractor = model.feature_extractor

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(self.extractor(pixels).values())

    return Layers().eval()


def _hold_same(found: list[Any], expected: list[Any], precision: str) -> None:
    tolerance = _ours.tolerance(precision)
    for ours, theirs in zip(found, expected, strict=True):
        off = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
        if not off <= tolerance:
            raise AssertionError(f"the bare backbone is wrong: off by {off:.1e} of its largest value")


def run(*, rounds: int, folder: Path) -> list[Result]:
    """Compare both backbones."""
    return [_compared(backbone, rounds, folder) for backbone in (LITE0, RESNET18)]


def _compared(backbone: Backbone, rounds: int, folder: Path) -> Result:
    bundle = saved(learned_product(folder, backbone=backbone), folder, backbone=backbone).folder
    weights = weights_of(backbone, folder)
    with arm(our_arm, bundle=bundle) as ours:
        precision = ours.facts["precision"]
        with arm(bare_arm, bundle=bundle, weights=weights, precision=precision) as bare:
            found = compare(ours, bare, rounds=rounds, same=finite)
    return compared(
        f"whole graph, bank of 2,048, against the bare backbone, {backbone.title}",
        found,
        bound=BOUND,
        note=f"both {precision}; frames of 320 px to 256 px; the ratio is the backbone's share of the time",
    )
