"""Choosing the memory bank, against anomalib's own coreset selection on the same patches.

100 images make 102,400 patches; both choose 2,048 of them. What counts beside the time is how well
the bank covers the patches: the largest distance from any patch to its nearest row.
"""

import math
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._result import Result, machine
from partgate_cameras import draw_part
from partgate_engines.anomaly import GoodImage, LearnSettings
from partgate_station import VirtualCamera

IMAGES = 100
ROWS = 2048
LINE = VirtualCamera(kind="virtual", camera_id="top", seed=2, size_px=256, defect_rate=0)


def patches() -> NDArray[np.float32]:
    """Return the patch features of 100 good parts: (102400, d) float32."""
    from partgate_engines._openvino import OpenVinoGraph
    from partgate_engines.anomaly._graphs import graph_for
    from partgate_engines.anomaly._reading import Reader
    from partgate_engines.anomaly._weights import find_weights

    settings = LearnSettings()
    good = [GoodImage(pixels=draw_part(LINE, n).image, origin=str(n)) for n in range(IMAGES)]
    with tempfile.TemporaryDirectory() as folder:
        path = graph_for(settings, find_weights(settings.backbone, None), Path(folder))
        graph = OpenVinoGraph(path, with_features=True)
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


def run(*, rounds: int) -> list[Result]:
    """Choose once each: anomalib's takes minutes; `rounds` is for what is quick."""
    import torch
    from anomalib.models.components.sampling.k_center_greedy import KCenterGreedy

    from partgate_engines.anomaly._coreset import k_centre

    del rounds
    rows = patches()
    started_s = time.perf_counter()
    ours = k_centre(rows, count=ROWS, seed=0).chosen
    ours_s = time.perf_counter() - started_s
    started_s = time.perf_counter()
    sampler = KCenterGreedy(embedding=torch.from_numpy(rows), sampling_ratio=ROWS / len(rows))
    theirs = sampler.sample_coreset().numpy()
    other_s = time.perf_counter() - started_s
    ours_cover, other_cover = coverage(rows, rows[ours]), coverage(rows, theirs)
    return [
        Result(
            name=f"choosing {ROWS} of {len(rows)} patches, against anomalib's",
            ours=round(ours_s, 2),
            other=round(other_s, 2),
            ratio=round(other_s / ours_s, 1),
            unit="s",
            n=1,
            machine=machine(),
        ),
        Result(
            name="largest distance from a patch to the bank chosen",
            ours=round(ours_cover, 4),
            other=round(other_cover, 4),
            ratio=round(other_cover / ours_cover, 3),
            unit="feature distance",
            n=len(rows),
            machine=machine(),
        ),
    ]
