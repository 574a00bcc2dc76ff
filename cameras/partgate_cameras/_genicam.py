"""A GenICam camera: which frame belongs to a trigger, and which frames were lost."""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from partgate_cameras._errors import (
    CameraError,
    CameraUnavailable,
    FrameFormatError,
    FrameIncomplete,
    FrameOutOfOrder,
    FrameTimeout,
    NoFrameYet,
)
from partgate_cameras._frame import Frame, StrayFrame
from partgate_cameras._gentl_stream import Delivery, Dropped, GentlStream, TriggerMode
from partgate_cameras._numbers import FrameNumbers, NumberNotRisen
from partgate_cameras._shelf import Arrived, Shelf
from partgate_station import GenicamCamera

PAUSE_S = 0.001  # between two looks: what a frame may lie unnoticed
LOOK_EVERY_S = {"hardware": 0.002, "software": 0.02}  # while nobody asks; the first is an arrival's error
AT_ONCE = 8  # frames taken in with one look: a camera faster than that must not keep us there
STRAYS = 64
UNSEEN_S = 0.5  # a device not looked into for so long has frames of which nobody knows when they came
SILENT_S = 0.5  # behind a trigger line: after so long without a frame the device is asked whether it is there

_logger = logging.getLogger(__name__)


class Stream(Protocol):
    """An open device, as `GentlStream` is one."""

    trigger_mode: TriggerMode
    serial_number: str | None
    incomplete: int

    def poll(self) -> Delivery | None:
        """Return the oldest frame that has arrived."""

    def drop_waiting(self) -> Sequence[Dropped]:
        """Drop the frames that have arrived, whole or not; return them without their pixels."""

    def fire(self) -> None:
        """Send the software trigger."""

    def prove_alive(self) -> None:
        """Have the device itself answer; CameraUnavailable where it does not, nothing where none can."""

    def restart(self) -> None:
        """Stop and start: no frame exposed before can come any more, and numbers begin anew."""

    def close(self) -> None:
        """Release the device."""


class GenicamDevice:
    """One camera behind a GenTL producer.

    What `grab` returns depends on the camera's TriggerMode and TriggerSource, which the station
    file sets by `trigger`, or like any feature:

    - Off: the camera runs freely. Frames that had arrived before `grab` show an earlier part and
      are dropped; the next whole one is returned. Those between are nobody's, and none of them is lost.
    - On, Software: `grab` sends the trigger and returns its frame. A frame that an earlier `grab` has
      given up is owed: if it comes before the next trigger it is dropped as a stray, and if it has not
      come the camera is stopped and started before the next trigger, so that it cannot come any more.
    - On, any line: frames come by themselves, one per edge. They are taken in as they come, stamped, and
      given in order; one that cannot be judged is given as its error, for it stands for a part, too, and
      so is one of which nobody knows when it came: its part's deadline would count from too late. Who
      asks must know which part it is: `grab` only hands out. While none comes the device is asked every half
      second whether it is there: a line at rest and a cable that was pulled look alike otherwise.
    """

    def __init__(
        self, config: GenicamCamera, *, connect: Callable[[GenicamCamera], Stream] = GentlStream
    ) -> None:
        self.camera_id = config.camera_id
        self.lost_frames = 0
        """Frames that the camera numbered and nobody got, in its lifetime here."""
        self.incomplete_frames = 0
        """Frames of which only a part arrived."""
        self._what = f"camera {config.camera_id}"
        self._config = config
        self._connect = connect
        self._stream: Stream | None = None
        self._numbers = FrameNumbers()
        self._frames_given = 0
        self._owed = 0  # software triggers whose frame has not come
        self._heard_s = 0.0  # when the device last gave or answered anything
        self._gone: str | None = None
        self._shelf = Shelf(overflow="leave")
        self._seen_empty_s = 0.0  # when the device was last looked into and had nothing more
        self._strays: deque[StrayFrame] = deque(maxlen=STRAYS)  # the oldest goes; each was logged

    @property
    def exhausted(self) -> bool:
        """Never: a device gives frames for as long as it is asked."""
        return False

    @property
    def serial_number(self) -> str | None:
        """Of the device that is open; None where there is none, or it has none."""
        return None if self._stream is None else self._stream.serial_number

    @property
    def look_every_s(self) -> float | None:
        """How often `look` has to be called while nobody asks for a frame; None: never."""
        return None if self._stream is None else LOOK_EVERY_S.get(self._stream.trigger_mode)

    def open(self) -> None:
        """Connect, set the features, and start streaming.

        Raises:
            CameraUnavailable: no such producer or device, or another program has it.
            FeatureError: a feature cannot be set as the station file says.
            FrameFormatError: the pixel format is not supported.
        """
        if self._stream is None:
            self._stream = self._connect(self._config)
            self._begin_anew()

    def grab(self, timeout_s: float) -> Frame:
        """Return the trigger's frame, see the class.

        Raises:
            FrameTimeout: none came in time; says how many came incomplete.
            FrameIncomplete: of a triggered camera: this part's frame is not whole.
            FrameFormatError: size or pixel format are not what they were at the start.
            FrameOutOfOrder: the camera's frame number did not rise.
            CameraUnavailable: the device has gone, or is not open.
        """
        stream = self._opened()
        if stream.trigger_mode == "hardware":
            return self._next(stream, timeout_s, FrameTimeout)
        incomplete_before = stream.incomplete
        try:
            self._prepare(stream)
            delivery = self._wait(stream, timeout_s)
        finally:
            self.incomplete_frames += stream.incomplete - incomplete_before
        frame = self._frame(delivery)
        self._owed = 0
        return frame

    def next_frame(self, timeout_s: float) -> Frame:
        """Return the oldest frame behind a trigger line; as `grab`, but that none came is no fault.

        Raises:
            NoFrameYet: none came in time.
            CameraError: as `grab`.
        """
        return self._next(self._opened(), timeout_s, NoFrameYet)

    def look(self) -> None:
        """Take in what has come since; to be called every `look_every_s` by who is not in `grab`."""
        stream = self._opened()
        if stream.trigger_mode == "hardware":
            self._take_in(stream)
        elif stream.trigger_mode == "software":
            self._drop(stream)

    def flush(self) -> None:
        """Drop what has come, and let nothing come that was exposed before."""
        stream = self._opened()
        while self._shelf:
            if isinstance(frame := self._shelf.take(), Frame):
                self._stray(frame.frame_id, frame.camera_timestamp_ns, "FLUSHED: the camera was flushed")
        for dropped in stream.drop_waiting():
            self._stray(dropped.frame_id, dropped.timestamp_ns, "FLUSHED: the camera was flushed")
        stream.restart()
        self._begin_anew()

    def take_strays(self) -> Sequence[StrayFrame]:
        """Return the frames that were dropped since the last call, without their pixels."""
        strays = tuple(self._strays)
        self._strays.clear()
        return strays

    def close(self) -> None:
        """Stop streaming and let the device go; safe to call twice, `open` works again."""
        stream, self._stream, self._gone = self._stream, None, None
        if stream is not None:
            stream.close()

    def _opened(self) -> Stream:
        if self._stream is None:
            raise CameraUnavailable(f"{self._what}: not open")
        if self._gone is not None:
            raise CameraUnavailable(self._gone)
        return self._stream

    def _begin_anew(self) -> None:
        self._numbers.restart()
        self._shelf.clear()
        self._owed = 0
        self._heard_s = self._seen_empty_s = time.monotonic()

    # Free running, or triggered by software: one `grab`, one frame.

    def _prepare(self, stream: Stream) -> None:
        self._drop(stream)
        if stream.trigger_mode != "software":
            # More came between the parts than the buffers hold, and the count may have wrapped since.
            self._numbers.pause()
            return
        if self._owed:
            _logger.warning("%s: a frame is owed; stopped and started, so that it cannot come", self._what)
            stream.restart()
            self._begin_anew()
        stream.fire()
        self._owed = 1

    def _drop(self, stream: Stream) -> None:
        for dropped in stream.drop_waiting():
            if stream.trigger_mode == "software":
                self._stray(dropped.frame_id, dropped.timestamp_ns, self._why_dropped(dropped))
            else:
                self._numbers.skip_to(dropped.frame_id)

    def _why_dropped(self, dropped: Dropped) -> str:
        """Say why a frame was there before its trigger; one that was owed is so no longer."""
        try:
            self.lost_frames += self._numbers.follow(dropped.frame_id)
        except NumberNotRisen as error:
            return f"OUT_OF_ORDER: {error}"
        owed, self._owed = self._owed, 0
        return "LATE: its part had been given up" if owed else "NO_TRIGGER: nobody asked for it"

    def _wait(self, stream: Stream, timeout_s: float) -> Delivery:
        deadline = time.monotonic() + timeout_s
        before = stream.incomplete
        while (delivery := stream.poll()) is None:
            incomplete = stream.incomplete - before
            if incomplete and stream.trigger_mode == "software":
                self._owed = 0
                raise self._incomplete()
            if time.monotonic() >= deadline:
                raise FrameTimeout(
                    f"{self._what}: no whole frame in {timeout_s:g} s ({incomplete} incomplete)"
                )
            time.sleep(PAUSE_S)
        return delivery

    # Behind a trigger line: frames come by themselves.

    def _next(self, stream: Stream, timeout_s: float, missing: type[FrameTimeout]) -> Frame:
        deadline = time.monotonic() + timeout_s
        self._take_in(stream)
        while not self._shelf:
            if time.monotonic() >= deadline:
                raise missing(f"{self._what}: no whole frame in {timeout_s:g} s (0 incomplete)")
            time.sleep(PAUSE_S)
            self._take_in(stream)
        oldest = self._shelf.take()
        if isinstance(oldest, CameraError):
            raise oldest
        return oldest

    def _take_in(self, stream: Stream) -> None:
        for _ in range(AT_ONCE):
            if not self._shelf.has_room:
                self._seen_empty_s = -math.inf  # what comes now waits in the device until there is room
                return
            arrived = self._arrival(stream)
            if arrived is None:
                self._seen_empty_s = time.monotonic()
                self._look_for_life(stream)
                return
            self._heard_s = time.monotonic()
            self._shelf.put(self._dated(arrived))

    def _dated(self, arrived: Arrived) -> Arrived:
        """Return what was taken in just now; of a frame that may have come long before, its error."""
        now_s = time.monotonic()
        if isinstance(arrived, Frame) and now_s - self._seen_empty_s > UNSEEN_S:
            lost = arrived.lost_before
            arrived = CameraError(
                f"{self._what}: frame {arrived.frame_id} waited in the device: when it came is not known"
            )
            arrived.lost_before = lost
        if isinstance(arrived, CameraError):
            arrived.arrived_s = now_s
        return arrived

    def _look_for_life(self, stream: Stream) -> None:
        """Ask a device that has been silent for long; once it does not answer it has gone, for good."""
        if self._shelf or time.monotonic() - self._heard_s < SILENT_S:
            return
        try:
            stream.prove_alive()
        except CameraUnavailable as error:
            self._gone = str(error)  # who asks next is told at once, and not after another wait for it
            raise
        self._heard_s = time.monotonic()

    def _arrival(self, stream: Stream) -> Arrived | None:
        """Return what came next: a frame, what stands for one that cannot be judged, or None."""
        before = stream.incomplete
        try:
            delivery = stream.poll()
            if delivery is not None:
                return self._frame(delivery)
        except FrameFormatError as error:
            self._numbers.arrived_unnumbered()
            return error
        except FrameOutOfOrder as error:
            return error
        if stream.incomplete == before:
            return None
        self.incomplete_frames += 1
        self._numbers.arrived_unnumbered()
        return self._incomplete()

    # Both.

    def _incomplete(self) -> FrameIncomplete:
        return FrameIncomplete(f"{self._what}: only a part of this trigger's frame arrived")

    def _frame(self, delivery: Delivery) -> Frame:
        arrived_s, received_at = time.monotonic(), datetime.now(UTC)
        try:
            lost = self._numbers.follow(delivery.frame_id)
        except NumberNotRisen as error:
            raise FrameOutOfOrder(f"{self._what}: {error}") from error
        if lost:
            self.lost_frames += lost
            _logger.warning("%s: %d frames lost before frame %s", self._what, lost, delivery.frame_id)
        self._frames_given += 1
        return Frame(
            image=delivery.image,
            camera_id=self.camera_id,
            frame_id=self._frames_given if delivery.frame_id is None else delivery.frame_id,
            camera_timestamp_ns=delivery.timestamp_ns,
            received_at=received_at,
            arrived_s=arrived_s,
            lost_before=lost,
        )

    def _stray(self, frame_id: int | None, timestamp_ns: int | None, why: str) -> None:
        _logger.warning("%s: frame %s is no part's: %s", self._what, frame_id, why)
        self._strays.append(
            StrayFrame(
                camera_id=self.camera_id,
                frame_id=frame_id,
                camera_timestamp_ns=timestamp_ns,
                received_at=datetime.now(UTC),
                why=why,
            )
        )
