"""Opening a video with PyAV (FFmpeg), and giving its frames one after the other.

What PyAV raises ends here. Its texts are left behind: they hold the address with its password.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from partgate_cameras._errors import CameraUnavailable, FrameFormatError, ImageError
from partgate_cameras._pixels import check_size
from partgate_station import Unavailable, VideoCamera

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

NS_PER_S = 1_000_000_000
NO_TIMESTAMPS = 0x80  # FFmpeg's AVFMT_NOTIMESTAMPS: such as Motion JPEG
PROBE_US = 1_000_000  # of a live source: FFmpeg's own 5 s would pass before the first frame

# What FFmpeg may open while it follows a source: a playlist must not lead it to other places.
_PROTOCOLS: Mapping[str, str] = {
    "http": "http,tcp",
    "https": "https,tls,tcp",
    "rtsp": "rtsp,rtp,udp,tcp",
    "rtsps": "rtsps,tls,rtp,udp,tcp",
    "rtmp": "rtmp,tcp",
    "rtp": "rtp,udp",
    "srt": "srt,udp",
}
# What a file may be: none that is a list of other files.
_FORMATS = (
    "asf,avi,dv,flv,gif,h264,hevc,ivf,jpeg_pipe,matroska,mjpeg,mov,mpeg,mpegts,mpegvideo,mxf,nut,ogg,png_pipe,"
    "yuv4mpegpipe"
)
_LIVE: Mapping[str, str] = {"fflags": "nobuffer+discardcorrupt", "analyzeduration": str(PROBE_US)}

# By class name, for PyAV is imported only where it is used.
_MEANINGS: Mapping[str, str] = {
    "ConnectionRefusedError": "refuses the connection",
    "ConnectionResetError": "has closed the connection",
    "DecoderNotFoundError": "is in a format that FFmpeg cannot decode here",
    "EOFError": "has ended",
    "ExitError": "did not answer in time",
    "FileNotFoundError": "is not there",
    "HTTPForbiddenError": "refuses access (403)",
    "HTTPNotFoundError": "has no such stream (404)",
    "HTTPUnauthorizedError": "wants a name and a password, or others (401)",
    "InvalidDataError": "is no video that FFmpeg can read, or did not answer in time",
    "OSError": "failed",
    "PermissionError": "must not be read by this user",
    "TimeoutError": "did not answer in time",
}


@contextmanager
def mapped(config: VideoCamera) -> Iterator[None]:
    """Turn whatever PyAV raises within the block into CameraUnavailable."""
    import av

    try:
        yield
    except (av.FFmpegError, OSError) as error:
        # From nothing: the original's text names the address with its password.
        raise CameraUnavailable(f"camera {config.camera_id}: {config.shown} {_meaning(error)}") from None


def _meaning(error: Exception) -> str:
    kinds = [kind.__name__ for kind in type(error).__mro__]
    known = next((_MEANINGS[kind] for kind in kinds if kind in _MEANINGS), "failed")
    said = getattr(error, "strerror", None)
    return f"{known} ({said})" if said else known


class VideoSource:
    """An open video. Used by one thread."""

    def __init__(self, config: VideoCamera) -> None:
        """Open it.

        Raises:
            CameraUnavailable: it is not there, is no video, or does not answer in time.
            Unavailable: PyAV is not installed.
        """
        self._config = config
        _require_pyav(config)
        password = _password(config)
        with mapped(config):
            self._container = _opened(config, password)
            try:
                self._stream = self._video()
            except BaseException:
                self._container.close()
                raise
        self._frames = self._decoded()

    @property
    def tells_time(self) -> bool:
        """Whether frames have times of their own; of some formats they are counted, at a rate by guess."""
        form = self._container.format
        return not form.flags & NO_TIMESTAMPS and not form.name.endswith("pipe")

    def next_frame(self) -> "VideoFrame | None":
        """Return the next frame, None when there is no more.

        Raises:
            CameraUnavailable: the source is lost, or sends nothing in time.
            ImageError: the data of a frame is damaged; the next call goes on after it.
        """
        with mapped(self._config):
            frame = next(self._frames, None)
        if isinstance(frame, str):
            raise ImageError(f"camera {self._config.camera_id}: {self._config.shown}: damaged: {frame}")
        return frame

    def skip_to(self, number: int) -> None:
        """Go on with a frame of a file by its number, from 0; of a changing rate, by its time."""
        rate, base = self._stream.average_rate, self._stream.time_base
        if number <= 0 or rate is None or base is None:
            return
        start = self._stream.start_time or 0
        wanted_s = float(number / rate)
        with mapped(self._config):
            self._container.seek(start + int(number / rate / base), stream=self._stream)
        before_s = wanted_s - float(0.5 / rate)
        self._frames = (
            frame
            for frame in self._decoded()
            if isinstance(frame, str) or frame.pts is None or float((frame.pts - start) * base) > before_s
        )

    def close(self) -> None:
        """Let it go."""
        self._container.close()

    def _video(self) -> "VideoStream":
        streams = self._container.streams.video
        if not streams:
            raise CameraUnavailable(
                f"camera {self._config.camera_id}: {self._config.shown} has no video in it"
            )
        stream = streams[0]
        check_size(stream.width or 1, stream.height or 1)
        # Threads that work on several frames hold them back, and tell of damage at a later one.
        stream.thread_type = "SLICE"
        # What a decoder would make up for damaged data must not be judged.
        stream.codec_context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
        return stream

    def _decoded(self) -> "Iterator[VideoFrame | str]":
        """Yield every frame, and of damaged data what is wrong with it."""
        import av

        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError as error:
                yield error.strerror or "cannot be decoded"
                continue
            yield from ("a part of the picture is missing" if frame.is_corrupt else frame for frame in frames)


def _require_pyav(config: VideoCamera) -> None:
    try:
        import av  # noqa: F401 - whether it is there
    except ImportError as error:
        raise Unavailable(
            f"camera {config.camera_id}: kind 'video' needs PyAV, which cannot be imported ({error});"
            " pip install 'partgate[video]'"
        ) from error


def _password(config: VideoCamera) -> str | None:
    if config.password_file is None:
        return None
    try:
        return config.password_file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise CameraUnavailable(
            f"camera {config.camera_id}: {config.password_file} cannot be read ({why})"
        ) from error


def _opened(config: VideoCamera, password: str | None) -> "InputContainer":
    import av

    options = {**(_LIVE if config.is_live else {}), **_limits(config), **config.options}
    return av.open(
        config.address(password),
        mode="r",
        format="v4l2" if config.is_live and config.scheme is None else None,
        options=options,
        timeout=(config.open_timeout_s, config.read_timeout_s),
    )


def _limits(config: VideoCamera) -> dict[str, str]:
    scheme = config.scheme
    if scheme is None:
        return {} if config.is_live else {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
    over_tcp = {"rtsp_transport": "tcp"} if scheme.startswith("rtsp") else {}  # UDP loses packets, silently
    return {"protocol_whitelist": _PROTOCOLS.get(scheme, scheme), **over_tcp}


def pixels_of(frame: "VideoFrame", config: VideoCamera) -> NDArray[np.uint8]:
    """Return a frame's pixels as (h, w) grey or (h, w, 3) RGB, owning their memory.

    Raises:
        FrameFormatError: FFmpeg does not turn its pixel format into one of these.
    """
    grey = config.colour == "grey" or (config.colour == "auto" and frame.format.name.startswith("gray"))
    try:
        pixels = frame.to_ndarray(format="gray" if grey else "rgb24")
    except ValueError as error:
        raise FrameFormatError(
            f"camera {config.camera_id}: pixel format {frame.format.name} cannot be read ({error})"
        ) from error
    return np.array(pixels, np.uint8, order="C")


def timestamp_ns(frame: "VideoFrame") -> int | None:
    """Return a frame's time in its stream."""
    if frame.pts is None or frame.time_base is None:
        return None
    return int(frame.pts * frame.time_base * NS_PER_S)
