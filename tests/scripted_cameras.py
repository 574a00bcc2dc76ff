"""Cameras that do as a test says, in the process that they are made in.

A `ProcessCamera` takes `partial(scripted, ...)`. What must outlast a process lies as files in the
camera's folder: an act is done once, then its file says that it was done.
"""

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np

from partgate_cameras import (
    Camera,
    CameraUnavailable,
    FeatureError,
    Frame,
    FrameIncomplete,
    FrameTimeout,
    ImageError,
    ProcessCamera,
)
from partgate_cameras._genicam import GenicamDevice
from partgate_cameras._patience import Patience
from partgate_cameras._respawn import Pace
from partgate_station import Camera as CameraConfig
from partgate_station import FolderCamera, GenicamCamera, MissingInput, VirtualCamera

HEIGHT_PX, WIDTH_PX = 12, 16
LONG_S = 600

# A machine that is busy with other things must not look like a camera that hangs.
PATIENCE = Patience(
    open_s=30,
    hang_s=0.3,
    turn_s=0.1,
    doubt_turns=300,
    silent_turns=300,
    retry_every_s=0.05,
    pace=Pace(first_s=0.05, longest_s=0.2, quick=5),
)


def hold_the_lock() -> None:
    """Sleep in native code without giving Python's lock away, as a driver may."""
    ctypes.PyDLL(None).sleep(LONG_S)


def raise_bug() -> NoReturn:
    raise ZeroDivisionError("a driver's bug")


def refuse(error: Exception) -> NoReturn:
    raise error


ACTS: Mapping[str, Callable[[], object]] = {
    "hang": lambda: time.sleep(LONG_S),
    "hold": hold_the_lock,
    "late": lambda: time.sleep(0.6),
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "exit": lambda: os._exit(3),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "bug": raise_bug,
    "gone": lambda: refuse(CameraUnavailable("camera top is no longer connected")),
    "timeout": lambda: refuse(FrameTimeout("camera top: no whole frame")),
    "incomplete": lambda: refuse(FrameIncomplete("camera top: only a part arrived")),
    "damaged": lambda: refuse(ImageError("7.png: truncated")),
    "feature": lambda: refuse(FeatureError("camera top: ExposureTime: requested 1.0, is 2.0")),
    "missing": lambda: refuse(MissingInput("images: no such folder")),
    "log": lambda: logging.getLogger("driver").warning("3 frames lost"),
    "modules": lambda: refuse(CameraUnavailable(" ".join(sorted(sys.modules)))),
}


class Scripted:
    """Gives frames whose pixels are their number, but for what the script says."""

    exhausted = False

    def __init__(
        self, config: FolderCamera, next_frame: int, script: Mapping[str, str], *, always: bool
    ) -> None:
        self.camera_id = config.camera_id
        self._folder, self._next, self._script, self._always = config.folder, next_frame, script, always

    def open(self) -> None:
        if (self._folder / "away").exists():
            raise CameraUnavailable("camera top is controlled by another program")
        self._act("open")

    def grab(self, timeout_s: float) -> Frame:
        number = self._next
        self._next += 1
        act = self._act(str(number))
        shown = number - 1 if act in {"same bytes", "same frame"} else number
        height_px = HEIGHT_PX * 2 if act == "resize" else HEIGHT_PX
        image = np.full((height_px, WIDTH_PX), shown % 256, np.uint8)
        image[-1, -1] ^= 1  # a picture of nothing is refused
        return Frame(
            image=image,
            camera_id=self.camera_id,
            frame_id=number - 1 if act == "same frame" else number,
            camera_timestamp_ns=number * 1000,
            received_at=datetime.now(UTC),
        )

    def close(self) -> None:
        (self._folder / "closed").touch()

    def _act(self, when: str) -> str | None:
        act = self._script.get(when)
        done = self._folder / f"done-{when}"
        if act is None or (done.exists() and not self._always):
            return None
        done.touch()
        if act in ACTS:
            ACTS[act]()
        return act


def scripted(
    config: CameraConfig, next_frame: int, *, script: Mapping[str, str], folder: Path, always: bool = False
) -> Camera:
    """Return a camera that does `script[number]` when that frame is grabbed, `script["open"]` at open."""
    own = FolderCamera(kind="folder", camera_id=config.camera_id, folder=folder)
    return Scripted(own, next_frame, script, always=always)


def other_device_first(config: CameraConfig, next_frame: int, *, folder: Path) -> Camera:
    """Return a camera whose producer names another device first each time; note which one was wanted."""
    assert isinstance(config, GenicamCamera)
    made = len(list(folder.iterdir()))
    (folder / str(made)).write_text(f"{config.serial_number}")
    return GenicamDevice(config.model_copy(update={"serial_number": config.serial_number or str(made)}))


def camera_in_process(
    folder: Path, script: Mapping[str, str], *, always: bool = False, **waits: float
) -> ProcessCamera:
    """Return a scripted camera in a process, not yet open; quick to recover, slow to suspect."""
    return ProcessCamera(
        VirtualCamera(kind="virtual", camera_id="top"),
        make=partial(scripted, script=script, folder=folder, always=always),
        patience=replace(PATIENCE, **waits),  # type: ignore[arg-type] # numbers all of them
    )


def grab_when_back(camera: ProcessCamera) -> Frame:
    """Return the next frame, however many calls come to nothing while the camera is away."""
    give_up_s = time.monotonic() + 40
    while True:
        try:
            return camera.grab(20)
        except CameraUnavailable:
            assert time.monotonic() < give_up_s, "the camera never came back"
            time.sleep(0.02)
