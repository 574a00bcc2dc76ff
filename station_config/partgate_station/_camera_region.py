"""A part of the picture, chosen where it is taken."""

from pydantic import Field

from partgate_station._model import FileModel

MOST_PX = 65_535


class CameraRegion(FileModel):
    """A rectangle of the sensor, in pixels after binning; of files and drawn parts, of the picture.

    Convention: x to the right, y down, the origin in the upper left corner.
    """

    x_px: int = Field(default=0, ge=0, le=MOST_PX)
    y_px: int = Field(default=0, ge=0, le=MOST_PX)
    width_px: int = Field(ge=1, le=MOST_PX)
    height_px: int = Field(ge=1, le=MOST_PX)

    def __str__(self) -> str:
        return f"{self.width_px}×{self.height_px} from ({self.x_px}, {self.y_px})"
