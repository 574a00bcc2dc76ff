"""Cameras that may photograph a part which is not in front of them any more."""

from collections.abc import Iterator
from typing import TypeGuard

from partgate.fitness._check import Check, note
from partgate_station import (
    Camera,
    CameraTrigger,
    ContinuousTrigger,
    GenicamCamera,
    StationConfig,
    VideoCamera,
)


def windows(station: StationConfig) -> Iterator[Check]:
    """Note each camera that is asked for a picture of a part that may have waited, without a limit.

    A part of `continuous` does not wait: it comes when the station has time for it.
    """
    if isinstance(station.trigger, ContinuousTrigger):
        return
    for camera in station.cameras:
        if _is_asked(camera, station) and camera.latest_ms is None:
            yield note(
                f"window of {camera.camera_id}",
                f"camera '{camera.camera_id}' has no latest_ms: a part that has to wait is photographed until"
                " its deadline, and another may be in front of the camera by then",
                "write latest_ms = so many milliseconds after its trigger as a part is sure to be there",
            )


def _is_asked(camera: Camera, station: StationConfig) -> TypeGuard[GenicamCamera | VideoCamera]:
    """Return whether the station asks for each picture: frames of a trigger line or a file come in a row."""
    if isinstance(station.trigger, CameraTrigger) and station.trigger.camera_id == camera.camera_id:
        return False
    if isinstance(camera, GenicamCamera):
        return not camera.is_line_triggered
    return isinstance(camera, VideoCamera) and camera.is_live
