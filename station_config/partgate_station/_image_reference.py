"""How the images looked that a product was learned from: what a camera's frames are held against."""

import base64
import binascii
from typing import ClassVar, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from partgate_station._model import FileModel, Name

SKETCH_PX = 64
"""Width and height of a sketch: an image made small, to find by it whether it has moved."""


class Span(FileModel):
    """From the lowest to the highest that a measure was among the good images."""

    low: float = Field(ge=0)
    high: float = Field(ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low ({self.low:g}) is above high ({self.high:g})")
        return self


class PositionReference(FileModel):
    """Where things were in the picture."""

    SKETCH_PX: ClassVar[int] = SKETCH_PX
    """Width and height of a sketch."""

    sketch: str
    """The good images' common sketch, 64×64 grey levels, row by row, as base64."""

    width_px: int = Field(ge=SKETCH_PX)
    height_px: int = Field(ge=SKETCH_PX)
    """Size of the images; of another size a frame's place is not known."""

    farthest_px: float = Field(ge=0)
    """How far a good image had moved against the others at most."""

    @field_validator("sketch")
    @classmethod
    def _is_a_sketch(cls, sketch: str) -> str:
        try:
            found = len(base64.b64decode(sketch, validate=True))
        except binascii.Error as error:
            raise ValueError(f"the sketch is no base64 ({error})") from error
        if found != SKETCH_PX * SKETCH_PX:
            raise ValueError(f"the sketch has {found} pixels, expected {SKETCH_PX}×{SKETCH_PX}")
        return sketch


class ImageReference(FileModel):
    """How the good images looked. Brightness and focus are as `partgate_cameras.ImageMeasures` has them."""

    camera_id: Name | None = None
    """The camera that took them; None: it is not known, and every camera's frames are held against it."""

    images: int = Field(ge=1)
    """How many there were."""

    brightness: Span
    focus: Span
    size_px: tuple[PositiveInt, PositiveInt] | None = None
    """Width and height that all of them had; None: they differed, or it was not noted."""

    colour: Span | None = None
    """As `partgate_cameras.ImageMeasures` has it; None: it was not noted."""

    position: PositionReference | None = None
    """None: they do not show the same thing in the same place, so a frame's place says nothing."""
