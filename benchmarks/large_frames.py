"""A decoded 5 Mpx frame to its score, against anomalib's OpenVINO inferencer.

ResNet18 (layer2 and layer3, random weights), memory bank of 8,000 rows. The peer as its documentation
shows it: width and height free, the whole frame given to it. And the peer at its best: everything
fixed, told to hurry, in the faster precision, the frame shrunk before by OpenCV's area filter.

Before anything is timed, both say of the same frames at 256 px, where no side resizes, the same within
0.1 % in float32, and the precision that is timed within 5 %; a product that was learned in int8, with a bank
and steps of its own, within 15 %. On the 5 Mpx frames the scores differ: ours
resizes with antialiasing, anomalib's export without it. The note says by how much.
"""

from pathlib import Path
from typing import Literal

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
BOUNDS = {"default": Bound(value=10), "best": Bound(value=4)}


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


def peer_arm(bundle: Path, model: Path, way: _peer.Way, colour: bool) -> Work:  # noqa: FBT001 - likewise
    """Judge 5 Mpx frames with anomalib's inferencer."""
    size_px = Bundle.open(bundle, trusted=None).manifest.size_px
    small, frames = small_frames(size_px), large_frames(FRAMES, colour=colour, first=FIRST)
    exact, _ = _peer.inferencer(model, "f32")
    proof = [_peer.scored(exact, frame) for frame in small]
    if way == "best":
        timed, precision = _peer.fastest(model, small[0])
        np.testing.assert_allclose([_peer.scored(timed, f) for f in small], proof, rtol=_ours.SAME_REDUCED)
        return Work(
            run=lambda: [_peer.scored(timed, coloured(shrunk(frame, size_px))) for frame in frames],
            facts={"precision": precision},
            proof=proof,
        )
    timed, precision = _peer.inferencer(model)
    np.testing.assert_allclose([_peer.scored(timed, f) for f in small], proof, rtol=_ours.SAME_REDUCED)
    return Work(
        run=lambda: [_peer.scored(timed, coloured(frame)) for frame in frames],
        facts={"precision": precision},
        proof=proof,
    )


def coloured(frame: Pixels) -> Pixels:
    """Return a frame in red, green and blue: the peer takes nothing else."""
    return frame if frame.ndim == 3 else np.asarray(cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB), np.uint8)


def export_arm(bundle: Path, weights: Path | None, folder: Path, way: _peer.Way) -> Work:
    """Export the peer's model in a process of its own: torch stays out of the one that measures."""
    path = _peer.exported(Bundle.open(bundle, trusted=None), weights, folder, way)
    return Work(run=list, facts={"path": str(path)})


def run(*, rounds: int, folder: Path) -> list[Result]:
    """Compare colour and grey frames with the peer in both ways."""
    bundles = {precision: _bundle(folder, precision) for precision in PRECISIONS}
    bundle, weights = bundles["f32"], weights_of(RESNET18, folder)
    results: list[Result] = []
    for way in BOUNDS:
        with arm(export_arm, bundle=bundle, weights=weights, folder=folder, way=way) as exporter:
            model = Path(exporter.facts["path"])
        results += [
            _compared(bundles[precision], bundle, model, way, colour, rounds)
            for precision in PRECISIONS
            for colour in (True, False)
        ]
    return results


def _bundle(folder: Path, precision: Literal["f32", "int8"]) -> Path:
    """Return the folder of a bundle that was learned in a precision."""
    learned = learned_product(folder, backbone=RESNET18, precision=precision)
    return saved(with_rows(learned, BANK_ROWS), folder, backbone=RESNET18).folder


def _compared(  # noqa: PLR0917 - what is compared, and how
    mine: Path,
    bundle: Path,
    model: Path,
    way: str,
    colour: bool,  # noqa: FBT001 - arms take what they are given by name
    rounds: int,
) -> Result:
    with (
        arm(our_arm, bundle=mine, colour=colour) as ours,
        arm(peer_arm, bundle=bundle, model=model, way=way, colour=colour) as other,
    ):
        tolerance = _ours.tolerance(ours.facts["precision"])
        np.testing.assert_allclose(ours.proof, other.proof, rtol=tolerance)
        found = compare(ours, other, rounds=rounds, same=finite)
    kind = "colour" if colour else "grey"
    precisions = f"{ours.facts['precision']} against {other.facts['precision']}"
    return compared(
        f"5 Mpx {kind} frame to score{', int8' if ours.facts['precision'] == 'int8' else ''}, bank of"
        f" {BANK_ROWS:,}, against anomalib's OpenVINO inferencer"
        f" ({'as documented' if way == 'default' else 'at its best'})",
        found,
        bound=BOUNDS[way],
        note=f"ResNet18, random weights; {precisions}; scores differ by {apart(found):.0%} (other resize)",
    )


def apart(found: Comparison) -> float:
    """Return by what share the answers of the timed frames differ at most."""
    ours, other = (np.array(answers) for answers in found.said)
    return float((np.abs(ours - other) / ours).max())
