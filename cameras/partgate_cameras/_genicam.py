"""A GenICam camera: which frame belongs to a trigger, and which frames were lost."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from partgate_cameras._errors import CameraUnavailable, FrameIncomplete, FrameOutOfOrder, FrameTimeout
from partgate_cameras._frame import Frame
from partgate_cameras._gentl_stream import Delivery, GentlStream, TriggerMode
from partgate_station import GenicamCamera

PAUSE_S = 0.001  # between two looks: what a frame may lie unnoticed
WRAP_FROM, WRAP_TO = 65_000, 500  # GigE Vision counts frames in 16 bit, from 65,535 to 1

_logger = logging.getLogger(__name__)


class Stream(Protocol):
    """An open device, as `GentlStream` is one."""

    trigger_mode: TriggerMode
    incomplete: int

    def poll(self) -> Delivery | None:
        """Return the oldest frame that has arrived."""

    def discard_waiting(self) -> int | None:
        """Drop the frames that have arrived."""

    def fire(self) -> None:
        """Send the software trigger."""

    def close(self) -> None:
        """Release the device."""


class GenicamDevice:
    """One camera behind a GenTL producer.

    What `grab` returns depends on the camera's TriggerMode and TriggerSource, which the station
    file sets like any feature:

    - Off: the camera runs freely. Frames that had arrived before `grab` show an earlier part and
      are dropped; the next whole one is returned.
    - On, Software: `grab` drops what had arrived, sends the trigger and returns its frame.
    - On, any line: one frame per part, in order. The oldest is returned. One that is incomplete was
      this part's, so it ends the trigger: skipping it would give this part the next one's frame.
    """

    def __init__(
        self, config: GenicamCamera, *, connect: Callable[[GenicamCamera], Stream] = GentlStream
    ) -> None:
        self.camera_id = config.camera_id
        self.lost_frames = 0
        """Frames that the camera numbered and nobody got, in its lifetime here."""
        self.incomplete_frames = 0
        """Frames of which only a part arrived."""
        self._config = config
        self._connect = connect
        self._stream: Stream | None = None
        self._last_id: int | None = None
        self._frames_given = 0

    @property
    def exhausted(self) -> bool:
        """Never: a device gives frames for as long as it is asked."""
        return False

    def open(self) -> None:
        """Connect, set the features, and start streaming.

        Raises:
            CameraUnavailable: no such producer or device, or another program has it.
            FeatureError: a feature cannot be set as the station file says.
            FrameFormatError: the pixel format is not supported.
        """
        if self._stream is None:
            self._stream = self._connect(self._config)
            self._last_id = None

    def grab(self, timeout_s: float) -> Frame:
        """Return the trigger's frame, see the class.

        Raises:
            FrameTimeout: none came in time; says how many came incomplete.
            FrameIncomplete: with a trigger line, this part's frame is not whole.
            FrameFormatError: size or pixel format are not what they were at the start.
            FrameOutOfOrder: the camera's frame number did not rise.
            CameraUnavailable: the device has gone, or is not open.
        """
        if self._stream is None:
            raise CameraUnavailable(f"camera {self.camera_id}: not open")
        incomplete_before = self._stream.incomplete
        try:
            self._prepare(self._stream)
            delivery = self._wait(self._stream, timeout_s)
        finally:
            self.incomplete_frames += self._stream.incomplete - incomplete_before
        received_at = datetime.now(UTC)
        self._frames_given += 1
        self._follow(delivery.frame_id)
        return Frame(
            image=delivery.image,
            camera_id=self.camera_id,
            frame_id=self._frames_given if delivery.frame_id is None else delivery.frame_id,
            camera_timestamp_ns=delivery.timestamp_ns,
            received_at=received_at,
        )

    def close(self) -> None:
        """Stop streaming and let the device go; safe to call twice, `open` works again."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _prepare(self, stream: Stream) -> None:
        if stream.trigger_mode != "hardware":
            dropped_id = stream.discard_waiting()
            if dropped_id is not None:
                self._last_id = dropped_id
        if stream.trigger_mode == "software":
            stream.fire()

    def _wait(self, stream: Stream, timeout_s: float) -> Delivery:
        deadline = time.monotonic() + timeout_s
        before = stream.incomplete
        while (delivery := stream.poll()) is None:
            incomplete = stream.incomplete - before
            if incomplete and stream.trigger_mode == "hardware":
                raise FrameIncomplete(f"camera {self.camera_id}: only a part of this trigger's frame arrived")
            if time.monotonic() >= deadline:
                raise FrameTimeout(
                    f"camera {self.camera_id}: no whole frame in {timeout_s:g} s ({incomplete} incomplete)"
                )
            time.sleep(PAUSE_S)
        return delivery

    def _follow(self, frame_id: int | None) -> None:
        """Count the numbers that were skipped; refuse one that did not rise."""
        last, self._last_id = self._last_id, frame_id
        if frame_id is None or last is None:
            return
        wrapped = last >= WRAP_FROM and frame_id <= WRAP_TO
        if frame_id <= last and not wrapped:
            raise FrameOutOfOrder(f"camera {self.camera_id}: frame id went {last}→{frame_id}")
        lost = max(0, (frame_id + 0xFFFF if wrapped else frame_id) - last - 1)
        if lost:
            self.lost_frames += lost
            _logger.warning("camera %s: %d frames lost before frame %d", self.camera_id, lost, frame_id)
