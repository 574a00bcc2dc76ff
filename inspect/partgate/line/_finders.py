"""How a part comes by its frame, by kind of camera."""

import math
import time
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from partgate.line._part import Trigger
from partgate_cameras import Camera, Frame, FrameTimeout, StrayFrame

SHORTEST_GRAB_S = 0.001


@runtime_checkable
class FrameFinder(Protocol):
    """Knows which of a camera's frames is a part's. Used by the thread that takes parts in."""

    camera_id: str

    @property
    def exhausted(self) -> bool:
        """Whether there will be no more frames."""
        ...

    def frame_for(self, trigger: Trigger, deadline_s: float) -> Frame:
        """Return the part's frame.

        Args:
            trigger: of the part; each one after the one before.
            deadline_s: on the monotonic clock; later is too late.

        Raises:
            CameraError: there is none, or it cannot be judged.
            ImageError: the file that was its turn cannot be read.
        """
        ...

    def pass_over(self, trigger: Trigger) -> None:
        """Note a part that is not judged: its frame must not become another's."""
        ...

    def between_parts(self) -> None:
        """Do what must not delay a part; called after each one, and while none is there."""
        ...

    def take_strays(self) -> Sequence[StrayFrame]:
        """Return the frames that were given to no part, since the last call."""
        ...


class GrabbedFrames:
    """A camera that is asked for each frame when its part is there.

    Where a window is set, a part that has waited too long in the queue is not photographed any more: it is
    not in front of the camera, and what is there is another. So is one whose deadline is over, of a device;
    a file is asked all the same: its next image is this part's, however late, and must not become another's.
    """

    def __init__(
        self,
        camera: Camera,
        *,
        earliest_s: float = 0.0,
        latest_s: float | None = None,
        is_device: bool = False,
    ) -> None:
        """Prepare.

        Args:
            camera: stays the caller's.
            earliest_s: after its trigger a part's frame arrives at the earliest.
            latest_s: and at the latest; None: no such limit.
            is_device: it shows what is in front of it when it is asked, not what is next in a row.
        """
        self.camera_id = camera.camera_id
        self._camera, self._earliest_s = camera, earliest_s
        self._latest_s = math.inf if latest_s is None else latest_s
        self._is_device = is_device
        self._strays: list[StrayFrame] = []

    @property
    def exhausted(self) -> bool:
        """As the camera says."""
        return self._camera.exhausted

    def frame_for(self, trigger: Trigger, deadline_s: float) -> Frame:
        """Grab the frame; one from before the window shows no part, and is followed by another."""
        window_ends_s = trigger.monotonic_s + self._latest_s
        until_s = min(deadline_s, window_ends_s)
        # Of a device asked too late the frame is owed besides, and the stream is stopped and started for it.
        last_asked_s = until_s if self._is_device else window_ends_s
        while (now_s := time.monotonic()) <= last_asked_s:
            frame = self._camera.grab(max(SHORTEST_GRAB_S, until_s - now_s))
            if frame.arrived_s > window_ends_s:
                self._late(frame, trigger)
                break
            if frame.arrived_s >= trigger.monotonic_s + self._earliest_s:
                return frame
        if last_asked_s < window_ends_s:
            raise FrameTimeout(
                f"camera {self.camera_id}: no frame before the deadline, after which no part is photographed"
            )
        raise FrameTimeout(
            f"camera {self.camera_id}: no frame within {self._latest_s * 1000:g} ms of the trigger"
        )

    def pass_over(self, trigger: Trigger) -> None:
        """Nothing: no frame is taken for it."""

    def between_parts(self) -> None:
        """Nothing: no frame comes by itself."""

    def take_strays(self) -> Sequence[StrayFrame]:
        """Return those of a camera that keeps them."""
        take = getattr(self._camera, "take_strays", None)
        strays = (*(() if take is None else take()), *self._strays)
        self._strays.clear()
        return strays

    def _late(self, frame: Frame, trigger: Trigger) -> None:
        self._strays.append(
            stray_of(frame, f"LATE: it came when trigger {trigger.trigger_id}'s window was over")
        )


def stray_of(frame: Frame, why: str) -> StrayFrame:
    """Return a frame as one that is given to no part; `why` is a `CODE: sentence`."""
    return StrayFrame(
        camera_id=frame.camera_id,
        frame_id=frame.frame_id,
        camera_timestamp_ns=frame.camera_timestamp_ns,
        received_at=frame.received_at,
        why=why,
        image=frame.image,
    )


def finder_of(camera: "Camera | FrameFinder") -> FrameFinder:
    """Return what finds a camera's frames: itself, where it does."""
    return camera if isinstance(camera, FrameFinder) else GrabbedFrames(camera)
