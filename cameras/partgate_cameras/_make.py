"""From a camera's settings to the camera."""

from partgate_cameras._folder import FolderImages
from partgate_cameras._frame import Camera
from partgate_cameras._genicam import GenicamDevice
from partgate_cameras._virtual import VirtualLine
from partgate_station import Camera as CameraConfig
from partgate_station import FolderCamera, GenicamCamera, VirtualCamera


def make_camera(config: CameraConfig, *, start_at: int = 0) -> Camera:
    """Return the camera that the station file describes, not yet open.

    Args:
        config: of any kind.
        start_at: number of a virtual line's first part, >= 0, so that a home that is continued goes
            on where it stopped. A device counts by itself; a folder begins at its first image.
    """
    return resume_camera(config, first_frame(config, start_at))


def first_frame(config: CameraConfig, start_at: int) -> int:
    """Return the number of the first frame that `make_camera` gives; of a device it means nothing."""
    return 0 if isinstance(config, FolderCamera) else start_at


def resume_camera(config: CameraConfig, next_frame: int) -> Camera:
    """Return the camera, not yet open, to go on with that frame where it does not count by itself."""
    match config:
        case GenicamCamera():
            return GenicamDevice(config)
        case FolderCamera():
            return FolderImages(config, next_image=next_frame)
        case VirtualCamera():
            return VirtualLine(config, start_at=next_frame)
