"""Taking parts in: from trigger to frames, while the part before is judged.

    taking thread   trigger ──> row opened ──> frames ──┐
                                                        v   at most PARTS_IN_WORK
    the loop                                         judged ──> signalled ──> closed

A part's frames are asked for when its trigger has come, by its own trigger and with its own deadline, also
while the model still runs on another. Parts are handed over one by one and in order.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import structlog
from structlog.contextvars import bound_contextvars

from partgate.line._decide import prepare_frames
from partgate.line._finders import FrameFinder
from partgate.line._in_work import PartsInWork, TakenPart
from partgate.line._judge import Judge, Judges
from partgate.line._outages import Outages
from partgate.line._part import Trigger
from partgate.line._stages import OnStage, Stage, StageClock
from partgate.line._triggers import IdleSource, PacedSource, TriggerSource
from partgate.records import OpenPart, PartRecorder, new_id
from partgate_cameras import CameraError, Frame, ImageError, StrayFrame

log = structlog.get_logger(__name__)

DEADLINE_WITHOUT_RECIPE_MS = 5000
PARTS_IN_WORK = 3  # one judged or closed, one that waits with its frames, one that is taken in
JOIN_MARGIN_S = 5.0


class Taking:
    """The thread that owns triggers and cameras while a line runs; everything public is the loop's.

    Args:
        finders: one per camera.
        triggers: when a part comes.
        judges: asked who judges a part when it comes.
        recorder: opens its row.
        product: of the parts.
        on_stray: told of every frame that is given to no part, in this thread.
        on_stage: told when a part's frames are there, in this thread.
        kept: where this thread runs: entered by it.
    """

    def __init__(
        self,
        *,
        finders: Sequence[FrameFinder],
        triggers: TriggerSource,
        judges: Judges,
        recorder: PartRecorder,
        product: str | None,
        on_stray: Callable[[StrayFrame], None],
        on_stage: OnStage,
        kept: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._finders, self._triggers, self._judges = finders, triggers, judges
        self._recorder, self._product = recorder, product
        self._on_stray, self._on_stage, self._kept = on_stray, on_stage, kept
        most = triggers.parts_in_work if isinstance(triggers, PacedSource) else PARTS_IN_WORK
        self.parts = PartsInWork(most, overflow="block")
        self._outages = Outages()
        self._deadline_s = DEADLINE_WITHOUT_RECIPE_MS / 1000  # of the part taken in last, from its trigger
        self._has_turned = False
        self._thread: threading.Thread | None = None

    def start(self, stop: threading.Event, *, parts: int | None) -> None:
        """Begin with the next trigger; end with `stop`, so many parts, or a camera's last image."""
        first = self._recorder.next_trigger_id()
        self._thread = threading.Thread(
            target=self._run, args=(stop, first, parts), name="line-taking", daemon=True
        )
        self._thread.start()

    def turned(self) -> bool:
        """Return whether the thread has shown, since the last call, that it turns."""
        turned, self._has_turned = self._has_turned, False
        return turned

    def end(self) -> None:
        """Take no more parts in, and wait for the one that is being taken: it ends with its deadline."""
        self.parts.end()
        if self._thread is not None:
            self._thread.join(self._deadline_s + JOIN_MARGIN_S)
            if self._thread.is_alive():
                log.error("the thread that takes parts does not end; its part is closed by the next start")
        self._outages.finish()

    def between_parts(self) -> None:
        """Let cameras do what must not delay a part, and hand on the frames that are no part's.

        The thread's own, until it has ended.
        """
        self._has_turned = True
        for finder in self._finders:
            finder.between_parts()
            for stray in finder.take_strays():
                log.warning("orphan frame", camera=stray.camera_id, frame=stray.frame_id, why=stray.why)
                self._on_stray(stray)

    # In the thread.

    def _run(self, stop: threading.Event, first: int, parts: int | None) -> None:
        failure: Exception | None = None
        try:
            with self._kept():
                self._take_all(stop, first, parts)
        except _Ended:
            pass
        except Exception as error:
            # The top of this thread: raised in the loop's, which has to stop.
            log.exception("no parts can be taken in any more")
            failure = error
        finally:
            self.parts.finish(failure)

    def _take_all(self, stop: threading.Event, first: int, parts: int | None) -> None:
        if isinstance(self._triggers, IdleSource):
            self._triggers.on_idle(self._idle)
        taken = 0
        before: Judge | None = None
        while (parts is None or taken < parts) and not self._exhausted() and self.parts.has_room():
            trigger = self._triggers.wait(first + taken, stop)
            if trigger is None or self.parts.is_ending:
                return
            judge = self._judges.current()
            self._take(trigger, judge)
            self.between_parts()
            self._judges.require_device()
            if before is not None and judge is not before:
                # The runtime that was replaced is released by the next question who judges
                # (`Judges.current`): by then nothing may run on it any more.
                self.parts.has_room(1)
            taken, before = taken + 1, judge

    def _idle(self) -> None:
        if self.parts.is_ending:
            raise _Ended
        self.between_parts()
        self._judges.require_device()

    def _exhausted(self) -> bool:
        return any(finder.exhausted for finder in self._finders)

    def _take(self, trigger: Trigger, judge: Judge | None) -> None:
        """Open a part's row, have its frames taken, and hand it over, whatever becomes of them."""
        part = _opened(trigger, judge, self._product)
        with bound_contextvars(trigger=part.trigger_id, part=str(part.part_id)):
            taken = TakenPart(
                trigger=trigger,
                part=part,
                judge=judge,
                durable=self._recorder.open_part(part),
                deadline_ms=judge.recipe.deadline_ms if judge else DEADLINE_WITHOUT_RECIPE_MS,
                clock=StageClock(trigger.monotonic_s, self._on_stage),
            )
            self._deadline_s = taken.deadline_ms / 1000
            try:
                taken = self._with_frames(taken)
            except Exception as fault:
                self.parts.put(replace(taken, fault=fault))  # the loop closes its row, and stops
                raise
            self.parts.put(taken)

    def _with_frames(self, taken: TakenPart) -> TakenPart:
        """Return the part with its frames, and the first camera's error.

        Every camera is asked, also after one has failed: each trigger costs each its frame, or the next
        part would get this one's from those that were not asked.
        """
        if taken.trigger.refused is not None:
            for finder in self._finders:
                finder.pass_over(taken.trigger)
            return taken
        frames: list[Frame] = []
        first: CameraError | ImageError | None = None
        for finder in self._finders:
            try:
                frames.append(finder.frame_for(taken.trigger, taken.deadline_s))
            except (CameraError, ImageError) as error:
                self._outages.missed(finder.camera_id, error)
                first = first or error
            else:
                self._outages.arrived(finder.camera_id)
        if not self.parts.is_empty:  # else the loop does it at once, and the next trigger is seen at once
            prepare_frames(taken.judge, frames)
        taken.clock.passed(Stage.FRAMES)
        return replace(taken, frames=tuple(frames), error=first)


class _Ended(Exception):
    """The line has ended while its source waited for a trigger. Stays in here."""


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
