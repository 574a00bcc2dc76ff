"""Regions that belong to a camera, and the images that a model is learned from."""

from collections.abc import Sequence

from sqlmodel import Session

from partgate.retraining._image_health import cameras_of
from partgate_station import ConfigError, Region


def check_cameras_of_regions(session: Session, regions: Sequence[Region], origins: Sequence[str]) -> None:
    """Refuse regions of a camera unless every image is known to be that camera's.

    A line judges each camera's frames by its own regions. Learning looks at every image by all of them, so
    that bank and thresholds would be of places that the line never judges.

    Args:
        session: one that `Database.read` gave.
        regions: of the recipe.
        origins: of all images that the model is made of.

    Raises:
        ConfigError: says which regions, what is known of the images, and what to do.
    """
    own = {number: region.camera_id for number, region in enumerate(regions) if region.camera_id is not None}
    if not own:
        return
    taken = cameras_of(session, origins)
    known = sorted({camera for camera in taken if camera is not None})
    if None not in taken and known == sorted(set(own.values())) and len(known) == 1:
        return
    which = ", ".join(f"regions[{number}] to camera '{camera}'" for number, camera in own.items())
    raise ConfigError(
        f"{which} belong, and {_said_of(taken, known)}: learning looks at every image by all regions, a line"
        " at each camera's frames by its own, so the thresholds would be of other places. Leave camera_id out"
        " where the station has one camera, or all cameras are judged alike; else learn each camera as a"
        " product of its own, from what a station with that camera alone has collected (--from-station)"
    )


def _said_of(taken: Sequence[str | None], known: Sequence[str]) -> str:
    if None in taken:
        unknown = sum(camera is None for camera in taken)
        return f"of {unknown} of the {len(taken)} images it is not known which camera took them"
    return f"the images are those of {' and '.join(known)}"
