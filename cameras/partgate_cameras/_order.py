"""What a camera's process is told when it starts."""

from collections.abc import Callable
from dataclasses import dataclass

from partgate_cameras._frame import Camera
from partgate_station import Camera as CameraConfig

MakeCamera = Callable[[CameraConfig, int], Camera]
"""From a camera's settings and the number of the next frame to the camera, not yet open. A function of a
module or a `partial` of one: it is pickled by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Which camera, and how to treat it. The only thing that is pickled, from the station to its child."""

    config: CameraConfig
    make: MakeCamera
    next_frame: int
    frozen_after: int
    """So many frames in a row with the same bytes are refused; 0 never."""

    shape: tuple[int, ...] | None
    """What every frame must have: that of the frames before the camera was lost. None: any."""

    one_size: bool
    """Whether the first frame's shape is every frame's."""

    retry_every_s: float | None
    """Pause before a camera that cannot be opened is tried again; None: it is not."""

    retry_for_s: float
    """After that the process ends: some producers see no device until their process is a new one."""

    beat_every_s: float
    log_level: int
    parent_pid: int
