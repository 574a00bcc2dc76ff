"""Whether a station's frames look as those that its product was learned from."""

from collections.abc import Iterator, Mapping

from partgate.fitness._cameras import Seen
from partgate.fitness._check import Check, note, ok, unfit
from partgate_cameras import ImageMeasures, Reading, ReferenceCheck, measure_image, misfit
from partgate_station import ImageHealth, ImageReference, Recipe

UNKNOWN = "the recipe does not say how they should look"


def images(recipe: Recipe, limits: ImageHealth, seen: Mapping[str, Seen]) -> Iterator[Check]:
    """Hold each camera's frame against what learning saw.

    One frame outside is a note, not a fault: it may show an odd part. The station takes several for an alarm.
    One of another size, or in colour where grey was learned, is a fault: so are all that follow.
    """
    if not recipe.image_references:
        yield note("images", UNKNOWN, "learn the product again to have light, lens and mount watched")
        return
    for camera_id, each in seen.items():
        measures = each.frame.measures or measure_image(each.frame.image)
        reference = recipe.reference(camera_id)
        if "shape" in limits.watch and (why := misfit(reference, measures)) is not None:
            yield unfit(f"images {camera_id}", why, "set the camera as it was, or learn the product again")
            continue
        readings = _readings(reference, limits, measures)
        outside = [str(reading) for reading in readings if reading.is_outside]
        if outside:
            yield note(f"images {camera_id}", "; ".join(outside), "look at light, lens and mount")
        elif readings:
            yield ok(f"images {camera_id}", "as learned: " + ", ".join(_shown(one) for one in readings))


def _readings(
    reference: ImageReference | None, limits: ImageHealth, measures: ImageMeasures
) -> tuple[Reading, ...]:
    check = ReferenceCheck(reference, margin=limits.margin, names=limits.watch)
    return check.readings(measures, check.position_px(measures))


def _shown(reading: Reading) -> str:
    if reading.name == "position":
        return f"{reading.value:.0f} px off"
    return f"{reading.name} {reading.value:.3g} of {reading.low:.3g} to {reading.high:.3g}"
