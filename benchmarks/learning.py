"""Choosing the memory bank, against anomalib's own selection; an update, against learning again.

100 images make 102,400 patches; both choose 2,048 of them (a quick run takes 20 images). What counts
beside the time is how well the bank covers the patches: the largest distance from any patch to its
nearest row.

An update adds 20 images to a product that was learned from 100 (a quick run 5 to 20): from the bundle and the
images to a signed bundle with new thresholds, ready to judge. Beside it stands learning again from all of
them, which is what has to be done where nothing can be added; the graph is there for both.
"""

import math
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._apart import with_memory
from benchmarks._bundles import learned_product
from benchmarks._result import Bound, Result, result
from partgate_cameras import draw_part
from partgate_engines import Signer
from partgate_engines.anomaly import GoodImage, LearnSettings, learn, update
from partgate_station import VirtualCamera

IMAGES, QUICK_IMAGES = 100, 20
IN_EARNEST = 30  # rounds
BOUND = Bound(value=10)
ROWS = 2048
ADDED, QUICK_ADDED = 20, 5
UPDATE_BOUND = Bound(value=3, of="ours", relation="<=")
LINE = VirtualCamera(kind="virtual", camera_id="top", seed=2, size_px=256, defect_rate=0)


def patches(images: int, folder: Path) -> NDArray[np.float32]:
    """Return the patch features of good parts: (images * 1024, d) float32."""
    from partgate_engines._openvino import OpenVinoGraph
    from partgate_engines.anomaly._reading import Reader

    good = [GoodImage(pixels=draw_part(LINE, n).image, origin=str(n)) for n in range(images)]
    graph = OpenVinoGraph(learned_product(folder).graph, with_features=True)
    reader = Reader(graph=graph, regions=(), progress=lambda step, done, total: None)
    return reader.patches(good, first=0, seed=0).rows


def update_line(images: int, added: int, folder: Path, *, bound: Bound | None) -> Result:
    """Time an update and learning again, once each, after a learning that compiled the graph once."""
    every = [GoodImage(pixels=draw_part(LINE, n).image, origin=str(n)) for n in range(images + added)]
    graphs, bundles, signer = folder / "graphs", folder / "bundles", Signer.new(name="bench")
    settings = LearnSettings(bank_rows=ROWS, keep_outliers=True)
    first = learn(every[:images], settings=settings, graphs=graphs)
    bundle = first.save(bundles, product="brick", signer=signer, good=every[:images])
    started_s = time.perf_counter()
    better = update(bundle, good=every[:images], added=every[images:])
    better.save(bundles, product="brick", signer=signer, good=every)
    update_s = time.perf_counter() - started_s
    started_s = time.perf_counter()
    again = learn(every, settings=settings, graphs=graphs)
    again.save(bundles, product="brick", signer=signer, good=every)
    again_s = time.perf_counter() - started_s
    rows, whole = len(better.bank.rows), len(again.bank.rows)
    return result(
        f"adding {added} images to a product learned from {images}, ready to judge, against learning again",
        ours=update_s,
        other=again_s,
        unit="s",
        n=1,
        bound=bound,
        note=f"both on our side, one after the other; {rows} rows after the update, {whole} learned again",
    )


def coverage(rows: NDArray[np.float32], bank: NDArray[np.float32]) -> float:
    """Return the largest distance from any patch to its nearest row of the bank."""
    squared = (bank * bank).sum(axis=1)
    worst = 0.0
    for block in np.array_split(rows, 200):
        near = ((block * block).sum(axis=1)[:, None] - 2 * block @ bank.T + squared).min(axis=1)
        worst = max(worst, float(near.max()))
    return math.sqrt(worst)


def anomalibs_choice(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Return the bank that anomalib's selection chooses, and its seconds."""
    import torch
    from anomalib.models.components.sampling.k_center_greedy import KCenterGreedy

    embedding = torch.from_numpy(rows)
    started_s = time.perf_counter()
    chosen = KCenterGreedy(embedding=embedding, sampling_ratio=ROWS / len(rows)).sample_coreset()
    return chosen.numpy(), time.perf_counter() - started_s


def run(*, rounds: int, folder: Path) -> list[Result]:
    """Choose once each: anomalib's takes minutes; few rounds ask for fewer images."""
    from partgate_engines.anomaly._coreset import k_centre

    updated = update_line(
        IMAGES if rounds >= IN_EARNEST else QUICK_IMAGES,
        ADDED if rounds >= IN_EARNEST else QUICK_ADDED,
        folder,
        bound=UPDATE_BOUND if rounds >= IN_EARNEST else None,
    )
    rows = patches(IMAGES if rounds >= IN_EARNEST else QUICK_IMAGES, folder)
    started_s = time.perf_counter()
    ours = k_centre(rows, count=ROWS, seed=0).chosen
    ours_s = time.perf_counter() - started_s
    theirs, other_s = with_memory(anomalibs_choice, rows)
    return [
        result(
            f"choosing {ROWS:,} of {len(rows):,} patches, against anomalib's",
            ours=ours_s,
            other=other_s,
            unit="s",
            n=1,
            bound=BOUND if rounds >= IN_EARNEST else None,
            note="the same patches, one after the other; anomalib's in a process of its own, see `_apart`",
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
        updated,
    ]
