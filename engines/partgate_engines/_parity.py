"""The parity gate: golden frames must get from a runtime here what the bundle says of them."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ConfigDict

from partgate_engines._aligned_runtime import unaligned
from partgate_engines._bundle import Bundle
from partgate_engines._errors import ParityFailed
from partgate_engines._golden import GoldenFrame
from partgate_engines._machine import FULL_PRECISIONS, Fingerprint, fingerprint_of
from partgate_engines._manifest import Manifest
from partgate_engines._runtime import AnomalyResult, Runtime
from partgate_station import PartgateError, Region, Thresholds, Verdict

LARGEST_DIFFERENCE = 1e-3
"""Of a score or map, in parts of its scale: what float32 may differ by. OpenVINO differs from torch by
less than 1e-5; the rest is for other libraries and processors."""

LARGEST_REDUCED_DIFFERENCE = 0.05
"""Of a score or map, in parts of its scale: what a reduced precision may differ by. Int8 differs by 0.007 and
0.009 at most (docs/decisions/0007); what is a part or a multiple of the right one keeps every order."""

LEAST_RANK_CORRELATION = 0.999
"""What a reduced precision must keep of the order of all patches of all golden frames."""

# Whoever changes a bound raises `GATE` in `_machine`: proofs by other bounds are then made again.

# Distances below this share of `review` count as equal when patches are ranked: there rounding alone
# decides, and the patches of images that the bank holds whole lie there.
_RANKED_FROM = 0.05
_TINY = 1e-12


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class FrameParity(_Model):
    """One golden frame: what was expected and what came."""

    name: str
    reference: float
    """The score that the bundle says."""

    here: float | None
    """The score that the runtime gave; None if it gave none, or no number."""

    score_difference: float | None
    """Between the two, in parts of the larger of the reference and `review`."""

    map_difference: float | None
    """The largest of any patch, in parts of the larger of the map's highest value and `review`, from the
    squares of the distances."""

    expected: Verdict
    verdict: Verdict
    problem: str | None = None
    """Why the runtime gave nothing."""

    @property
    def flipped(self) -> bool:
        """Whether the verdict is another one than expected."""
        return self.expected is not self.verdict


class ParityReport(_Model):
    """What came of a bundle's golden frames in one runtime on one machine."""

    fingerprint: Fingerprint
    references: str
    """What the expected scores and maps were computed with."""

    bound: str
    """What had to be kept, in words."""

    frames: tuple[FrameParity, ...]
    rank_correlation: float | None
    """Spearman's, over all patches of all golden frames; None if a map is missing or not finite."""

    problems: tuple[str, ...]
    """What was not kept; empty if the runtime may judge."""

    at: AwareDatetime
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the runtime may judge parts with this bundle on this machine."""
        return not self.problems

    @property
    def flips(self) -> int:
        """How many verdicts are other ones than expected."""
        return sum(frame.flipped for frame in self.frames)

    def proves(self, manifest: Manifest) -> bool:
        """Return whether its frames are a bundle's golden ones, and their scores let the runtime judge.

        For a report that was kept: what it says of itself (problems, differences, verdicts) is found again.
        It holds no maps: of what they differ by, and of their order, its own word is taken.
        """
        golden = [(entry.name, entry.score) for entry in manifest.golden.frames]
        if [(frame.name, frame.reference) for frame in self.frames] != golden:
            return False
        thresholds = manifest.calibration.thresholds
        frames = tuple(_compared_again(frame, thresholds) for frame in self.frames)
        return not self.problems and not _problems(frames, self.rank_correlation, self.fingerprint)

    def require(self) -> None:
        """Go on only if the runtime may judge.

        Raises:
            ParityFailed: names what was not kept.
        """
        if self.problems:
            raise ParityFailed(
                f"bundle {self.fingerprint.bundle[:12]} in runtime {self.fingerprint.runtime}"
                f" ({self.fingerprint.precision}) on {self.fingerprint.device}: not what {self.references}"
                f" says: {'; '.join(self.problems)}. `partgate models verify` shows every frame"
            )


def verify_parity(
    bundle: Bundle, runtime: Runtime, golden: Sequence[GoldenFrame] | None = None, *, references: str = ""
) -> ParityReport:
    """Judge golden frames and compare: the gate that every runtime passes before it judges parts.

    In float32 no score and no map may differ by more than a thousandth of its scale; in a reduced
    precision by no more than a twentieth, and the order of all patches must be kept (Spearman's rank
    correlation, 0.999). In either no verdict at the bundle's thresholds may be another one. Nothing that
    a runtime does ends this with an error: a frame that it refuses is a problem in the report.

    Args:
        bundle: whose thresholds, regions and, by default, golden frames count.
        runtime: opened with this bundle, in this thread.
        golden: other frames or references than the bundle's.
        references: what those were computed with.
    """
    started_s = time.perf_counter()
    manifest = bundle.manifest
    frames = bundle.golden() if golden is None else tuple(golden)
    thresholds = manifest.calibration.thresholds
    fingerprint = fingerprint_of(bundle, runtime)
    results = [_judged(runtime, bundle, frame) for frame in frames]
    compared = tuple(
        _compare(frame, result, thresholds) for frame, result in zip(frames, results, strict=True)
    )
    correlation = _rank_correlation(frames, results, floor=_RANKED_FROM * thresholds.review)
    return ParityReport(
        fingerprint=fingerprint,
        references=references or manifest.golden.references,
        bound=_FULL_BOUND if _is_full(fingerprint) else _REDUCED_BOUND,
        frames=compared,
        rank_correlation=correlation,
        problems=_problems(compared, correlation, fingerprint),
        at=datetime.now(UTC),
        seconds=round(time.perf_counter() - started_s, 3),
    )


def disagreement(golden: GoldenFrame, result: AnomalyResult, thresholds: Thresholds) -> str | None:
    """Return how a result differs from what is known of a golden frame by more than rounding; None if not.

    For one frame of a runtime against its own earlier answers, in whatever precision: those repeat.
    """
    compared = _compare(golden, result, thresholds)
    return next(iter(_frame_problems((compared,), is_full=True)), None)


def answer(runtime: Runtime, pixels: NDArray[np.uint8], regions: tuple[Region, ...]) -> AnomalyResult:
    """Return a frame's score as verdicts get it, and its map as people get it: two ways through a runtime.

    Args:
        runtime: in the thread that it belongs to.
        pixels: as `Runtime.judge` takes them.
        regions: what of them is judged.

    Raises:
        PartgateError: as `Runtime.judge`.
    """
    runtime = unaligned(runtime)
    (score,) = runtime.scores([pixels], [regions])
    if isinstance(score, PartgateError):
        raise score
    return replace(runtime.judge(pixels, regions), score=score)


_FULL_BOUND = f"scores and maps within {LARGEST_DIFFERENCE:g} of their scale, no other verdict"
_REDUCED_BOUND = (
    f"scores and maps within {LARGEST_REDUCED_DIFFERENCE:g} of their scale, rank correlation of all patches"
    f" at least {LEAST_RANK_CORRELATION:g}, no other verdict"
)


def _is_full(fingerprint: Fingerprint) -> bool:
    return fingerprint.precision in FULL_PRECISIONS


def _judged(runtime: Runtime, bundle: Bundle, frame: GoldenFrame) -> AnomalyResult | str:
    try:
        return answer(runtime, frame.pixels, bundle.manifest.regions)
    except PartgateError as error:
        return str(error)


def _compare(frame: GoldenFrame, result: AnomalyResult | str, thresholds: Thresholds) -> FrameParity:
    expected = thresholds.verdict(frame.score)
    if isinstance(result, str):
        return FrameParity(
            name=frame.name, reference=frame.score, here=None, score_difference=None, map_difference=None,
            expected=expected, verdict=Verdict.UNDECIDED, problem=result,
        )  # fmt: skip
    return FrameParity(
        name=frame.name,
        reference=frame.score,
        here=result.score if np.isfinite(result.score) else None,
        score_difference=_score_difference(frame.score, result.score, thresholds),
        map_difference=_map_difference(frame.anomaly_map, result.anomaly_map, thresholds),
        expected=expected,
        verdict=thresholds.verdict(result.score),
    )


def _compared_again(frame: FrameParity, thresholds: Thresholds) -> FrameParity:
    """Return a frame with what follows from its two scores, whatever was written of them."""
    if frame.here is None:
        return frame
    found = {
        "score_difference": _score_difference(frame.reference, frame.here, thresholds),
        "expected": thresholds.verdict(frame.reference),
        "verdict": thresholds.verdict(frame.here),
    }
    return frame.model_copy(update=found)


def _score_difference(reference: float, here: float, thresholds: Thresholds) -> float | None:
    """Return the difference in parts of the scale, which is never below `review`."""
    if not np.isfinite(here):
        return None
    return abs(here - reference) / max(abs(reference), abs(thresholds.review), _TINY)


def _map_difference(
    reference: NDArray[np.float32], here: NDArray[np.float32], thresholds: Thresholds
) -> float | None:
    """Return the largest difference of squared distances, in parts of twice the scale's square.

    Squares are what a runtime adds up: its rounding is the same for all of them, and at the scale this
    is the difference of the distances themselves. Of a patch that the bank holds nothing but rounding
    is left, and its root is a thousand times larger: 0.03 where `review` is 27, which decides nothing.
    """
    if reference.shape != here.shape or not np.isfinite(here).all():
        return None
    scale = max(float(reference.max()), abs(thresholds.review), _TINY)
    squares = [np.square(distances, dtype=np.float64) for distances in (reference, here)]
    return float(np.abs(squares[1] - squares[0]).max()) / (2 * scale**2)


def _problems(
    frames: Sequence[FrameParity], correlation: float | None, fingerprint: Fingerprint
) -> tuple[str, ...]:
    is_full = _is_full(fingerprint)
    return _frame_problems(frames, is_full=is_full) + _order_problems(correlation, is_full=is_full)


def _frame_problems(frames: Sequence[FrameParity], *, is_full: bool) -> tuple[str, ...]:
    return tuple(problem for frame in frames if (problem := _frame_problem(frame, is_full=is_full)))


def _frame_problem(frame: FrameParity, *, is_full: bool) -> str | None:
    if frame.problem is not None:
        return f"{frame.name}: {frame.problem}"
    if frame.here is None:
        return f"{frame.name}: the score is not a number"
    if frame.map_difference is None or frame.score_difference is None:
        return f"{frame.name}: the map has another shape, or values that are not numbers"
    if frame.flipped:
        return (
            f"{frame.name}: {frame.verdict.value} at {frame.here:.6g},"
            f" expected {frame.expected.value} at {frame.reference:.6g}"
        )
    largest = LARGEST_DIFFERENCE if is_full else LARGEST_REDUCED_DIFFERENCE
    is_near = max(frame.score_difference, frame.map_difference) <= largest
    if is_near:
        return None
    return (
        f"{frame.name}: the score is {frame.here:.6g}, expected {frame.reference:.6g}; it differs by"
        f" {frame.score_difference:.2g} of its scale, the map differs by {frame.map_difference:.2g}"
    )


def _order_problems(correlation: float | None, *, is_full: bool) -> tuple[str, ...]:
    if is_full or (correlation is not None and correlation >= LEAST_RANK_CORRELATION):
        return ()
    found = "none" if correlation is None else f"{correlation:.5f}"
    return (f"rank correlation {found}, at least {LEAST_RANK_CORRELATION:g} is needed",)


def _rank_correlation(
    frames: Sequence[GoldenFrame], results: Sequence[AnomalyResult | str], *, floor: float
) -> float | None:
    maps = [result.anomaly_map for result in results if not isinstance(result, str)]
    if len(maps) < len(frames) or any(
        frame.anomaly_map.shape != found.shape for frame, found in zip(frames, maps, strict=True)
    ):
        return None
    reference = np.concatenate([frame.anomaly_map.ravel() for frame in frames])
    here = np.concatenate([found.ravel() for found in maps])
    if not np.isfinite(here).all():
        return None
    return spearman(np.maximum(reference, floor), np.maximum(here, floor))


def spearman(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return Spearman's rank correlation of two arrays; equal values share their ranks' mean.

    Args:
        first: (n,) finite.
        second: (n,) finite.

    Returns:
        -1 to 1; where one array has no order, 1 if the other has none either, else 0.
    """
    ranks = [_ranks(values) for values in (first, second)]
    spread = [float(np.ptp(rank)) for rank in ranks]
    if not all(spread):
        return 0.0 if any(spread) else 1.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: NDArray[np.float64] = (last - (counts - 1) / 2)[position]
    return mean
