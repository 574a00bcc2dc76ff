"""A decoded 5 Mpx frame to its score, against anomalib's OpenVINO inferencer.

ResNet18 (layer2 and layer3, random weights), memory bank of 8,000 rows. The peer in the three ways of
`_peer`: as its documentation shows it, at its best, and at its best with one neighbour.

Before anything is timed, both say of the same frames at 256 px, where no side resizes, the same within
0.1 % in float32, and the precision that is timed within 5 %; a product that was learned in int8, with a bank
and steps of its own, within 15 %. The peer says it with one neighbour, whichever way is timed: nine re-weigh
the same largest distance. On the 5 Mpx frames the scores differ: ours resizes with antialiasing, anomalib's
export without it. The note says by how much, where both are largest distances.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from benchmarks import _ours, _peer
from benchmarks._arms import Comparison, Work, arm, compare, finite
from benchmarks._bundles import RESNET18, learned_product, saved, weights_of, with_rows
from benchmarks._frames import Pixels, large_frames, shrunk
from benchmarks._result import Bound, Result, compared
from partgate_engines import Bundle

BANK_ROWS = 8000
FRAMES = 3
PRECISIONS: tuple[Literal["f32", "int8"], ...] = ("f32", "int8")
FIRST = 40  # none of those that were learned from
BOUNDS: dict[_peer.Way, Bound | None] = {"default": Bound(value=10), "best": Bound(value=4), "one": None}
TITLES: dict[_peer.Way, str] = {
    "default": "as documented",
    "best": "at its best",
    "one": "at its best, one neighbour",
}
COMPARABLE: _peer.Way = "one"
"""The way whose score is the largest patch distance, as ours is."""

Models = Mapping[_peer.Way, Path]
"""The peer's exported models."""


def small_frames(size_px: int) -> list[Pixels]:
    """Return the frames that both sides must say the same of: (size, size, 3)."""
    return [shrunk(frame, size_px) for frame in large_frames(FRAMES, colour=True, first=FIRST)]


def our_arm(bundle: Path, colour: bool) -> Work:  # noqa: FBT001 - arms take what they are given by name
    """Score 5 Mpx frames with the bundle's graph."""
    found, runtime = _ours.opened(bundle)
    proof = [float(runtime.judge(frame).anomaly_map.max()) for frame in small_frames(found.manifest.size_px)]
    runtime.close()
    work = _ours.scoring(bundle, large_frames(FRAMES, colour=colour, first=FIRST))
    return Work(run=work.run, facts=work.facts, proof=proof)


def peer_arm(bundle: Path, models: Models, way: _peer.Way, colour: bool) -> Work:  # noqa: FBT001 - likewise
    """Judge 5 Mpx frames with anomalib's inferencer."""
    size_px = Bundle.open(bundle, trusted=None).manifest.size_px
    small, frames = small_frames(size_px), large_frames(FRAMES, colour=colour, first=FIRST)
    exact, comparable = (_scored(_peer.inferencer(models[one], "f32")[0], small) for one in (way, COMPARABLE))
    timed, precision = (
        _peer.inferencer(models[way]) if way == "default" else _peer.fastest(models[way], small[0])
    )
    np.testing.assert_allclose(_scored(timed, small), exact, rtol=_ours.SAME_REDUCED)

    def run() -> list[float]:
        return [
            _peer.scored(timed, coloured(frame if way == "default" else shrunk(frame, size_px)))
            for frame in frames
        ]

    return Work(run=run, facts={"precision": precision}, proof=comparable)


def _scored(model: Any, frames: Sequence[Pixels]) -> list[float]:
    return [_peer.scored(model, frame) for frame in frames]


def coloured(frame: Pixels) -> Pixels:
    """Return a frame in red, green and blue: the peer takes nothing else."""
    return frame if frame.ndim == 3 else np.asarray(cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB), np.uint8)


def export_arm(bundle: Path, weights: Path | None, folder: Path, way: _peer.Way) -> Work:
    """Export the peer's model in a process of its own: torch stays out of the one that measures."""
    path = _peer.exported(Bundle.open(bundle, trusted=None), weights, folder, way)
    return Work(run=list, facts={"path": str(path)})


def run(*, rounds: int, folder: Path) -> list[Result]:
    """Compare colour and grey frames with the peer in every way."""
    bundles = {precision: _bundle(folder, precision) for precision in PRECISIONS}
    bundle, weights = bundles["f32"], weights_of(RESNET18, folder)
    models = {way: _exported(bundle, weights, folder, way) for way in BOUNDS}
    return [
        _compared(bundles[precision], bundle, models, way, colour, rounds)
        for way in BOUNDS
        for precision in PRECISIONS
        for colour in (True, False)
    ]


def _exported(bundle: Path, weights: Path | None, folder: Path, way: _peer.Way) -> Path:
    with arm(export_arm, bundle=bundle, weights=weights, folder=folder, way=way) as exporter:
        return Path(exporter.facts["path"])


def _bundle(folder: Path, precision: Literal["f32", "int8"]) -> Path:
    """Return the folder of a bundle that was learned in a precision."""
    learned = learned_product(folder, backbone=RESNET18, precision=precision)
    return saved(with_rows(learned, BANK_ROWS), folder, backbone=RESNET18).folder


def _compared(  # noqa: PLR0917 - what is compared, and how
    mine: Path,
    bundle: Path,
    models: Models,
    way: _peer.Way,
    colour: bool,  # noqa: FBT001 - arms take what they are given by name
    rounds: int,
) -> Result:
    with (
        arm(our_arm, bundle=mine, colour=colour) as ours,
        arm(peer_arm, bundle=bundle, models=models, way=way, colour=colour) as other,
    ):
        tolerance = _ours.tolerance(ours.facts["precision"])
        np.testing.assert_allclose(ours.proof, other.proof, rtol=tolerance)
        found = compare(ours, other, rounds=rounds, same=finite)
    kind = "colour" if colour else "grey"
    precisions = f"{ours.facts['precision']} against {other.facts['precision']}"
    return compared(
        f"5 Mpx {kind} frame to score{', int8' if ours.facts['precision'] == 'int8' else ''}, bank of"
        f" {BANK_ROWS:,}, against anomalib's OpenVINO inferencer"
        f" ({TITLES[way]})",
        found,
        bound=BOUNDS[way],
        note=f"ResNet18, random weights; {precisions}; {_said(found, way)}",
    )


def _said(found: Comparison, way: _peer.Way) -> str:
    if way != COMPARABLE:
        return "nine neighbours, anomalib's own"
    return f"scores differ by {apart(found):.0%} (other resize)"


def apart(found: Comparison) -> float:
    """Return by what share the answers of the timed frames differ at most."""
    ours, other = (np.array(answers) for answers in found.said)
    return float((np.abs(ours - other) / ours).max())
