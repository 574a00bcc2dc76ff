"""A camera as trigger: each frame that its line makes it take is a part."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from partgate.line._finders import stray_of
from partgate.line._part import Reason, Trigger
from partgate_cameras import (
    CameraError,
    CameraUnavailable,
    Frame,
    FrameOutOfOrder,
    FrameTimeout,
    StrayFrame,
    StreamingCamera,
)

TURN_S = 0.05
SHORTEST_S = 0.001
AWAY_S = 0.05  # between two questions to a camera that is away
TOLD_WITHIN_S = 0.02
LAG_S = 2.0  # as long as a frame can be on its way, a trigger can
PULLED = 64

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    trigger: Trigger
    frame: Frame | None


class CameraTriggers:
    """Source of triggers and finder of frames at once, for the camera whose line says that a part is there.

    A frame opens a trigger; so does each frame that the camera numbered and nobody got, for a part was
    there: UNDECIDED, as one whose frame cannot be judged. While the camera is away nobody can tell how many
    parts pass: an outage is one trigger, UNDECIDED, and said in the log.
    """

    told_within_s, lag_s = TOLD_WITHIN_S, LAG_S
    exhausted = False

    def __init__(self, camera: StreamingCamera, *, delay_s: float = 0.0) -> None:
        """Prepare.

        Args:
            camera: behind a trigger line; stays the caller's.
            delay_s: exposure and transfer, taken off a frame's arrival.
        """
        self.camera_id = camera.camera_id
        self._camera, self._delay_s = camera, delay_s
        self._parts: deque[_Part] = deque()  # at most PULLED, and the lost ones before them
        self._now: _Part | None = None
        self._last_id = 0
        self._is_away = self._is_stopped = False
        self._restarts = camera.restarts
        self._idle: Callable[[], None] = lambda: None
        self._strays: deque[StrayFrame] = deque(maxlen=PULLED)

    def on_idle(self, idle: Callable[[], None]) -> None:
        """Have something done now and then while no part is there, in the thread that waits."""
        self._idle = idle

    def wait(self, trigger_id: int, stop: threading.Event) -> Trigger | None:
        """Return the next part's trigger; None once `stop` is set and those that waited are declared."""
        self._last_id = trigger_id - 1
        while not stop.is_set():
            if not self._parts:
                self._pull(TURN_S)
            if self._parts:
                self._now = self._parts.popleft()
                self._last_id = trigger_id
                return replace(self._now.trigger, trigger_id=trigger_id)
            self._idle()
        return self._left_over(trigger_id)

    def ahead(self) -> Sequence[Trigger]:
        """Return the triggers that have come and wait, in order."""
        while len(self._parts) < PULLED and self._pull(SHORTEST_S):
            pass
        first = self._last_id + 1
        return [replace(part.trigger, trigger_id=first + number) for number, part in enumerate(self._parts)]

    def frame_for(self, trigger: Trigger, deadline_s: float) -> Frame:  # noqa: ARG002 - the protocol's
        """Return the frame that opened the trigger: it is there already."""
        part, self._now = self._now, None
        if part is None or part.frame is None:
            raise CameraError(f"camera {self.camera_id}: no frame opened trigger {trigger.trigger_id}")
        return part.frame

    def pass_over(self, trigger: Trigger) -> None:
        """Nothing: there is no frame to it."""

    def between_parts(self) -> None:
        """Nothing: what has come waits in the camera's process."""

    def take_strays(self) -> Sequence[StrayFrame]:
        """Return the frames that were given to no part, since the last call."""
        strays = (*self._camera.take_strays(), *self._strays)
        self._strays.clear()
        return strays

    def _left_over(self, trigger_id: int) -> Trigger | None:
        """Return a part that came before the stop; it is not judged any more, its frame is kept."""
        if not self._is_stopped:
            self._is_stopped = True
            self.ahead()
        if not self._parts:
            return None
        part, self._last_id = self._parts.popleft(), trigger_id
        why = "it waited when the station was told to stop"
        if part.frame is not None:
            self._strays.append(stray_of(part.frame, f"NOT_JUDGED: trigger {trigger_id}: {why}"))
        return replace(part.trigger, trigger_id=trigger_id, refused=f"{Reason.STATION_STOPPED}: {why}")

    def _pull(self, timeout_s: float) -> bool:
        """Take in what comes next; return whether anything did."""
        if self._camera.restarts != self._restarts:
            self._restarts = self._camera.restarts
            if not self._is_away:  # lost and opened anew while a part was in work
                return self._away(CameraUnavailable("it was lost, and opened anew"))
        try:
            frame = self._camera.next_frame(timeout_s)
        except FrameTimeout:
            return False
        except CameraError as error:
            return self._refused(error)
        self._back()
        self._lost(frame.lost_before, frame.arrived_s)
        self._parts.append(_Part(trigger=self._trigger(frame.arrived_s), frame=frame))
        return True

    def _refused(self, error: CameraError) -> bool:
        if error.arrived_s is None:
            return self._away(error)
        self._back()
        if isinstance(error, FrameOutOfOrder):
            log.warning("a frame came twice or out of its turn", camera=self.camera_id, error=str(error))
            self._strays.append(
                StrayFrame(
                    camera_id=self.camera_id,
                    frame_id=None,
                    camera_timestamp_ns=None,
                    received_at=datetime.now(UTC),
                    why=f"OUT_OF_ORDER: {error}",
                )
            )
            return True
        self._lost(error.lost_before, error.arrived_s)
        self._refuse(str(error), error.arrived_s)
        return True

    def _away(self, error: CameraError) -> bool:
        if not self._is_away and not self._is_stopped:
            self._is_away = True
            log.error("the triggering camera is away: parts may pass unseen", camera=self.camera_id,
                      error=str(error))  # fmt: skip
            self._refuse(f"the triggering camera is away, parts may pass unseen ({error})", time.monotonic())
            return True
        time.sleep(AWAY_S)
        return False

    def _back(self) -> None:
        if self._is_away:
            self._is_away, self._restarts = False, self._camera.restarts
            log.warning("the triggering camera is back", camera=self.camera_id)

    def _lost(self, frames: int, arrived_s: float) -> None:
        for _ in range(frames):
            self._refuse("frame lost: the camera numbered it, and it never came", arrived_s)

    def _refuse(self, why: str, arrived_s: float) -> None:
        trigger = replace(self._trigger(arrived_s), refused=f"{Reason.CAMERA_FAULT}: {why}")
        self._parts.append(_Part(trigger=trigger, frame=None))

    def _trigger(self, arrived_s: float) -> Trigger:
        at_s = arrived_s - self._delay_s
        ago = timedelta(seconds=time.monotonic() - at_s)
        return Trigger(trigger_id=0, triggered_at=datetime.now(UTC) - ago, monotonic_s=at_s)
