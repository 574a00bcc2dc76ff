"""One image through the graph, against anomalib's own PatchCore in torch.

Same weights, same memory bank, same images, 256 px; both get the decoded uint8 frame and resize it
themselves. Parity: the largest patch distance of every image, which anomalib's model calls its score
with one neighbour.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._arms import Answers, Arm, Comparison, both, compare
from benchmarks._result import Result, machine
from partgate_cameras import draw_part
from partgate_engines import Signer
from partgate_station import VirtualCamera

IMAGES = 20
LEARNED_FROM = 40
LINE = VirtualCamera(kind="virtual", camera_id="top", seed=1, size_px=320)


def _frames() -> list[NDArray[np.uint8]]:
    return [draw_part(LINE, number).image for number in range(LEARNED_FROM, LEARNED_FROM + IMAGES)]


def learned_bundle(folder: Path, *, bank_rows: int, signer: Signer | None = None) -> Path:
    """Learn the bricks and return the bundle's folder."""
    from partgate_engines.anomaly import GoodImage, LearnSettings, learn

    line = LINE.model_copy(update={"defect_rate": 0.0})
    good = [GoodImage(pixels=draw_part(line, n).image, origin=str(n)) for n in range(LEARNED_FROM)]
    learned = learn(good, settings=LearnSettings(bank_rows=bank_rows), graphs=folder / "graphs")
    return learned.save(folder, product="brick", signer=signer, good=good).folder


def our_arm(bundle: Path) -> Callable[[], Answers]:
    """Judge with the bundle's graph, as a station does."""
    from partgate_engines import Bundle, open_runtime

    runtime, frames = open_runtime(Bundle.open(bundle, trusted=None)), _frames()
    return lambda: [float(runtime.judge(frame).anomaly_map.max()) for frame in frames]


def anomalib_arm(bundle: Path) -> Callable[[], Answers]:
    """Judge with anomalib's torch model: resize, normalise, forward."""
    import torch
    from torch.nn.functional import interpolate

    from partgate_engines import Bundle
    from partgate_engines.anomaly._backbone import build_model, normalisation
    from partgate_engines.anomaly._weights import find_weights

    opened = Bundle.open(bundle, trusted=None)
    manifest = opened.manifest
    size_px = manifest.size_px
    model = build_model(
        backbone=manifest.backbone,
        layers=manifest.layers,
        size_px=size_px,
        weights=find_weights(manifest.backbone, None),
    )
    model.num_neighbors = 1
    model.memory_bank = torch.from_numpy(np.array(opened.bank().rows))
    mean, deviation = (torch.tensor(v).reshape(1, 3, 1, 1) for v in normalisation(manifest.backbone))
    frames = _frames()

    @torch.inference_mode()
    def score(frame: NDArray[np.uint8]) -> float:
        pixels = torch.from_numpy(np.array(frame)).float().expand(1, 3, *frame.shape) / 255
        small = interpolate(pixels, (size_px, size_px), mode="bilinear", antialias=True)
        result: Any = model((small - mean) / deviation)
        return float(result.pred_score)

    return lambda: [score(frame) for frame in frames]


def same_scores(ours: Answers, other: Answers) -> None:
    """Refuse to time graphs that do not say the same."""
    np.testing.assert_allclose(ours, other, rtol=1e-3)


def run(*, rounds: int) -> list[Result]:
    """Compare at a bank of 2,048 rows."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = learned_bundle(Path(folder), bank_rows=2048)
        with both(Arm(our_arm, bundle=bundle), Arm(anomalib_arm, bundle=bundle)) as (ours, other):
            found: Comparison = compare(ours, other, rounds=rounds, same=same_scores)
    return [
        Result(
            name="one image through the graph, bank of 2,048, against anomalib's torch model",
            ours=round(found.ours_ms, 3),
            other=round(found.other_ms, 3),
            ratio=round(found.ratio, 2),
            unit="ms",
            n=found.rounds * found.answers,
            machine=machine(),
        )
    ]
