"""The peer: anomalib's PatchCore with a bundle's weights and memory bank, in torch and by OpenVINO.

By OpenVINO in three ways, as the project's performance reference asks for the first two:

    default  what its documentation shows: `Patchcore()`'s own number of neighbours, which is nine, and its
             post-processing; the whole frame is given to it
    best     the same model as quick as it can be had: no post-processing, everything fixed, told to hurry,
             the frame shrunk before
    one      that, and the score of one neighbour: the largest patch distance, which is what ours can be
             compared with. Another model, which takes a quarter to a third less: with nine, it looks for the
             nearest row of every patch in all distances, though one patch's is asked for

In torch with one neighbour.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks._frames import Pixels
from partgate_engines import Bundle

Way = Literal["default", "best", "one"]

# What its documentation does not say, but who wants speed sets.
BEST_CONFIG = {"PERFORMANCE_HINT": "LATENCY"}
_TRIALS = 9


def torch_model(bundle: Bundle, weights: Path | None) -> Any:
    """Return anomalib's torch model, with the bundle's bank."""
    import torch

    from partgate_engines.anomaly._backbone import build_model
    from partgate_engines.anomaly._weights import find_weights

    manifest = bundle.manifest
    model = build_model(
        backbone=manifest.backbone,
        layers=manifest.layers,
        size_px=manifest.size_px,
        weights=find_weights(manifest.backbone, weights),
    )
    model.num_neighbors = 1
    model.memory_bank = torch.from_numpy(np.array(bundle.bank().rows))
    return model


def torch_scorer(bundle: Bundle, weights: Path | None) -> Callable[[Pixels], float]:
    """Return what scores a grey frame with the torch model: resize, normalise, forward."""
    import torch
    from torch.nn.functional import interpolate

    from partgate_engines.anomaly._backbone import normalisation

    model, size_px = torch_model(bundle, weights), bundle.manifest.size_px
    mean, deviation = (torch.tensor(v).reshape(1, 3, 1, 1) for v in normalisation(bundle.manifest.backbone))

    @torch.inference_mode()
    def score(frame: Pixels) -> float:
        pixels = torch.from_numpy(np.array(frame)).float().expand(1, 3, *frame.shape) / 255
        small = interpolate(pixels, (size_px, size_px), mode="bilinear", antialias=True)
        return float(model((small - mean) / deviation).pred_score)

    return score


def exported(bundle: Bundle, weights: Path | None, folder: Path, way: Way) -> Path:
    """Export by anomalib's own `to_openvino` and return the model's file.

    `default`: width and height are free, and the exported graph resizes, without antialiasing. anomalib 2.7
    fixes the batch at 2 and its inferencer then refuses single images; the batch alone is given as 1, or
    there would be nothing to time. The others: everything fixed, 1 x 3 x size x size. All in opset 18, which
    is what torch writes when anomalib asks for 14.
    """
    from anomalib.models import Patchcore
    from torch.export import Dim

    manifest = bundle.manifest
    less: dict[str, Any] = {} if way == "default" else {"post_processor": False}
    if way == "one":
        less["num_neighbors"] = 1
    whole = Patchcore(
        backbone=manifest.backbone,
        layers=list(manifest.layers),
        pre_trained=False,
        pre_processor=Patchcore.configure_pre_processor((manifest.size_px, manifest.size_px)),
        evaluator=False,
        visualizer=False,
        **less,
    )
    neighbours = whole.model.num_neighbors
    whole.model = torch_model(bundle, weights)
    whole.model.num_neighbors = neighbours
    free = ({2: Dim("height"), 3: Dim("width")},) if way == "default" else None
    size = None if way == "default" else (manifest.size_px, manifest.size_px)
    with _explained():
        path = whole.eval().to_openvino(
            folder / way,
            input_size=size,
            onnx_kwargs={"dynamic_shapes": free, "verbose": False, "opset_version": 18},
        )
    return Path(path)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"anomalib cannot export without {error.name}: install onnxscript, or leave the benchmark"
            " 'large-frames' out"
        ) from error


def inferencer(model: Path, precision: str | None = None, **config: str) -> tuple[Any, str]:
    """Return anomalib's OpenVINO inferencer, and the precision it counts with.

    Args:
        model: what `exported` wrote.
        precision: None lets OpenVINO choose, as everyone does who says nothing.
        config: what else OpenVINO is told.
    """
    from anomalib.deploy import OpenVINOInferencer

    os.chdir(model.parent)  # it makes a folder for its cache where it is started
    told = dict(config) if precision is None else {**config, "INFERENCE_PRECISION_HINT": precision}
    opened = OpenVINOInferencer(model, device="CPU", config=told or None)
    return opened, str(opened.model.get_property("INFERENCE_PRECISION_HINT").get_type_name())


def fastest(model: Path, frame: Pixels) -> tuple[Any, str]:
    """Return the inferencer in whichever precision is faster here for such a frame, told to hurry.

    OpenVINO's own choice is bf16 wherever the processor has it; without AMX that can be the slower one.
    """
    ready = [inferencer(model, precision, **BEST_CONFIG) for precision in ("f32", "bf16")]
    took: list[list[float]] = [[] for _ in ready]
    for _ in range(_TRIALS):
        for times, (one, _) in zip(took, ready, strict=True):
            started_s = time.perf_counter()
            one.predict(frame)
            times.append(time.perf_counter() - started_s)
    return ready[int(np.argmin([np.median(times[1:]) for times in took]))]


def scored(opened: Any, frame: Pixels) -> float:
    """Return the score the inferencer gives a frame of red, green and blue."""
    return float(np.asarray(opened.predict(frame).pred_score).ravel()[0])
