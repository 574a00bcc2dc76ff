"""A camera whose frames come from a video: a file, a USB camera, or a stream over the network."""

from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, model_validator

from partgate_station._camera_region import CameraRegion
from partgate_station._model import FileModel, Name
from partgate_station._secrets import masked

SCHEMES = ("http", "https", "rtmp", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp")


class VideoCamera(FileModel):
    """A video file, a USB camera, or a network stream."""

    kind: Literal["video"]
    camera_id: Name

    source: str = Field(min_length=1, repr=False)
    """A file (relative to the station file), a device such as `/dev/video0`, or an address such as
    `rtsp://viewer@10.0.0.7/stream1`. A password in it is never shown; better in `password_file`."""

    password_file: Path | None = None
    """A file with the password of the name in `source`; its last line break does not count. Relative to
    the station file."""

    options: dict[str, str] = Field(default_factory=dict, repr=False)
    """FFmpeg's options of the source, such as `video_size` and `framerate` of a USB camera."""

    colour: Literal["auto", "grey", "rgb"] = "auto"
    """`auto`: grey where the video has no colour. `grey` takes the brightness of a video in colour."""

    repeat: bool = False
    """Of a file: begin again after the last frame; otherwise the station stops there."""

    pace: Literal["trigger", "own"] = "trigger"
    """Of a file: `trigger` gives the next frame for each part; `own` plays it at its own rate from the first
    part on, and a part gets the next frame that is due."""

    region: CameraRegion | None = None
    """What is cut from every frame."""

    open_timeout_s: float = Field(default=5.0, gt=0, le=14)
    """For the source to answer and to show what it sends."""

    read_timeout_s: float = Field(default=2.0, gt=0, le=60)
    """A live source that sends nothing for so long is lost; it is opened again and again until it is back."""

    frozen_after: int = Field(default=3, ge=0, le=1000)
    """Of a live source, as of a `genicam` camera. 0 never."""

    earliest_ms: float = Field(default=0, ge=0, le=60_000)
    """Of a live source: how long after its trigger a frame that shows the part arrives at the earliest. A
    frame that comes sooner was taken before. Encoding and network often take 100 to 300 ms."""

    latest_ms: float | None = Field(default=None, gt=0, le=60_000)
    """And at the latest; without it, until the recipe's deadline."""

    @property
    def scheme(self) -> str | None:
        """Of an address; None of a file or a device."""
        scheme, found, _ = self.source.partition("://")
        return scheme.lower() if found else None

    @property
    def is_live(self) -> bool:
        """Whether frames come by themselves: from a device or the network."""
        return self.scheme is not None or self.source.startswith("/dev/")

    @property
    def shown(self) -> str:
        """The source as it may be shown and logged: without password and query."""
        if self.scheme is None:
            return self.source
        parts = urlsplit(self.source)
        user, _, host = parts.netloc.rpartition("@")
        netloc = f"{user.partition(':')[0]}@{host}" if user else host
        return masked(urlunsplit((parts.scheme, netloc, parts.path, "", "")))

    def address(self, password: str | None) -> str:
        """Return what to open; never to be shown.

        Args:
            password: from `password_file`; None: there is none.
        """
        if password is None:
            return self.source
        parts = urlsplit(self.source)
        user, _, host = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.scheme is not None and self.scheme not in SCHEMES:
            raise ValueError(f"source: {self.scheme}:// is not known; allowed are {', '.join(SCHEMES)}")
        if self.frozen_after == 1:
            raise ValueError("frozen_after: a single frame repeats nothing: give 2 or more, or 0 for never")
        if self.is_live and (self.repeat or self.pace != "trigger"):
            raise ValueError("repeat and pace are of a file; a live source goes on by itself")
        if self.latest_ms is not None and self.latest_ms < self.earliest_ms:
            raise ValueError(f"latest_ms ({self.latest_ms:g}) is before earliest_ms ({self.earliest_ms:g})")
        user = urlsplit(self.source).netloc.rpartition("@")[0] if self.scheme is not None else ""
        if self.password_file is not None and (not user or ":" in user):
            raise ValueError("password_file needs a source with a name and no password: rtsp://NAME@HOST/...")
        return self
