"""What a larger memory bank costs: 8,000 and 20,000 rows against 2,000, the same graph and frames.

The larger bank holds the smaller one's rows and, moved a little, the same again. Before anything is
timed: with it, every frame's largest distance is no larger, and hardly smaller.
"""

from pathlib import Path

import numpy as np

from benchmarks import _ours
from benchmarks._arms import Answers, Work, arm, compare, finite
from benchmarks._bundles import LITE0, RESNET18, Backbone, learned_product, saved, with_rows
from benchmarks._frames import parts
from benchmarks._result import Bound, Result, compared

SMALL_ROWS = 2000
LARGE_ROWS = (8000, 20_000)
FRAMES = 10
FIRST = 40
BOUND = Bound(value=0.5)  # 20,000 rows take at most twice the time of 2,000


def our_arm(bundle: Path) -> Work:
    """Score parts of the line."""
    return _ours.scoring(bundle, parts(FRAMES, first=FIRST))


def no_farther(large: Answers, small: Answers) -> None:
    """Refuse banks that do not hold the same rows."""
    if not (np.array(large) <= np.array(small) * 1.001).all():
        raise AssertionError(f"more rows, yet farther away: {large}, {small}")
    np.testing.assert_allclose(large, small, rtol=0.05)


def run(*, rounds: int, folder: Path) -> list[Result]:
    """Compare the banks on both backbones."""
    return [found for backbone in (LITE0, RESNET18) for found in _of(backbone, rounds, folder)]


def _of(backbone: Backbone, rounds: int, folder: Path) -> list[Result]:
    learned = learned_product(folder, backbone=backbone, bank_rows=SMALL_ROWS)
    small = saved(learned, folder, backbone=backbone).folder
    results: list[Result] = []
    for rows in LARGE_ROWS:
        large = saved(with_rows(learned, rows), folder, backbone=backbone).folder
        with arm(our_arm, bundle=large) as ours, arm(our_arm, bundle=small) as other:
            no_farther(ours.proof, other.proof)
            found = compare(ours, other, rounds=rounds, same=finite)
        results.append(
            compared(
                f"bank of {rows:,} rows against {SMALL_ROWS:,}, {backbone.title} at 256 px",
                found,
                bound=BOUND if rows == max(LARGE_ROWS) else None,
                note=f"{ours.facts['precision']}; rows beyond {SMALL_ROWS:,} are copies, moved a little",
            )
        )
    return results
