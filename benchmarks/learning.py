"""Choosing the memory bank, against anomalib's own coreset selection on the same patches.

100 images make 102,400 patches; both choose 2,048 of them (a quick run takes 20 images). What counts
beside the time is how well the bank covers the patches: the largest distance from any patch to its
nearest row.
"""

import math
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._bundles import learned_product
from benchmarks._result import Bound, Result, result
from partgate_cameras import draw_part
from partgate_engines.anomaly import GoodImage
from partgate_station import VirtualCamera

IMAGES, QUICK_IMAGES = 100, 20
IN_EARNEST = 30  # rounds
BOUND = Bound(value=10)
ROWS = 2048
LINE = VirtualCamera(kind="virtual", camera_id="top", seed=2, size_px=256, defect_rate=0)


def patches(images: int, folder: Path) -> NDArray[np.float32]:
    """Return the patch features of good parts: (images * 1024, d) float32."""
    from partgate_engines._openvino import OpenVinoGraph
    from partgate_engines.anomaly._reading import Reader

    good = [GoodImage(pixels=draw_part(LINE, n).image, origin=str(n)) for n in range(images)]
    graph = OpenVinoGraph(learned_product(folder).graph, with_features=True)
    reader = Reader(graph=graph, regions=(), progress=lambda step, done, total: None)
    return reader.patches(good, first=0, seed=0).rows


def coverage(rows: NDArray[np.float32], bank: NDArray[np.float32]) -> float:
    """Return the largest distance from any patch to its nearest row of the bank."""
    squared = (bank * bank).sum(axis=1)
    worst = 0.0
    for block in np.array_split(rows, 200):
        near = ((block * block).sum(axis=1)[:, None] - 2 * block @ bank.T + squared).min(axis=1)
        worst = max(worst, float(near.max()))
    return math.sqrt(worst)


def run(*, rounds: int, folder: Path) -> list[Result]:
    """Choose once each: anomalib's takes minutes; few rounds ask for fewer images."""
    import torch
    from anomalib.models.components.sampling.k_center_greedy import KCenterGreedy

    from partgate_engines.anomaly._coreset import k_centre

    rows = patches(IMAGES if rounds >= IN_EARNEST else QUICK_IMAGES, folder)
    started_s = time.perf_counter()
    ours = k_centre(rows, count=ROWS, seed=0).chosen
    ours_s = time.perf_counter() - started_s
    started_s = time.perf_counter()
    sampler = KCenterGreedy(embedding=torch.from_numpy(rows), sampling_ratio=ROWS / len(rows))
    theirs = sampler.sample_coreset().numpy()
    other_s = time.perf_counter() - started_s
    return [
        result(
            f"choosing {ROWS:,} of {len(rows):,} patches, against anomalib's",
            ours=ours_s,
            other=other_s,
            unit="s",
            n=1,
            bound=BOUND if rounds >= IN_EARNEST else None,
            note="the same patches, in one process, one after the other",
        ),
        result(
            "largest distance from a patch to the bank chosen",
            ours=coverage(rows, rows[ours]),
            other=coverage(rows, theirs),
            unit="feature distance",
            n=len(rows),
            bound=Bound(value=0.95),
            note="what a bank that was chosen faster must not lose",
        ),
    ]
