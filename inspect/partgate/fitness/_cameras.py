"""The cameras of a station: opened one after the other as the line opens them, one frame of each."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from partgate.fitness._check import Check, note, ok, refused
from partgate_cameras import Camera, CameraError, Frame, FrameTimeout, ProcessCamera, survey_images
from partgate_station import Camera as CameraConfig
from partgate_station import FolderCamera, GenicamCamera, PartgateError, VideoCamera

GRAB_S = 5.0  # a camera of 5 Mpx on GigE with a long exposure takes tenths

GREY_DIMENSIONS = 2

MakeProcess = Callable[[CameraConfig], Camera]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A frame of a camera of the station."""

    frame: Frame
    grab_ms: float


def look_at_camera(
    config: CameraConfig, make: MakeProcess = ProcessCamera, *, grab_s: float = GRAB_S
) -> tuple[Check, Seen | None]:
    """Open a camera, grab one frame, close it; say what came, or what was in the way."""
    name = f"camera {config.camera_id}"
    try:
        images = _images(config)
        with closing(make(config)) as camera:
            camera.open()
            before_s = time.perf_counter()
            frame = camera.grab(grab_s)
            grab_ms = (time.perf_counter() - before_s) * 1000
    except FrameTimeout as error:
        return _no_frame(name, config, error), None
    except CameraError as error:
        return refused(name, error, _advice(config)), None
    except PartgateError as error:
        return refused(name, error), None
    return ok(name, f"{images}{frame_text(frame)} in {grab_ms:.0f} ms"), Seen(frame=frame, grab_ms=grab_ms)


def frame_text(frame: Frame) -> str:
    """Return a frame's size and kind, such as `1280×1024 grey`."""
    height_px, width_px = frame.image.shape[:2]
    return f"{width_px}×{height_px} {'grey' if frame.image.ndim == GREY_DIMENSIONS else 'colour'}"


def _advice(config: CameraConfig) -> str:
    if isinstance(config, VideoCamera):
        return "look at source, network, name and password"
    return "partgate cameras list shows what is there"


def _images(config: CameraConfig) -> str:
    """Return how many images a folder camera has to give; nothing of the others."""
    if not isinstance(config, FolderCamera):
        return ""
    survey = survey_images(config.folder)
    skipped = f" ({len(survey.skipped)} other files)" if survey.skipped else ""
    return f"{len(survey.images)} images{skipped}, the first "


def _no_frame(name: str, config: CameraConfig, error: FrameTimeout) -> Check:
    if isinstance(config, GenicamCamera) and config.is_line_triggered:
        return note(name, f"open, waits for its trigger line ({error})", "let a part pass, and check again")
    advice = "look at trigger and light; a camera that waits for a line gives none until a part passes"
    return refused(name, error, advice)
