"""Our arm: a bundle in this machine's runtime, as a station opens it."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks._arms import Work
from benchmarks._frames import Pixels
from partgate_engines import Bundle, Runtime, fingerprint_of, open_runtime
from partgate_station import PartgateError

SAME, SAME_REDUCED = 1e-3, 5e-2
SAME_INT8 = 0.15  # of a product that was learned in other numbers than the peer's


def opened(bundle: Path, engines: str = "engines") -> tuple[Bundle, Runtime]:
    """Open a bundle that was just made here, on the CPU, as a station does that keeps engines.

    Args:
        bundle: its folder.
        engines: the folder of the engines, beside that of the bundles.
    """
    found = Bundle.open(bundle, trusted=None)
    return found, open_runtime(found, "openvino", engines=bundle.parent.parent / engines)


def scoring(bundle: Path, frames: Sequence[Pixels]) -> Work:
    """Score frames one after the other, which is all that a verdict waits for.

    The proof is what `judging` answers: the largest patch distance of every frame.
    """
    found, runtime = opened(bundle)
    return Work(
        run=lambda: [score(runtime, frame) for frame in frames],
        facts={"precision": fingerprint_of(found, runtime).precision},
        proof=[float(runtime.judge(frame).anomaly_map.max()) for frame in frames],
    )


def score(runtime: Runtime, frame: Pixels) -> float:
    """Return a frame's anomaly score."""
    (found,) = runtime.scores([frame], [()])
    if isinstance(found, PartgateError):
        raise found
    return found


def judging(bundle: Path, frames: Sequence[Pixels]) -> Work:
    """Judge frames one after the other, maps and all; the answers are the largest patch distances.

    That is what anomalib's model calls its score when it looks at one neighbour.
    """
    found, runtime = opened(bundle)
    precision = fingerprint_of(found, runtime).precision
    return Work(
        run=lambda: [float(runtime.judge(frame).anomaly_map.max()) for frame in frames],
        facts={"precision": precision},
    )


def tolerance(precision: str) -> float:
    """Return by what share answers may differ from the peer's in float32."""
    if precision == "int8":
        return SAME_INT8
    return SAME if precision == "f32" else SAME_REDUCED
