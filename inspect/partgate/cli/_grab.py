"""Frames grabbed for a person: a picture, and what it says of light, focus and rate."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from partgate.cli._picture_facts import PictureFacts, picture_facts
from partgate_station import CannotWrite

if TYPE_CHECKING:
    from partgate_cameras import Frame
    from partgate_station import Camera

GREY_DIMENSIONS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Grabbed:
    """The last of some frames, and how fast they came."""

    frame: "Frame"
    facts: PictureFacts
    frames: int
    seconds: float
    """From the first frame to the last."""

    numbered: int
    """By how much the camera's own count rose from the first frame to the last."""

    @property
    def per_s(self) -> float | None:
        """Frames that were grabbed in a second; None of a single one."""
        return (self.frames - 1) / self.seconds if self.frames > 1 and self.seconds > 0 else None

    @property
    def camera_per_s(self) -> float | None:
        """Frames that the camera counted in a second; those that nobody asked for are among them."""
        return self.numbered / self.seconds if self.per_s is not None and self.numbered > 0 else None


def grab_frames(
    config: "Camera", count: int, *, timeout_s: float, on_frame: Callable[[str, int, int], None]
) -> Grabbed:
    """Grab frames through a process, as the line does; keep the last.

    Raises:
        CameraError: the camera cannot be opened, or a frame did not come.
    """
    from partgate_cameras import ProcessCamera

    with closing(ProcessCamera(config)) as camera:
        camera.open()
        first = frame = camera.grab(timeout_s)
        started_s = ended_s = time.monotonic()
        for number in range(1, count):
            on_frame("grabbing", number, count)
            frame = camera.grab(timeout_s)
            ended_s = time.monotonic()
    return Grabbed(
        frame=frame,
        facts=picture_facts(frame.image),
        frames=count,
        seconds=ended_s - started_s,
        numbered=frame.frame_id - first.frame_id,
    )


def write_png(image: NDArray[np.uint8], path: Path) -> None:
    """Write a picture whole or not at all, replacing what is there.

    Raises:
        CannotWrite: the file cannot be written.
    """
    import cv2

    shown = image if image.ndim == GREY_DIMENSIONS else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".png", shown)
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with draft.open("xb") as file:
            file.write(encoded.tobytes())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise CannotWrite(f"{path.absolute()}: cannot be written ({error.strerror})") from error
    finally:
        draft.unlink(missing_ok=True)


def grabbed_json(grabbed: Grabbed, path: Path) -> dict[str, Any]:
    """Return what was grabbed as programs rely on it."""
    image = grabbed.frame.image
    return {
        "camera": grabbed.frame.camera_id,
        "file": str(path.absolute()),
        "width_px": image.shape[1],
        "height_px": image.shape[0],
        "channels": 1 if image.ndim == GREY_DIMENSIONS else image.shape[2],
        "frame_id": grabbed.frame.frame_id,
        **asdict(grabbed.facts),
        "frames": grabbed.frames,
        "frames_per_s": grabbed.per_s,
        "camera_frames_per_s": grabbed.camera_per_s,
    }


def grabbed_text(grabbed: Grabbed, path: Path) -> Iterator[str]:
    """Yield what was grabbed, in lines for people."""
    image, facts = grabbed.frame.image, grabbed.facts
    kind = "grey" if image.ndim == GREY_DIMENSIONS else "colour"
    yield f"{path.absolute()}: {image.shape[1]}×{image.shape[0]} {kind}, frame {grabbed.frame.frame_id}"
    yield (
        f"grey levels {facts.darkest} to {facts.brightest}, mean {facts.mean:.1f};"
        f" {facts.black_share:.1%} black, {facts.saturated_share:.1%} saturated"
    )
    yield f"focus {facts.focus:.1f} (grows with sharpness; compare on the same scene)"
    if grabbed.per_s is not None:
        counted = f"; the camera counted {grabbed.camera_per_s:.1f} a second" if grabbed.camera_per_s else ""
        yield f"{grabbed.frames} frames in {grabbed.seconds:.2f} s: {grabbed.per_s:.1f} a second{counted}"
