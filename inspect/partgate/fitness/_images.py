"""Whether a station's frames look as those that its product was learned from."""

from collections.abc import Iterator, Mapping

from partgate.fitness._cameras import Seen
from partgate.fitness._check import Check, note, ok
from partgate_cameras import Reading, ReferenceCheck, measure_image
from partgate_station import ImageHealth, Recipe

UNKNOWN = "the recipe does not say how they should look"


def images(recipe: Recipe, limits: ImageHealth, seen: Mapping[str, Seen]) -> Iterator[Check]:
    """Hold each camera's frame against what learning saw.

    One frame outside is a note, not a fault: it may show an odd part. The station takes several for an alarm.
    """
    if not recipe.image_references:
        yield note("images", UNKNOWN, "learn the product again to have light, lens and mount watched")
        return
    for camera_id, each in seen.items():
        readings = _readings(recipe, limits, camera_id, each)
        outside = [str(reading) for reading in readings if reading.is_outside]
        if outside:
            yield note(f"images {camera_id}", "; ".join(outside), "look at light, lens and mount")
        elif readings:
            yield ok(f"images {camera_id}", "as learned: " + ", ".join(_shown(one) for one in readings))


def _readings(recipe: Recipe, limits: ImageHealth, camera_id: str, seen: Seen) -> tuple[Reading, ...]:
    check = ReferenceCheck(recipe.reference(camera_id), margin=limits.margin, names=limits.watch)
    measures = seen.frame.measures or measure_image(seen.frame.image)
    return check.readings(measures, check.position_px(measures))


def _shown(reading: Reading) -> str:
    if reading.name == "position":
        return f"{reading.value:.0f} px off"
    return f"{reading.name} {reading.value:.3g} of {reading.low:.3g} to {reading.high:.3g}"
