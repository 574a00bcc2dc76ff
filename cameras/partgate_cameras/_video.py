"""A camera whose frames come from a video file."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from partgate_cameras._errors import CameraUnavailable, EndOfImages, FrameTimeout, ImageError
from partgate_cameras._frame import Frame
from partgate_cameras._video_source import VideoSource, pixels_of, timestamp_ns
from partgate_station import VideoCamera

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class VideoFile:
    """Plays a file, once or again and again; each part gets a frame.

    At the pace of the triggers no frame is passed over. At its own, which begins with the first part, a
    part gets the next frame that is due, and those that nobody asked for in time are passed over.
    """

    def __init__(self, config: VideoCamera, *, next_frame: int = 0) -> None:
        """Prepare.

        Args:
            config: of a file.
            next_frame: its number in the file; after a restart the file goes on, at its own pace as well.
        """
        self.camera_id = config.camera_id
        self._what = f"camera {config.camera_id}"
        self._config, self._number = config, next_frame
        self._source: VideoSource | None = None
        self._ahead: VideoFrame | ImageError | None = None  # decoded already: whether there is one is known
        self._begun_s: float | None = None  # when the file's first frame would have been due

    @property
    def exhausted(self) -> bool:
        """Whether the last frame has been given and `repeat` is off."""
        return self._source is not None and self._ahead is None

    def open(self) -> None:
        """Open the file and decode its first frame.

        Raises:
            CameraUnavailable: it is not there, is no video, or has no frame.
            Unavailable: PyAV is not installed.
        """
        if self._source is None:
            self._source = VideoSource(self._config)
            self._source.skip_to(self._number)
            self._begun_s = None
            self._ahead = self._decoded()
            if self._ahead is None and self._number == 0:
                self.close()
                raise CameraUnavailable(f"{self._what}: {self._config.shown} has no frame in it")

    def grab(self, timeout_s: float) -> Frame:
        """Return the next frame, or at the file's own pace the next that is due.

        Raises:
            EndOfImages: the last one has been given and `repeat` is off.
            FrameTimeout: none is due in time.
            ImageError: the frame's data is damaged; the next call goes on after it.
        """
        if self._source is None:
            raise CameraUnavailable(f"{self._what}: not open")
        if self._config.pace == "own":
            self._wait_until_due(timeout_s)
        frame, number = self._ahead, self._number
        if frame is None:
            raise EndOfImages(f"{self._what}: all frames of {self._config.shown} given")
        self._advance()
        if isinstance(frame, ImageError):
            raise frame
        return Frame(
            image=pixels_of(frame, self._config),
            camera_id=self.camera_id,
            frame_id=number,
            camera_timestamp_ns=timestamp_ns(frame),
            received_at=datetime.now(UTC),
        )

    def close(self) -> None:
        """Let the file go; `open` goes on after the last frame given."""
        source, self._source, self._ahead = self._source, None, None
        if source is not None:
            source.close()

    def _wait_until_due(self, timeout_s: float) -> None:
        """Pass over the frames whose time is over; wait for the next one's."""
        asked_s = time.monotonic()
        while self._ahead is not None:
            due_s = self._due_s(asked_s)
            if due_s >= asked_s:
                if due_s > asked_s + timeout_s:
                    raise FrameTimeout(f"{self._what}: no frame is due within {timeout_s:g} s")
                time.sleep(max(0.0, due_s - time.monotonic()))
                return
            self._advance()

    def _due_s(self, now_s: float) -> float:
        """Return when the frame ahead is due; the first one that is asked for is due at once."""
        ahead = self._ahead
        time_ns = None if ahead is None or isinstance(ahead, ImageError) else timestamp_ns(ahead)
        if time_ns is None:  # damaged, or without a time: it stands for the frame that is due
            return now_s
        if self._begun_s is None:
            self._begun_s = now_s - time_ns / 1e9
        return self._begun_s + time_ns / 1e9

    def _advance(self) -> None:
        self._number += 1
        self._ahead = self._decoded()

    def _decoded(self) -> "VideoFrame | ImageError | None":
        """Return the next frame; after the last, where the file repeats, the first."""
        ahead = self._next()
        if ahead is None and self._config.repeat and self._source is not None:
            self._source.close()
            self._source = VideoSource(self._config)
            self._begun_s = None
            ahead = self._next()
        return ahead

    def _next(self) -> "VideoFrame | ImageError | None":
        try:
            return None if self._source is None else self._source.next_frame()
        except ImageError as error:
            return error
