"""Whether each camera of a station is a device of its own."""

from collections.abc import Iterator
from pathlib import PurePath

from partgate_station._station import GenicamCamera, StationConfig


def device_problems(station: StationConfig) -> Iterator[str]:
    """Yield which cameras would get a device by chance, each as `where: what, what to do`.

    A camera that names no device gets the first of its producer: whichever that is, and whichever of two
    cameras is opened first.
    """
    cameras = [
        (number, camera) for number, camera in enumerate(station.cameras) if isinstance(camera, GenicamCamera)
    ]
    for number, camera in cameras:
        others = [
            other
            for other, another in cameras
            if other != number and PurePath(another.producer).name == PurePath(camera.producer).name
        ]
        if others and not camera.names_device:
            yield (
                f"cameras[{number}].serial_number: required where cameras[{others[0]}] is of the producer"
                f" '{camera.producer}' as well, or user_defined_name; 'partgate cameras list' shows both"
            )
