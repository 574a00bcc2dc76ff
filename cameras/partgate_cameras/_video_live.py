"""A camera whose frames come by themselves: from a USB device or over the network."""

import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from partgate_cameras._errors import CameraError, CameraUnavailable, FrameTimeout, ImageError
from partgate_cameras._frame import Frame
from partgate_cameras._video_lag import StreamLag
from partgate_cameras._video_source import NS_PER_S, VideoSource, pixels_of, timestamp_ns
from partgate_station import VideoCamera

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

JOIN_MARGIN_S = 1.0
MOST_LAG_S = 0.1  # beyond the quickest way of the last minute; decoding and networks differ by less

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrived:
    frame: "VideoFrame"
    number: int
    arrived_s: float
    received_at: datetime


class LiveVideo:
    """Reads on and on, so that nothing old waits in a buffer; `grab` returns the next frame to come.

    A frame that came before `grab` shows an earlier part. One that comes just after may do so, too, by as
    much as encoding and network take: the station file's `earliest_ms` says how much. One that took longer
    than that, as those which piled up while the network stood still, shows a moment before: it is given to
    nobody.
    """

    def __init__(self, config: VideoCamera) -> None:
        self.camera_id = config.camera_id
        self._what, self._config = f"camera {config.camera_id}", config
        self._changed = threading.Condition()
        self._newest: _Arrived | None = None
        self._lost: CameraError | None = None
        self._damaged = self._late = 0
        self._lag = StreamLag()
        self._is_late = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def exhausted(self) -> bool:
        """Never: a live source has no end, only a loss."""
        return False

    def open(self) -> None:
        """Open the source and begin to read.

        Raises:
            CameraUnavailable: it is not there, is no video, or does not answer in time.
            Unavailable: PyAV is not installed.
        """
        if self._thread is None:
            source = VideoSource(self._config)
            self._newest = self._lost = None
            self._lag, self._is_late = StreamLag(), False
            self._stop.clear()
            self._thread = threading.Thread(
                target=self._read, args=(source, self._stop), name=f"video-{self.camera_id}", daemon=True
            )
            self._thread.start()

    def grab(self, timeout_s: float) -> Frame:
        """Return the next frame that comes.

        Raises:
            FrameTimeout: none came in time; says how many came damaged, or late.
            CameraUnavailable: the source is lost, or not open.
        """
        asked_s = time.monotonic()
        with self._changed:
            damaged_before, late_before = self._damaged, self._late
            self._changed.wait_for(lambda: self._has_come(asked_s), timeout_s)
            newest, lost = self._newest, self._lost
            damaged, late = self._damaged - damaged_before, self._late - late_before
        if self._thread is None:
            raise CameraUnavailable(f"{self._what}: not open")
        if newest is not None and newest.arrived_s >= asked_s:
            return self._frame(newest)
        if lost is not None:
            raise lost
        raise FrameTimeout(
            f"{self._what}: no whole frame in {timeout_s:g} s ({damaged} damaged, {late} late)"
        )

    def close(self) -> None:
        """Stop reading, within the source's own time limit."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop.set()
            thread.join(self._config.read_timeout_s + JOIN_MARGIN_S)

    def _has_come(self, asked_s: float) -> bool:
        come = self._newest is not None and self._newest.arrived_s >= asked_s
        return come or self._lost is not None or self._thread is None

    def _frame(self, arrived: _Arrived) -> Frame:
        return Frame(
            image=pixels_of(arrived.frame, self._config),
            camera_id=self.camera_id,
            frame_id=arrived.number,
            camera_timestamp_ns=timestamp_ns(arrived.frame),
            received_at=arrived.received_at,
            arrived_s=arrived.arrived_s,
        )

    # In the thread.

    def _read(self, source: VideoSource, stop: threading.Event) -> None:
        number = 0
        try:
            while not stop.is_set():
                number += self._take(source, number)
        except CameraError as error:
            self._lose(error)
        except Exception as error:  # noqa: BLE001 - the top of this thread: the next `grab` says it
            self._lose(CameraUnavailable(f"{self._what}: {self._config.shown}: {type(error).__name__}"))
        finally:
            source.close()

    def _take(self, source: VideoSource, number: int) -> bool:
        """Take in a frame; return whether it was whole."""
        try:
            frame = source.next_frame()
        except ImageError:
            with self._changed:
                self._damaged += 1
            return False
        if frame is None:
            raise CameraUnavailable(f"{self._what}: {self._config.shown} has ended")
        arrived = _Arrived(
            frame=frame, number=number, arrived_s=time.monotonic(), received_at=datetime.now(UTC)
        )
        if source.tells_time and self._has_waited(arrived):
            with self._changed:
                self._late += 1
            return True
        with self._changed:
            self._newest = arrived
            self._changed.notify_all()
        return True

    def _has_waited(self, arrived: _Arrived) -> bool:
        """Return whether a frame was longer on its way than others; say it of the first of a row."""
        time_ns = timestamp_ns(arrived.frame)
        lag_s = self._lag.of(arrived.arrived_s, None if time_ns is None else time_ns / NS_PER_S)
        was_late, self._is_late = self._is_late, lag_s > MOST_LAG_S
        if self._is_late and not was_late:
            _logger.warning(
                "%s: %s: frames come %.1f s later than others; no part gets one until they have caught up",
                self._what,
                self._config.shown,
                lag_s,
            )
        return self._is_late

    def _lose(self, error: CameraError) -> None:
        with self._changed:
            self._lost = error
            self._changed.notify_all()
