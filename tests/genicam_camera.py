"""The GenICam camera that tests ask for."""

from partgate_station import GenicamCamera

FAST = {"AcquisitionFrameRate": 200.0, "PixelFormat": "Mono8", "Width": 320, "Height": 240}


def config(**settings: object) -> GenicamCamera:
    return GenicamCamera.model_validate(
        {"kind": "genicam", "camera_id": "top", "producer": "viky.cti", "features": FAST} | settings
    )
