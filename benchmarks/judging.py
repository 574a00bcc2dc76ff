"""One image through the graph, against anomalib's own PatchCore in torch.

Same weights, same memory bank, same images, 256 px; both get the decoded uint8 frame and resize it
themselves. Parity: the largest patch distance of every image, which anomalib's model calls its score
with one neighbour.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import _ours, _peer
from benchmarks._arms import Answers, Work, arm, compare, finite
from benchmarks._bundles import LEARNED_FROM, LITE0, learned_product, saved, weights_of
from benchmarks._frames import parts
from benchmarks._result import Bound, Result, compared
from partgate_engines import Bundle

BANK_ROWS = 2048
IMAGES = 20
BOUND = Bound(value=5)


def score_arm(bundle: Path) -> Work:
    """Score with the bundle's graph, as a station does for every part."""
    return _ours.scoring(bundle, parts(IMAGES, first=LEARNED_FROM))


def map_arm(bundle: Path) -> Work:
    """Judge with the bundle's graph, map and all, as a station does for flagged parts."""
    work = _ours.judging(bundle, parts(IMAGES, first=LEARNED_FROM))
    return Work(run=work.run, facts=work.facts, proof=work.run())


def anomalib_arm(bundle: Path, weights: Path | None) -> Work:
    """Judge with anomalib's torch model: resize, normalise, forward."""
    import torch

    score = _peer.torch_scorer(Bundle.open(bundle, trusted=None), weights)
    frames = parts(IMAGES, first=LEARNED_FROM)
    return Work(
        run=lambda: [score(frame) for frame in frames],
        facts={"precision": "f32", "threads": str(torch.get_num_threads())},
        proof=[score(frame) for frame in frames],
    )


def same_scores(ours: Answers, other: Answers, *, tolerance: float = _ours.SAME) -> None:
    """Refuse to time graphs that do not say the same."""
    np.testing.assert_allclose(ours, other, rtol=tolerance)


def run(*, rounds: int, folder: Path) -> list[Result]:
    """Compare at a bank of 2,048 rows: the score alone, and with the map, which anomalib always computes."""
    bundle = saved(learned_product(folder, bank_rows=BANK_ROWS), folder).folder
    return [
        _compared(score_arm, "to its score", bundle, folder, rounds, BOUND),
        _compared(map_arm, "to score and map", bundle, folder, rounds, None),
    ]


def _compared(  # noqa: PLR0917 - one line of a table
    our_arm: Callable[[Path], Work], to: str, bundle: Path, folder: Path, rounds: int, bound: Bound | None
) -> Result:
    with (
        arm(our_arm, bundle=bundle) as ours,
        arm(anomalib_arm, bundle=bundle, weights=weights_of(LITE0, folder)) as other,
    ):
        same_scores(ours.proof, other.proof, tolerance=_ours.tolerance(ours.facts["precision"]))
        found = compare(ours, other, rounds=rounds, same=finite)
    return compared(
        f"one image {to}, bank of 2,048, against anomalib's torch model",
        found,
        bound=bound,
        note=f"EfficientNet-Lite0 at 256 px; {ours.facts['precision']} against"
        f" {other.facts['precision']}; torch with {other.facts['threads']} threads",
    )
