"""Cameras of a soak: as they are, but for what files in a folder tell them to do.

The orders lie as files because a camera lives in a process of its own, which comes and goes.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from partgate_cameras import Camera, Frame, FrameTimeout, make_camera
from partgate_station import Camera as CameraConfig

FAULTS = ("dark", "drop", "repeat")


def order(folder: Path, camera_id: str, fault: str, *, for_s: float) -> None:
    """Tell a camera to fail for so long."""
    draft = folder / f".{camera_id}-{fault}"
    draft.write_text(str(time.monotonic() + for_s))
    draft.rename(folder / f"{camera_id}-{fault}")


class FaultyCamera:
    """Passes everything on, but for frames that it was told to spoil."""

    def __init__(self, camera: Any, folder: Path) -> None:
        self._camera, self._folder = camera, folder
        self._last: Frame | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._camera, name)

    def grab(self, timeout_s: float) -> Frame:
        """Return the trigger's frame, or what was ordered instead."""
        frame: Frame = self._camera.grab(timeout_s)
        if self._told("drop"):
            raise FrameTimeout(f"camera {frame.camera_id}: frame {frame.frame_id} was lost on the way")
        last, self._last = self._last, frame
        if last is not None and self._told("repeat"):
            return replace(frame, image=last.image, frame_id=last.frame_id)
        if self._told("dark"):
            return replace(frame, image=np.zeros_like(frame.image))
        return frame

    def _told(self, fault: str) -> bool:
        path = self._folder / f"{self._camera.camera_id}-{fault}"
        try:
            until_s = float(path.read_text())
        except FileNotFoundError:
            return False
        if time.monotonic() > until_s:
            path.unlink(missing_ok=True)
            return False
        return True


def faulty(
    config: CameraConfig, next_frame: int, *, make: Callable[[CameraConfig, int], Camera], folder: Path
) -> Any:
    """Return a camera that can be told to fail; in its process."""
    return FaultyCamera(make(config, next_frame), folder)


def resumed(config: CameraConfig, next_frame: int) -> Camera:
    """Return the camera as a station makes it."""
    from partgate_cameras._make import resume_camera

    return resume_camera(config, next_frame)


def frames_of(config: CameraConfig, count: int) -> list[Any]:
    """Return so many images of a camera, to learn from."""
    camera = make_camera(config)
    camera.open()
    try:
        return [camera.grab(10).image for _ in range(count)]
    finally:
        camera.close()
