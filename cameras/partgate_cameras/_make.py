"""From a camera's settings to the camera."""

from partgate_cameras._cropped import Cropped
from partgate_cameras._folder import FolderImages
from partgate_cameras._frame import Camera
from partgate_cameras._genicam import GenicamDevice
from partgate_cameras._video import VideoFile
from partgate_cameras._video_live import LiveVideo
from partgate_cameras._virtual import VirtualLine
from partgate_station import Camera as CameraConfig
from partgate_station import FolderCamera, GenicamCamera, VideoCamera, VirtualCamera


def make_camera(config: CameraConfig, *, start_at: int = 0) -> Camera:
    """Return the camera that the station file describes, not yet open.

    Args:
        config: of any kind.
        start_at: number of a virtual line's first part, >= 0, so that a home that is continued goes
            on where it stopped. A device counts by itself; folders and videos begin at their first image.
    """
    return resume_camera(config, first_frame(config, start_at))


def first_frame(config: CameraConfig, start_at: int) -> int:
    """Return the number of the first frame that `make_camera` gives; of a device it means nothing."""
    return 0 if isinstance(config, FolderCamera | VideoCamera) else start_at


def resume_camera(config: CameraConfig, next_frame: int) -> Camera:
    """Return the camera, not yet open, to go on with that frame where it does not count by itself."""
    if isinstance(config, GenicamCamera):
        return GenicamDevice(config)
    camera = _whole(config, next_frame)
    return camera if config.region is None else Cropped(camera, config.region)


def _whole(config: FolderCamera | VideoCamera | VirtualCamera, next_frame: int) -> Camera:
    match config:
        case FolderCamera():
            return FolderImages(config, next_image=next_frame)
        case VideoCamera():
            return LiveVideo(config) if config.is_live else VideoFile(config, next_frame=next_frame)
        case VirtualCamera():
            return VirtualLine(config, start_at=next_frame)


def is_device(config: CameraConfig) -> bool:
    """Return whether frames come from a sensor: of one size, and never again once they are lost."""
    return isinstance(config, GenicamCamera) or (isinstance(config, VideoCamera) and config.is_live)
