"""The loop: one part after the other, from its frames to its reject signal.

    trigger ──> row opened ──────────────────────────> row durable ─┐
        └─────> frames ──> judged ──> decided ──────────────────────┴─> signalled ──> row closed
       (_taking.py)      (here)

The row is committed while the frames are taken and judged; the verdict leaves when both are done. While a
part is judged, another thread takes in the next one (docs/decisions/0029).
Whatever goes wrong on the way makes the part UNDECIDED with its reason; nothing makes it vanish.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext

import structlog
from structlog.contextvars import bound_contextvars

from partgate.line._confirmations import Confirmations, OnConfirmed
from partgate.line._decide import JudgedFrame, camera_decision, judge_frames, with_maps
from partgate.line._finders import FrameFinder, finder_of
from partgate.line._image_health import ImageHealthWatch
from partgate.line._in_work import TURN_S, TakenPart
from partgate.line._judge import Judges
from partgate.line._outputs import Output
from partgate.line._part import Decision, Outcome, Reason
from partgate.line._stages import OnStage, Stage
from partgate.line._taking import Taking
from partgate.line._triggers import TriggerSource
from partgate.line._watch import GoldenWatch
from partgate.records import ClosedPart, PartRecorder, RecordedFrame, StoreError
from partgate_cameras import Camera, StrayFrame
from partgate_station import Verdict

log = structlog.get_logger(__name__)

SHORTEST_WAIT_FOR_ROW_S = 0.001


class Line:
    """Takes parts from trigger to reject signal.

    The thread that calls `run` owns judge and output; one beside it owns triggers and cameras.
    """

    def __init__(
        self,
        *,
        cameras: Sequence[Camera | FrameFinder],
        triggers: TriggerSource,
        judges: Judges,
        recorder: PartRecorder,
        output: Output,
        product: str | None,
        watch: GoldenWatch | None = None,
        image_health: ImageHealthWatch | None = None,
        on_stray: Callable[[StrayFrame], None] = lambda stray: None,
        on_stage: OnStage = lambda stage, took_s: None,
        on_turn: Callable[[], None] = lambda: None,
        on_confirmed: OnConfirmed = lambda confirmation: None,
        taking_kept: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Assemble a line.

        Args:
            cameras: opened, and closed by the caller; or what finds their frames.
            triggers: when a part comes.
            judges: who judges it.
            recorder: where its row goes.
            output: where its verdict goes.
            product: of the parts; None where images are collected.
            watch: asks golden frames between parts; None never does.
            image_health: measures every frame, and says while none may be decided on; None never does.
            on_stray: told of every frame that is given to no part; must not wait.
            on_stage: told of every stage of every part, in the thread that passes it.
            on_turn: called at the start, after every part and now and then while none is there: who is not
                called any more knows that the loop, or what takes parts in for it, stands still.
            on_confirmed: told what became of each signal, by a thread of its own.
            taking_kept: entered by the thread that takes parts in: where it is to run.
        """
        self._judges, self._output, self._watch = judges, output, watch
        self._image_health, self._on_turn = image_health, on_turn
        self._taking = Taking(
            finders=tuple(finder_of(camera) for camera in cameras),
            triggers=triggers,
            judges=judges,
            recorder=recorder,
            product=product,
            on_stray=on_stray,
            on_stage=on_stage,
            kept=taking_kept,
        )
        self._note_verdict = recorder.note_verdict
        self._confirmations = Confirmations(recorder.close_part, on_confirmed=on_confirmed)

    def run(
        self,
        stop: threading.Event,
        *,
        parts: int | None = None,
        on_outcome: Callable[[Outcome], None] = lambda outcome: None,
    ) -> int:
        """Judge parts until `stop` is set, `parts` are done, or a folder camera has no more images.

        What became of every signal is known when this returns. A line runs once.

        Returns:
            How many parts were judged.
        """
        try:
            self._taking.start(stop, parts=parts)
            return self._run(on_outcome)
        finally:
            self._taking.end()
            for taken in self._taking.parts.left():
                self._close_unjudged(taken)
            self._confirmations.finish()

    def _run(self, on_outcome: Callable[[Outcome], None]) -> int:
        done = 0
        self._on_turn()
        while (taken := self._next()) is not None:
            on_outcome(self._judge_part(taken))
            if self._watch is not None:
                self._watch.part_done(taken.trigger.trigger_id)
            self._taking.parts.done()
            self._on_turn()
            done += 1
        if self._watch is not None:
            self._watch.check()  # of the last parts, too, it is known that the model was right
        return done

    def _next(self) -> TakenPart | None:
        """Return the next part; None if there will be none."""
        while not self._taking.parts.is_over:
            if (taken := self._taking.parts.next(TURN_S)) is not None:
                return taken
            if self._taking.turned():
                self._on_turn()
        return None

    def _judge_part(self, taken: TakenPart) -> Outcome:
        trigger_id = taken.trigger.trigger_id
        with bound_contextvars(trigger=trigger_id, part=str(taken.part.part_id)):
            return self._work_on(taken)

    def _work_on(self, taken: TakenPart) -> Outcome:
        frames: tuple[JudgedFrame, ...] = ()
        try:
            frames, decision = self._judged(taken)
        except Exception:
            self._finish(_station_fault("with the part in work"), taken, frames)
            raise
        try:
            decision = _once_durable(taken.durable, decision, taken.deadline_s)
        except Exception:
            self._signal_unrecorded(taken)
            raise
        taken.clock.passed(Stage.DURABLE)
        decision = _in_time(decision, taken.deadline_s, taken.deadline_ms)
        return self._finish(decision, taken, frames)

    def _signal_unrecorded(self, taken: TakenPart) -> None:
        """No row, no verdict: the gate is told to stay shut, and there is nothing to close."""
        decision = Decision.undecided(Reason.NOT_RECORDED, "the part's row could not be written")
        self._output.signal(_outcome(taken, decision))

    def _close_unjudged(self, taken: TakenPart) -> None:
        """Close a part that nobody will judge: the station has failed with one before it."""
        frames = tuple(JudgedFrame(frame=frame) for frame in taken.frames)
        decision = _station_fault("with a part before it in work")
        try:
            _once_durable(taken.durable, decision, taken.deadline_s)
            self._finish(decision, taken, frames)
        except StoreError as error:  # what has failed before it is raised
            log.error("a part could not be closed", trigger=taken.trigger.trigger_id, error=str(error))

    def _judged(self, taken: TakenPart) -> tuple[tuple[JudgedFrame, ...], Decision]:
        taken.clock.passed(Stage.WAITED)
        if self._watch is not None:
            self._watch.take_up(taken.judge, taken.trigger.trigger_id)
        if taken.fault is not None:
            raise taken.fault
        if (refused := taken.trigger.refused) is not None:
            return (), Decision(verdict=Verdict.UNDECIDED, reason=refused)
        judged = self._judge(taken)
        taken.clock.passed(Stage.JUDGED)
        return judged

    def _judge(self, taken: TakenPart) -> tuple[tuple[JudgedFrame, ...], Decision]:
        watch, judge, frames = self._image_health, taken.judge, taken.frames
        unfit = None if watch is None else watch.observe(judge, frames, taken.trigger.trigger_id)
        unjudged = tuple(JudgedFrame(frame=frame) for frame in frames)
        if taken.error is not None:
            return unjudged, camera_decision(taken.error)
        if self._watch is not None and (why := self._watch.why) is not None:
            return unjudged, Decision.undecided(Reason.MODEL_SUSPECT, why)
        if unfit is not None:
            return unjudged, Decision.undecided(Reason.IMAGE_HEALTH, unfit)
        if judge is not None and (late := _too_late_to_judge(taken)) is not None:
            return unjudged, late
        return judge_frames(judge, frames)

    def _finish(self, decision: Decision, taken: TakenPart, frames: Sequence[JudgedFrame]) -> Outcome:
        self._note_verdict(_closed(_outcome(taken, decision), ()))
        outcome = _outcome(taken, decision)  # after the note, whose time is the part's as well
        signalled = self._output.signal(outcome)
        taken.clock.passed(Stage.SIGNALLED)
        try:
            frames = with_maps(taken.judge, frames, outcome.decision.verdict)
        finally:
            self._confirmations.hand_over(_closed(outcome, frames), signalled)
        return outcome


def _station_fault(when: str) -> Decision:
    return Decision.undecided(Reason.STATION_FAULT, f"the station failed {when}")


def _outcome(taken: TakenPart, decision: Decision) -> Outcome:
    judge, trigger = taken.judge, taken.trigger
    return Outcome(
        part_id=taken.part.part_id,
        trigger_id=trigger.trigger_id,
        decision=decision,
        gate_open=judge is not None and judge.recipe.gate_opens(decision.verdict),
        latency_ms=(time.monotonic() - trigger.monotonic_s) * 1000,
    )


def _too_late_to_judge(taken: TakenPart) -> Decision | None:
    """Return the decision for a part whose deadline is over before the model was asked; None if it is not.

    Its score would come too late for the gate, and make the parts behind it late as well.
    """
    late_s = time.monotonic() - taken.deadline_s
    if late_s < 0:
        return None
    sentence = f"its turn came {late_s * 1000:.0f} ms after the recipe's {taken.deadline_ms} ms were over"
    return Decision.undecided(Reason.DEADLINE_MISSED, f"{sentence}; it was not judged, its frames are kept")


def _once_durable(durable: Future[None], decision: Decision, deadline_s: float) -> Decision:
    """Wait until the part's row is on disk; a verdict without a row must not open the gate.

    Raises:
        StoreError: the row cannot be written at all: the station has to stop.
    """
    try:
        durable.result(timeout=max(SHORTEST_WAIT_FOR_ROW_S, deadline_s - time.monotonic()))
    except TimeoutError:
        if decision.reason is not None:  # undecided as it is, and of that the reason tells more
            return decision
        return Decision.undecided(
            Reason.NOT_RECORDED, "the part's row was not durable in time", score=decision.score
        )
    return decision


def _in_time(decision: Decision, deadline_s: float, deadline_ms: int) -> Decision:
    late_s = time.monotonic() - deadline_s
    if late_s <= 0 or decision.reason is not None:
        return decision
    sentence = f"the verdict was {late_s * 1000:.0f} ms later than the recipe's {deadline_ms} ms"
    return Decision.undecided(Reason.DEADLINE_MISSED, sentence, score=decision.score)


def _closed(outcome: Outcome, frames: Sequence[JudgedFrame]) -> ClosedPart:
    decision = outcome.decision
    return ClosedPart(
        part_id=outcome.part_id,
        verdict=decision.verdict,
        reason=decision.reason,
        score=decision.score,
        latency_ms=outcome.latency_ms,
        frames=tuple(_recorded(frame) for frame in frames),
    )


def _recorded(judged: JudgedFrame) -> RecordedFrame:
    frame = judged.frame
    return RecordedFrame(
        camera_id=frame.camera_id,
        frame_id=frame.frame_id,
        camera_timestamp_ns=frame.camera_timestamp_ns,
        received_at=frame.received_at,
        image=frame.image,
        score=judged.score,
        anomaly_map=judged.anomaly_map,
        map_box=judged.map_box,
    )
