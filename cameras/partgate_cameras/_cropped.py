"""A region of pictures whose camera cannot cut it out itself."""

from dataclasses import replace

import numpy as np

from partgate_cameras._errors import FrameFormatError
from partgate_cameras._frame import Camera, Frame, Provident
from partgate_station import CameraRegion


class Cropped:
    """Gives a camera's frames, of which only the region is left. Owns the camera."""

    def __init__(self, camera: Camera, region: CameraRegion) -> None:
        self.camera_id = camera.camera_id
        self._camera, self._region = camera, region

    @property
    def exhausted(self) -> bool:
        """As the camera says."""
        return self._camera.exhausted

    def open(self) -> None:
        """Open the camera."""
        self._camera.open()

    def grab(self, timeout_s: float) -> Frame:
        """Return the camera's frame, cut to the region.

        Raises:
            FrameFormatError: the region does not lie within the frame.
        """
        frame, region = self._camera.grab(timeout_s), self._region
        height_px, width_px = frame.image.shape[:2]
        right_px, bottom_px = region.x_px + region.width_px, region.y_px + region.height_px
        if right_px > width_px or bottom_px > height_px:
            raise FrameFormatError(
                f"camera {self.camera_id}: frame {frame.frame_id} is {width_px}×{height_px}, and the region"
                f" {region} does not lie within it"
            )
        cut = frame.image[region.y_px : bottom_px, region.x_px : right_px]
        return replace(frame, image=np.array(cut, order="C"), measures=None)

    def prepare(self) -> None:
        """Have the camera get its next frame ready, if it can."""
        if isinstance(self._camera, Provident):
            self._camera.prepare()

    def close(self) -> None:
        """Close the camera."""
        self._camera.close()
