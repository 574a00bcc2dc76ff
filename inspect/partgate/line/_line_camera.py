"""A camera behind a trigger line: its frames come by themselves and are matched to triggers."""

import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import structlog

from partgate.line._finders import stray_of
from partgate.line._matching import (
    Arrival,
    Expired,
    Matched,
    Matcher,
    Orphan,
    OrphanCause,
    Result,
    Window,
)
from partgate.line._part import Trigger
from partgate_cameras import (
    CameraError,
    Frame,
    FrameOutOfOrder,
    FrameTimeout,
    StrayFrame,
    StreamingCamera,
)

SETTLE_S = 2.0  # GigE Vision resends packets for tens of milliseconds; a frame of 2 s ago has been given up
FLUSH_S = 2.0
SHORTEST_S = 0.001
STRAYS = 256

Content = Frame | CameraError

log = structlog.get_logger(__name__)


class KnownTriggers(Protocol):
    """Who knows the triggers that have come."""

    told_within_s: float
    """How long after its own time a trigger is told of, as a rule: so long a frame waits for it."""

    lag_s: float
    """And at the longest."""

    def ahead(self) -> Sequence[Trigger]:
        """Return the triggers that have come and were not given to the line yet, in order."""
        ...


class LineCamera:
    """Finds the frames of one camera behind a trigger line, by `Matcher`; the camera stays the caller's."""

    exhausted = False

    def __init__(
        self, camera: StreamingCamera, window: Window, triggers: KnownTriggers, *, settle_s: float = SETTLE_S
    ) -> None:
        self.camera_id = camera.camera_id
        self._camera, self._window, self._triggers = camera, window, triggers
        self._matcher: Matcher[Content] = Matcher(
            window, settle_s=max(settle_s, window.latest_s), trigger_lag_s=triggers.lag_s
        )
        self._known = 0  # the highest trigger id that the matcher was told
        self._ends: dict[int, Content] = {}  # of triggers whose turn has not come; as many as may wait
        self._strays: deque[StrayFrame] = deque(maxlen=STRAYS)  # the oldest goes; taken after each part
        self._restarts = camera.restarts

    def frame_for(self, trigger: Trigger, deadline_s: float) -> Frame:
        """Return the part's frame; see `FrameFinder`.

        Raises:
            FrameTimeout: none came that is certainly this part's.
            CameraError: it cannot be judged, or the camera is away.
        """
        self._take_up(trigger)
        until_s = min(deadline_s, trigger.monotonic_s + self._window.latest_s)
        while trigger.trigger_id not in self._ends:
            asked_s = time.monotonic()
            self._receive(max(SHORTEST_S, until_s - asked_s), in_part=asked_s < until_s)
            if asked_s >= until_s and trigger.trigger_id not in self._ends:
                self._give_up(trigger)
        end = self._ends.pop(trigger.trigger_id)
        if isinstance(end, CameraError):
            raise end
        return end

    def pass_over(self, trigger: Trigger) -> None:
        """Have the matcher know of a part that is not judged; its frame becomes a stray."""
        self._take_up(trigger)
        self._matcher.give_up(trigger.trigger_id)

    def between_parts(self) -> None:
        """Take in what has come; flush the camera where counting says nothing any more."""
        if self._matcher.out_of_step:
            self._flush()
        self._know()
        self._receive(SHORTEST_S, in_part=False)

    def take_strays(self) -> Sequence[StrayFrame]:
        """Return the frames that were given to no part, since the last call."""
        strays = (*self._camera.take_strays(), *self._strays)
        self._strays.clear()
        return strays

    def _take_up(self, trigger: Trigger) -> None:
        for number in [number for number in self._ends if number < trigger.trigger_id]:
            if isinstance(frame := self._ends.pop(number), Frame):
                why = f"NOT_JUDGED: trigger {number} was over before its frame was asked for"
                self._strays.append(stray_of(frame, why))
        self._tell(trigger)
        self._know()

    def _know(self) -> None:
        for trigger in self._triggers.ahead():
            self._tell(trigger)

    def _tell(self, trigger: Trigger) -> None:
        if trigger.trigger_id > self._known:
            self._known = trigger.trigger_id
            self._take(self._matcher.trigger(trigger.trigger_id, trigger.monotonic_s))

    def _receive(self, timeout_s: float, *, in_part: bool) -> None:
        """Take in what comes next, or that nothing came until now."""
        asked_s = time.monotonic()
        self._begin_anew_after_restart()
        try:
            # `grab` counts as a miss, once a part: three in a row, and the camera is opened anew.
            frame = self._camera.grab(timeout_s) if in_part else self._camera.next_frame(timeout_s)
        except FrameTimeout:
            self._know()
            self._take(self._matcher.advance(asked_s))
        except CameraError as error:
            self._refused(error)
        else:
            self._begin_anew_after_restart()
            arrival: Arrival[Content] = Arrival(
                content=frame,
                arrived_s=frame.arrived_s,
                lost_before=frame.lost_before,
                camera_time_ns=frame.camera_timestamp_ns,
            )
            self._arrive(arrival)

    def _refused(self, error: CameraError) -> None:
        if error.arrived_s is None:  # away: what was on its way does not come any more
            self._end_all(error)
        elif isinstance(error, FrameOutOfOrder):
            self._strays.append(self._without_pixels(f"{OrphanCause.OUT_OF_ORDER}: {error}"))
        else:
            self._arrive(Arrival(content=error, arrived_s=error.arrived_s, lost_before=error.lost_before))

    def _arrive(self, arrival: Arrival[Content]) -> None:
        # Until every trigger that it may belong to has been told of.
        ready_s = arrival.arrived_s - self._window.earliest_s + self._triggers.told_within_s
        time.sleep(max(0.0, ready_s - time.monotonic()))
        self._know()
        self._take(self._matcher.arrive(arrival))

    def _begin_anew_after_restart(self) -> None:
        if self._camera.restarts != self._restarts:
            self._restarts = self._camera.restarts
            self._end_all(FrameTimeout(f"camera {self.camera_id}: it was lost, and opened anew"))

    def _end_all(self, error: CameraError) -> None:
        for result in self._matcher.reset(time.monotonic()):
            if isinstance(result, Expired):
                self._ends[result.trigger_id] = error

    def _give_up(self, trigger: Trigger) -> None:
        self._matcher.give_up(trigger.trigger_id)
        waited_ms = (time.monotonic() - trigger.monotonic_s) * 1000
        self._ends[trigger.trigger_id] = FrameTimeout(
            f"camera {self.camera_id}: no frame that is certainly this part's in {waited_ms:.0f} ms"
        )

    def _flush(self) -> None:
        try:
            self._camera.flush(FLUSH_S)
        except CameraError as error:
            log.warning("camera cannot be flushed; tried again", camera=self.camera_id, error=str(error))
            return
        log.warning("frames and triggers were out of step; the camera was flushed", camera=self.camera_id)
        self._take(self._matcher.reset(time.monotonic()))

    def _take(self, results: Sequence[Result[Content]]) -> None:
        for result in results:
            match result:
                case Matched():
                    self._ends[result.trigger_id] = result.arrival.content
                case Expired():
                    self._ends[result.trigger_id] = FrameTimeout(f"camera {self.camera_id}: {result.why}")
                case Orphan():
                    self._orphan(result)

    def _orphan(self, orphan: Orphan[Content]) -> None:
        why, content = f"{orphan.cause}: {orphan.why}", orphan.arrival.content
        if isinstance(content, Frame):
            self._strays.append(stray_of(content, why))
        else:
            self._strays.append(self._without_pixels(f"{why} ({content})"))

    def _without_pixels(self, why: str) -> StrayFrame:
        return StrayFrame(
            camera_id=self.camera_id,
            frame_id=None,
            camera_timestamp_ns=None,
            received_at=datetime.now(UTC),
            why=why,
        )
