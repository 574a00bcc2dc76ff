"""How good images look, by camera; and parts whose images nothing is to be learned from."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence

from sqlmodel import Session, col, select

from partgate.records import Frame, ImageState, suspects
from partgate.retraining._images import part_of
from partgate_cameras import learn_reference, mixes_colours
from partgate_engines.anomaly import GoodImage
from partgate_station import ImageReference

CODE = "IMAGE_HEALTH:"
"""What the reason begins with of parts, also of suspect ones, whose frames did not look as learned."""

AT_A_TIME = 500  # parts asked for by one statement


def learn_references(session: Session, good: Sequence[GoodImage]) -> tuple[ImageReference, ...]:
    """Return how good images look: of each camera by itself where it is known of all which one took them.

    Empty where there are too few to say how they differ.
    """
    cameras = cameras_of(session, [image.origin for image in good])
    several = len(set(cameras)) > 1 and None not in cameras
    by_camera: dict[str | None, list[int]] = defaultdict(list)
    for position, camera_id in enumerate(cameras):
        by_camera[camera_id if several else None].append(position)
    found = {
        # One image at a time: the sequence may decode them as they are asked for.
        camera_id: learn_reference(good[position].pixels for position in positions)
        for camera_id, positions in by_camera.items()
    }
    return tuple(
        reference.model_copy(update={"camera_id": camera_id})
        for camera_id, reference in found.items()
        if reference is not None
    )


def mixtures(references: Sequence[ImageReference]) -> list[str]:
    """Return what of a station's frames will not be watched, because the good images are a mixture.

    Nothing of their position: that they show no common place says nothing of their being one kind.
    """
    told = []
    for reference in references:
        whose = "" if reference.camera_id is None else f" of camera {reference.camera_id}"
        if reference.size_px is None:
            told.append(
                f"the good images{whose} are of several sizes: no frame will be held against their size, or"
                " against where the part lies. Learn each kind as a product of its own, or leave out what"
                " does not belong"
            )
        if mixes_colours(reference):
            told.append(
                f"some of the good images{whose} are grey and some in colour: no frame will be held against"
                " their colour"
            )
    return told


def cameras_of(session: Session, origins: Sequence[str]) -> list[str | None]:
    """Return which camera took each image; None where that is not known, as of one that comes from a file.

    Frames of a part are in the order of their cameras' names, as `collected_images` gives them. Of a part of
    which some were left out it is not known which.
    """
    parts = [part_of(origin) for origin in origins]
    taken = _frames(session, [part for part in parts if part is not None])
    given = Counter(parts)
    whole = {part for part, cameras in taken.items() if len(cameras) == given[part] or len(set(cameras)) == 1}
    return [taken[part].pop(0) if part in whole else None for part in parts]


def _frames(session: Session, parts: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[str]]:
    taken: dict[uuid.UUID, list[str]] = defaultdict(list)
    known = list(dict.fromkeys(parts))
    for first in range(0, len(known), AT_A_TIME):
        rows = session.exec(
            select(Frame.part_id, Frame.camera_id)
            .where(col(Frame.part_id).in_(known[first : first + AT_A_TIME]))
            .where(Frame.image_state == ImageState.KEPT)
            .order_by(col(Frame.part_id), col(Frame.camera_id))
        )
        for part_id, camera_id in rows:
            taken[part_id].append(camera_id)
    return taken


class UnfitParts:
    """Parts whose images do not look as learned: those of an alarm, and those that led to it.

    Args:
        session: one that `Database.read` gave.
    """

    def __init__(self, session: Session) -> None:
        self._ranges = [
            (found.station_id, found.first_trigger_id, found.last_trigger_id)
            for found in suspects(session)
            if found.why.startswith(CODE)
        ]

    def holds(self, station_id: str, trigger_id: int, reason: str | None) -> bool:
        """Return whether a part is one of them."""
        if (reason or "").startswith(CODE):
            return True
        return any(
            station_id == station and first <= trigger_id <= last for station, first, last in self._ranges
        )
