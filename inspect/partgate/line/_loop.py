"""The loop: one part after the other, from trigger to reject signal.

    trigger ──> row opened ──────────────────────────> row durable ─┐
        └─────> frames ──> judged ──> decided ──────────────────────┴─> signalled ──> row closed

The row is committed while the frames are taken and judged; the verdict leaves when both are done.
Whatever goes wrong on the way makes the part UNDECIDED with its reason; nothing makes it vanish.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import structlog
from structlog.contextvars import bound_contextvars

from partgate.line._confirmations import Confirmations, OnConfirmed
from partgate.line._decide import JudgedFrame, camera_decision, judge_frames, with_maps
from partgate.line._finders import FrameFinder, finder_of
from partgate.line._image_health import ImageHealthWatch
from partgate.line._judge import Judge, Judges
from partgate.line._outages import Outages
from partgate.line._outputs import Output
from partgate.line._part import Decision, Outcome, Reason, Trigger
from partgate.line._stages import OnStage, Stage, StageClock
from partgate.line._triggers import IdleSource, TriggerSource
from partgate.line._watch import GoldenWatch
from partgate.records import ClosedPart, OpenPart, PartRecorder, RecordedFrame, new_id
from partgate_cameras import Camera, CameraError, Frame, ImageError, StrayFrame
from partgate_station import Verdict

log = structlog.get_logger(__name__)

DEADLINE_WITHOUT_RECIPE_MS = 5000
SHORTEST_WAIT_FOR_ROW_S = 0.001


class Line:
    """Takes parts from trigger to reject signal.

    One thread, the one that calls `run`, owns cameras, judge and output.
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
            on_stage: told of every stage of every part.
            on_turn: called at the start, after every part and now and then while none is there: who is not
                called any more knows that the loop stands still.
            on_confirmed: told what became of each signal, by a thread of its own.
        """
        self._cameras = tuple(finder_of(camera) for camera in cameras)
        self._triggers, self._judges, self._on_stray = triggers, judges, on_stray
        self._recorder, self._output, self._product, self._watch = recorder, output, product, watch
        self._image_health = image_health
        self._on_stage, self._on_turn = on_stage, on_turn
        self._confirmations = Confirmations(recorder.close_part, on_confirmed=on_confirmed)
        self._outages = Outages()

    def run(
        self,
        stop: threading.Event,
        *,
        parts: int | None = None,
        on_outcome: Callable[[Outcome], None] = lambda outcome: None,
    ) -> int:
        """Judge parts until `stop` is set, `parts` are done, or a folder camera has no more images.

        What became of every signal is known when this returns.

        Returns:
            How many parts were judged.
        """
        try:
            return self._run(stop, parts, on_outcome)
        finally:
            self._outages.finish()
            self._confirmations.finish()

    def _run(self, stop: threading.Event, parts: int | None, on_outcome: Callable[[Outcome], None]) -> int:
        if isinstance(self._triggers, IdleSource):
            self._triggers.on_idle(self._between_parts)
        first = self._recorder.next_trigger_id()
        done = 0
        self._on_turn()
        while (parts is None or done < parts) and not self._exhausted():
            trigger = self._triggers.wait(first + done, stop)
            if trigger is None:
                break
            on_outcome(self._take(trigger))
            if self._watch is not None:
                self._watch.part_done(trigger.trigger_id)
            self._between_parts()
            done += 1
        if self._watch is not None:
            self._watch.check()  # of the last parts, too, it is known that the model was right
        return done

    def _between_parts(self) -> None:
        self._on_turn()
        for camera in self._cameras:
            camera.between_parts()
            for stray in camera.take_strays():
                log.warning("orphan frame", camera=stray.camera_id, frame=stray.frame_id, why=stray.why)
                self._on_stray(stray)

    def _exhausted(self) -> bool:
        return any(camera.exhausted for camera in self._cameras)

    def _take(self, trigger: Trigger) -> Outcome:
        judge = self._judges.current()
        if self._watch is not None:
            self._watch.take_up(judge, trigger.trigger_id)
        part = _opened(trigger, judge, self._product)
        with bound_contextvars(trigger=part.trigger_id, part=str(part.part_id)):
            return self._work_on(part, trigger, judge)

    def _work_on(self, part: OpenPart, trigger: Trigger, judge: Judge | None) -> Outcome:
        durable = self._recorder.open_part(part)
        clock = StageClock(trigger.monotonic_s, self._on_stage)
        deadline_ms = judge.recipe.deadline_ms if judge else DEADLINE_WITHOUT_RECIPE_MS
        deadline_s = trigger.monotonic_s + deadline_ms / 1000
        frames: tuple[JudgedFrame, ...] = ()
        try:
            frames, decision = self._judged(judge, trigger, deadline_s, clock)
        except Exception:
            decision = Decision.undecided(Reason.STATION_FAULT, "the station failed with the part in work")
            self._finish(_outcome(part, trigger, judge, decision), judge, frames, clock)
            raise
        try:
            decision = _once_durable(durable, decision, deadline_s)
        except Exception:
            # No row, no verdict: the gate is told to stay shut, and there is nothing to close.
            decision = Decision.undecided(Reason.NOT_RECORDED, "the part's row could not be written")
            self._output.signal(_outcome(part, trigger, judge, decision))
            raise
        clock.passed(Stage.DURABLE)
        outcome = _outcome(part, trigger, judge, _in_time(decision, deadline_s, deadline_ms))
        return self._finish(outcome, judge, frames, clock)

    def _judged(
        self, judge: Judge | None, trigger: Trigger, deadline_s: float, clock: StageClock
    ) -> tuple[tuple[JudgedFrame, ...], Decision]:
        if trigger.refused is None:
            frames, error = self._frames(trigger, deadline_s)
            clock.passed(Stage.FRAMES)
            judged = self._judge(judge, trigger, frames, error)
            clock.passed(Stage.JUDGED)
            return judged
        for camera in self._cameras:
            camera.pass_over(trigger)
        return (), Decision(verdict=Verdict.UNDECIDED, reason=trigger.refused)

    def _judge(
        self,
        judge: Judge | None,
        trigger: Trigger,
        frames: Sequence[Frame],
        error: CameraError | ImageError | None,
    ) -> tuple[tuple[JudgedFrame, ...], Decision]:
        watch = self._image_health
        unfit = None if watch is None else watch.observe(judge, frames, trigger.trigger_id)
        unjudged = tuple(JudgedFrame(frame=frame) for frame in frames)
        if error is not None:
            return unjudged, camera_decision(error)
        if self._watch is not None and (why := self._watch.why) is not None:
            return unjudged, Decision.undecided(Reason.MODEL_SUSPECT, why)
        if unfit is not None:
            return unjudged, Decision.undecided(Reason.IMAGE_HEALTH, unfit)
        return judge_frames(judge, frames)

    def _frames(
        self, trigger: Trigger, deadline_s: float
    ) -> tuple[Sequence[Frame], CameraError | ImageError | None]:
        """Return the part's frames, and the first camera's error.

        Every camera is asked, also after one has failed: each trigger costs each its frame, or the next
        part would get this one's from those that were not asked.
        """
        frames: list[Frame] = []
        first: CameraError | ImageError | None = None
        for camera in self._cameras:
            try:
                frames.append(camera.frame_for(trigger, deadline_s))
            except (CameraError, ImageError) as error:
                self._outages.missed(camera.camera_id, error)
                first = first or error
            else:
                self._outages.arrived(camera.camera_id)
        return frames, first

    def _finish(
        self, outcome: Outcome, judge: Judge | None, frames: Sequence[JudgedFrame], clock: StageClock
    ) -> Outcome:
        signalled = self._output.signal(outcome)
        clock.passed(Stage.SIGNALLED)
        try:
            frames = with_maps(judge, frames, outcome.decision.verdict)
        finally:
            self._confirmations.hand_over(_closed(outcome, frames), signalled)
        return outcome


def _opened(trigger: Trigger, judge: Judge | None, product: str | None) -> OpenPart:
    return OpenPart(
        part_id=new_id(),
        trigger_id=trigger.trigger_id,
        triggered_at=trigger.triggered_at,
        serial_number=trigger.serial_number,
        product=product,
        recipe_id=judge.recipe_id if judge else None,
        model_id=judge.model_id if judge else None,
        runtime=judge.runtime.name if judge else None,
    )


def _outcome(part: OpenPart, trigger: Trigger, judge: Judge | None, decision: Decision) -> Outcome:
    return Outcome(
        part_id=part.part_id,
        trigger_id=part.trigger_id,
        decision=decision,
        gate_open=judge is not None and judge.recipe.gate_opens(decision.verdict),
        latency_ms=(time.monotonic() - trigger.monotonic_s) * 1000,
    )


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
