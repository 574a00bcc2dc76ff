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
    match config:
        case GenicamCamera():
            return GenicamDevice(config)
        case FolderCamera():
            return FolderImages(config)
        case VirtualCamera():
            return VirtualLine(config, start_at=start_at)
