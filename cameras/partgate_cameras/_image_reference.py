"""Holding frames against the images that their product was learned from."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from partgate_cameras._image_measures import (
    SKETCH_PX,
    ImageMeasures,
    measure_image,
    sketch_from_text,
    sketch_pitch_px,
    sketch_to_text,
)
from partgate_cameras._image_position import moved_by, spectrum, stretched
from partgate_station import ImageReference, PositionReference, Span

WHITE = 255.0
FEWEST_IMAGES = 5  # fewer do not say how far good images differ
AGREE_WITHIN = 0.1  # of the shorter side: images that lie farther apart do not show the same place

# The least that is left beyond what was seen, where the good images hardly differ.
LEAST_BRIGHTNESS = 0.1  # of the darkest: a lamp that warms up
LEAST_LEVELS = 5.0
LEAST_FOCUS = 1.5  # a factor: a lens out of focus by a little makes it half or less
LEAST_POSITION = 0.02  # of the shorter side

GREY_BELOW, COLOURED_FROM = 0.5, 6.0  # levels that channels lie apart: a colour camera's noise lies between

MeasureName = Literal["brightness", "focus", "position"]
MEASURES: tuple[MeasureName, ...] = ("brightness", "focus", "position")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One measure of a frame, and what it may be."""

    name: MeasureName
    value: float
    low: float
    high: float

    @property
    def is_outside(self) -> bool:
        """Whether it may not be so."""
        return not self.low <= self.value <= self.high

    def __str__(self) -> str:
        if self.name == "position":
            return f"position is {self.value:.0f} px off, at most {self.high:.0f} is allowed"
        return f"{self.name} is {self.value:.3g}, {self.low:.3g} to {self.high:.3g} is allowed"


def learn_reference(images: Iterable[NDArray[np.uint8]]) -> ImageReference | None:
    """Return how good images look; None where there are too few to say how they differ.

    Args:
        images: (h, w) or (h, w, 3) uint8 each; of one camera, or it is only known what they share.
    """
    measures = [measure_image(image) for image in images]
    if len(measures) < FEWEST_IMAGES:
        return None
    return ImageReference(
        images=len(measures),
        brightness=_span([one.brightness for one in measures]),
        focus=_span([one.focus for one in measures]),
        size_px=_common_size(measures),
        colour=_span([one.colour for one in measures]),
        position=_common_place(measures),
    )


def misfit(reference: ImageReference | None, measures: ImageMeasures) -> str | None:
    """Return why a frame is not of the kind that the product was learned from; None if it is, or may be.

    Resized to what the network sees, it would look like another part, or like none, and what a score then
    says nobody knows: frames of a quarter of the size were all accepted. Colour counts where there is no
    doubt: between grey and coloured lies what a colour camera makes of a grey part.
    """
    if reference is None:
        return None
    here = (measures.width_px, measures.height_px)
    if reference.size_px is not None and reference.size_px != here:
        return f"the frame is {_size(here)}, the product was learned from {_size(reference.size_px)}"
    if reference.colour is None:
        return None
    if measures.colour < GREY_BELOW and reference.colour.low >= COLOURED_FROM:
        return "the frame is grey, the product was learned from colour"
    if measures.colour >= COLOURED_FROM and reference.colour.high < GREY_BELOW:
        return "the frame is in colour, the product was learned from grey"
    return None


def fits_none(references: Sequence[ImageReference], measures: ImageMeasures) -> str | None:
    """Return why a frame is of none of the kinds that the product was learned from; None if it may be of one.

    For a picture of which it is not known which camera took it.
    """
    found = [misfit(reference, measures) for reference in references]
    return None if None in found else next(iter(found), None)


def mixes_colours(reference: ImageReference) -> bool:
    """Return whether some of the images a product was learned from were surely grey, some surely coloured."""
    colour = reference.colour
    return colour is not None and colour.low < GREY_BELOW and colour.high >= COLOURED_FROM


def _size(size_px: tuple[int, int]) -> str:
    return f"{size_px[0]}×{size_px[1]}"


def _common_size(measures: Sequence[ImageMeasures]) -> tuple[int, int] | None:
    sizes = {(one.width_px, one.height_px) for one in measures}
    return sizes.pop() if len(sizes) == 1 else None


def _span(values: Sequence[float]) -> Span:
    return Span(low=round(min(values), 6), high=round(max(values), 6))


def _common_place(measures: Sequence[ImageMeasures]) -> PositionReference | None:
    """Return the sketch that the images share; each is held against that of the others, not its own."""
    first = measures[0]
    sketches = [one.sketch for one in measures if one.sketch is not None]
    if _common_size(measures) is None or len(sketches) < len(measures):
        return None
    total = np.zeros((SKETCH_PX, SKETCH_PX))
    for sketch in sketches:  # one evened at a time: those of 10,000 images together take 330 MB
        total += _evened(sketch)
    moves = [
        moved_by(spectrum(own), spectrum(total - own)) for own in (_evened(sketch) for sketch in sketches)
    ]
    farthest_px = max((math.inf if moved is None else _distance_px(moved, first)) for moved in moves)
    if farthest_px > AGREE_WITHIN * min(first.width_px, first.height_px):
        return None
    return PositionReference(
        sketch=sketch_to_text(stretched(total)),
        width_px=first.width_px,
        height_px=first.height_px,
        farthest_px=round(farthest_px, 3),
    )


def _evened(sketch: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return a sketch that weighs as much as any other, however bright it is."""
    values = sketch.astype(np.float64) - sketch.mean()
    evened: NDArray[np.float64] = values / max(float(values.std()), 1.0 / SKETCH_PX)
    return evened


def _distance_px(moved: tuple[float, float], frame: ImageMeasures) -> float:
    down, right = moved
    return math.hypot(down * sketch_pitch_px(frame.height_px), right * sketch_pitch_px(frame.width_px))


class ReferenceCheck:
    """Holds one camera's frames against a reference. For one thread.

    Args:
        reference: None: frames are measured, and nothing is said of them.
        margin: how far beyond what was seen among the good images a frame may go, in multiples of how
            far they differ from each other (and of a least difference, where they hardly do).
        names: which measures count; others are passed over.
    """

    def __init__(
        self, reference: ImageReference | None, *, margin: float, names: Sequence[str] = MEASURES
    ) -> None:
        self._position = None if reference is None else reference.position
        self._spectrum = None if self._position is None else spectrum(sketch_from_text(self._position.sketch))
        allowed = {} if reference is None else _allowed(reference, margin)
        self._allowed = {name: span for name, span in allowed.items() if name in names}

    def position_px(self, measures: ImageMeasures) -> float | None:
        """Return how far a frame has moved against the reference; None where that is not known."""
        place, sketch = self._position, measures.sketch
        if place is None or self._spectrum is None or sketch is None:
            return None
        if (place.width_px, place.height_px) != (measures.width_px, measures.height_px):
            return None
        moved = moved_by(spectrum(sketch), self._spectrum)
        return None if moved is None else _distance_px(moved, measures)

    def readings(self, measures: ImageMeasures, position_px: float | None) -> tuple[Reading, ...]:
        """Return each measure that can be told right from wrong, and what it may be."""
        values: Mapping[MeasureName, float | None] = {
            "brightness": measures.brightness,
            "focus": measures.focus,
            "position": position_px,
        }
        return tuple(
            Reading(name=name, value=value, low=span[0], high=span[1])
            for name, span in self._allowed.items()
            if (value := values[name]) is not None
        )


def _allowed(reference: ImageReference, margin: float) -> dict[MeasureName, tuple[float, float]]:
    bright, focus = reference.brightness, reference.focus
    levels = margin * max(bright.high - bright.low, LEAST_BRIGHTNESS * bright.low, LEAST_LEVELS)
    factor = max(focus.high / focus.low if focus.low else 1.0, LEAST_FOCUS) ** margin
    allowed: dict[MeasureName, tuple[float, float]] = {
        "brightness": (max(bright.low - levels, 0.0), min(bright.high + levels, WHITE)),
        "focus": (focus.low / factor, focus.high * factor),
    }
    if reference.position is not None:
        place = reference.position
        least_px = LEAST_POSITION * min(place.width_px, place.height_px)
        allowed["position"] = (0.0, place.farthest_px + margin * max(place.farthest_px, least_px))
    return allowed
