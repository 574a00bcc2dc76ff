"""From frames and a judge to a decision, without a clock, a thread or a database."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from partgate.line._judge import Judge
from partgate.line._part import Decision, Reason
from partgate_cameras import CameraError, Frame, FrameTimeout, ImageError
from partgate_engines import AnomalyResult, DeviceFailed
from partgate_station import ConfigError, PartgateError, Verdict

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedFrame:
    """A frame and what the model says of it; None where it said nothing."""

    frame: Frame
    result: AnomalyResult | None = None


def judge_frames(judge: Judge | None, frames: Sequence[Frame]) -> tuple[tuple[JudgedFrame, ...], Decision]:
    """Judge every frame of a part and decide on the part by its worst frame.

    Args:
        judge: None where no recipe is active: then nothing is judged and the part is UNDECIDED.
        frames: all frames of the part, at least one.

    Raises:
        DeviceFailed: the runtime's device cannot be trusted any more.
    """
    if judge is None:
        unjudged = tuple(JudgedFrame(frame=frame) for frame in frames)
        return unjudged, Decision.undecided(
            Reason.NO_RECIPE, "the station has no active recipe; images are kept"
        )
    judged: list[JudgedFrame] = []
    try:
        judged.extend(JudgedFrame(frame=frame, result=_judge_one(judge, frame)) for frame in frames)
    except DeviceFailed:
        # What the GPU says from now on is not an answer: the process has to end, and a new one to judge.
        raise
    except ConfigError as error:
        return _with_unjudged(judged, frames), Decision.undecided(Reason.REGION_MISFIT, str(error))
    except PartgateError as error:
        return _with_unjudged(judged, frames), Decision.undecided(Reason.MODEL_FAULT, str(error))
    return tuple(judged), decide(judge, [frame.result.score for frame in judged if frame.result is not None])


def _judge_one(judge: Judge, frame: Frame) -> AnomalyResult:
    height_px, width_px = frame.image.shape[:2]
    judge.recipe.check_regions(width_px=width_px, height_px=height_px)
    regions = tuple(r for r in judge.recipe.regions if r.camera_id in {None, frame.camera_id})
    return judge.runtime.judge(frame.image, regions)


def _with_unjudged(judged: Sequence[JudgedFrame], frames: Sequence[Frame]) -> tuple[JudgedFrame, ...]:
    return (*judged, *(JudgedFrame(frame=frame) for frame in frames[len(judged) :]))


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
