"""From frames and a judge to a decision, without a clock, a thread or a database."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import structlog
from numpy.typing import NDArray

from partgate.line._judge import Judge
from partgate.line._part import Decision, Reason
from partgate_cameras import CameraError, Frame, FrameTimeout, ImageError
from partgate_engines import DeviceFailed, PartNotLocated, PreparingRuntime
from partgate_station import ConfigError, PartgateError, Region, Verdict

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedFrame:
    """A frame and what the model says of it."""

    frame: Frame
    score: float | None = None
    """None where it said nothing."""

    anomaly_map: NDArray[np.float32] | None = None
    """(GH, GW) float32; None where nobody is to look at it."""

    map_box: tuple[int, int, int, int] | None = None
    """(left, top, right, bottom): the pixels that the map covers; None if there is no map."""


def prepare_frames(judge: Judge | None, frames: Sequence[Frame]) -> None:
    """Have done what of judging these frames needs no model, in the thread that took them.

    The frames before may be judged meanwhile. What is wrong with one is said when it is judged.
    """
    if judge is None or not isinstance(judge.runtime, PreparingRuntime):
        return
    for frame in frames:
        with contextlib.suppress(PartgateError):
            judge.runtime.prepare(frame.image, _regions(judge, frame))


def judge_frames(judge: Judge | None, frames: Sequence[Frame]) -> tuple[tuple[JudgedFrame, ...], Decision]:
    """Judge every frame of a part and decide on the part by its worst frame.

    A frame that cannot be judged makes the part UNDECIDED; what the model says of the others is kept.

    Args:
        judge: None where no recipe is active: then nothing is judged and the part is UNDECIDED.
        frames: all frames of the part, at least one.

    Raises:
        DeviceFailed: the runtime's device cannot be trusted any more: the process has to end, and a new
            one to judge.
    """
    if judge is None:
        unjudged = tuple(JudgedFrame(frame=frame) for frame in frames)
        return unjudged, Decision.undecided(
            Reason.NO_RECIPE, "the station has no active recipe; images are kept"
        )
    regions = [_regions(judge, frame) for frame in frames]
    scores = judge.runtime.scores([frame.image for frame in frames], regions)
    judged = tuple(
        JudgedFrame(frame=frame, score=score if isinstance(score, float) else None)
        for frame, score in zip(frames, scores, strict=True)
    )
    errors = [score for score in scores if isinstance(score, PartgateError)]
    if errors:
        return judged, Decision.undecided(_reason(errors[0]), str(errors[0]))
    return judged, decide(judge, [frame.score for frame in judged if frame.score is not None])


def _reason(error: PartgateError) -> Reason:
    match error:
        case ConfigError():
            return Reason.REGION_MISFIT
        case PartNotLocated():
            return Reason.NOT_LOCATED
        case _:
            return Reason.MODEL_FAULT


def with_maps(
    judge: Judge | None, frames: Sequence[JudgedFrame], verdict: Verdict
) -> tuple[JudgedFrame, ...]:
    """Return the frames of a part that the model flagged with their anomaly maps; others as they are.

    Called once the verdict has left: maps are for people, and cost a third of the score's time again, or all
    of it where the runtime has not kept what the score was made of. An UNDECIDED part gets none: a station
    that is late would be late for the next part as well.

    Raises:
        DeviceFailed: the runtime's device cannot be trusted any more.
    """
    if judge is None or verdict not in {Verdict.REVIEW, Verdict.REJECT}:
        return tuple(frames)
    return tuple(_with_map(judge, frame) for frame in frames)


def _with_map(judge: Judge, judged: JudgedFrame) -> JudgedFrame:
    if judged.score is None:
        return judged
    try:
        result = judge.runtime.judge(judged.frame.image, _regions(judge, judged.frame))
    except DeviceFailed:
        raise
    except PartgateError as error:
        log.warning("no anomaly map", camera=judged.frame.camera_id, error=str(error))
        return judged
    height_px, width_px = judged.frame.image.shape[:2]
    box = result.box or (0, 0, width_px, height_px)
    return replace(judged, anomaly_map=result.anomaly_map, map_box=box)


def _regions(judge: Judge, frame: Frame) -> tuple[Region, ...]:
    return tuple(r for r in judge.recipe.regions if r.camera_id in {None, frame.camera_id})


def decide(judge: Judge, scores: Sequence[float]) -> Decision:
    """Return the decision for a part from the scores of its frames: the worst one counts."""
    verdicts = [judge.recipe.thresholds.verdict(score) for score in scores]
    if Verdict.UNDECIDED in verdicts:
        return Decision.undecided(Reason.SCORE_NOT_FINITE, f"the model returned {scores}")
    worst = max(scores)
    return Decision(verdict=judge.recipe.thresholds.verdict(worst), score=worst)


def camera_decision(error: CameraError | ImageError) -> Decision:
    """Return the decision for a part whose frames could not be had."""
    match error:
        case FrameTimeout():
            code = Reason.CAMERA_TIMEOUT
        case ImageError():
            code = Reason.DAMAGED_IMAGE
        case _:
            code = Reason.CAMERA_FAULT
    return Decision.undecided(code, str(error))
