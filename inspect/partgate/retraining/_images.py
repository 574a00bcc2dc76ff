"""Images that a product is learned from: read from files, or taken back out of the store."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sqlmodel import Session, col, select

from partgate.records import (
    Finding,
    Frame,
    ImageMissing,
    ImageState,
    ImageStore,
    LearnedImage,
    Part,
    Review,
    SnapshotImage,
)
from partgate.retraining._deferred import DeferredImages
from partgate_cameras import ImageError, ImageMeasures, measure_image, read_image, strays, survey_images
from partgate_engines.anomaly import GoodImage, Progress
from partgate_station import DataError, MissingInput

SHOWN_PROBLEMS, SHOWN_NAMES = 20, 5
# An image that a part brought, rather than a file, is named by the part.
PART_ORIGIN = "part:"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadImages:
    """The images of a folder and what was left out of it."""

    images: Sequence[GoodImage]
    """Decoded when they are asked for, beyond what stays in memory."""

    skipped: tuple[str, ...]
    """A sentence for each file that was left out because `skip_bad` was asked for."""


def read_images(source: Path, *, skip_bad: bool, of_one_kind: bool = False, progress: Progress) -> ReadImages:
    """Read all images of a folder (with its sub-folders), or one file.

    Args:
        source: the folder or file.
        skip_bad: leaves out what cannot be used.
        of_one_kind: images of another size or colour than nine in ten of them cannot be used either.
        progress: told of each.

    Raises:
        MissingInput: there is no such folder or file.
        DataError: there is no image; what is there instead is named. Or images cannot be used and
            `skip_bad` was not asked for; every one is named.
    """
    if not source.exists():
        raise MissingInput(f"{source.absolute()}: no such file or folder")
    survey = survey_images(source)
    if not survey.images:
        raise DataError(survey.nothing_found())
    paths = survey.images
    images = DeferredImages(
        [(str(path.relative_to(source.parent)), partial(read_image, path)) for path in paths]
    )
    usable: dict[int, ImageMeasures] = {}
    bad: list[str] = []
    progress(f"reading {source.name}", 0, len(paths))
    for number in range(len(paths)):
        try:
            usable[number] = measure_image(images[number].pixels)
        except ImageError as error:
            bad.append(str(error))
        progress(f"reading {source.name}", number + 1, len(paths))
    odd = strays([*usable.values()]) if of_one_kind else {}
    kept = [number for position, number in enumerate(usable) if position not in odd]
    bad += [f"{paths[[*usable][position]]}: {why}" for position, why in odd.items()]
    if bad and not skip_bad:
        raise DataError(refusal(bad, of=len(paths)))
    return ReadImages(images=images.only(kept), skipped=tuple(bad))


def refusal(bad: Sequence[str], *, of: int) -> str:
    """Return the message that names images which cannot be used, and the way out."""
    shown = "\n".join(f"  {problem}" for problem in bad[:SHOWN_PROBLEMS])
    more = f"\n  ... and {len(bad) - SHOWN_PROBLEMS} more" if len(bad) > SHOWN_PROBLEMS else ""
    return (
        f"{len(bad)} of {of} images cannot be used:\n{shown}{more}\n"
        "Mend or remove them, or leave them out with --skip-bad."
    )


def collected_images(session: Session, images: ImageStore, station_id: str) -> Sequence[GoodImage]:
    """Return what a station took while it had no recipe, less what a reviewer found defective.

    Raises:
        DataError: the station has collected nothing.
    """
    found_defective = select(Review.part_id).where(Review.finding == Finding.DEFECTIVE)
    rows = session.exec(
        select(Part.id, Frame.image_sha256)
        .join(Frame, col(Frame.part_id) == col(Part.id))
        .where(Part.station_id == station_id, col(Part.recipe_id).is_(None))
        .where(Frame.image_state == ImageState.KEPT, col(Part.id).not_in(found_defective))
        .order_by(col(Part.trigger_id), col(Frame.camera_id))
    ).all()
    if not rows:
        raise DataError(
            f"station '{station_id}' has collected no images; run it without a product,"
            " or with one that has no model yet, to collect some"
        )
    return DeferredImages(
        [(f"{PART_ORIGIN}{part}", partial(images.get, sha256 or "")) for part, sha256 in rows]
    )


def keep_snapshot(
    images: ImageStore, good: Sequence[GoodImage], defective: Sequence[GoodImage] = ()
) -> tuple[LearnedImage, ...]:
    """Store the pixels a model is learned from, so that it can be learned again without the files."""
    entries = chain(
        ((image, Finding.GOOD) for image in good), ((image, Finding.DEFECTIVE) for image in defective)
    )
    return tuple(
        LearnedImage(
            image_sha256=images.put(image.pixels),
            origin=image.origin,
            finding=finding,
            part_id=part_of(image.origin),
        )
        for image, finding in entries
    )


def part_of(origin: str) -> uuid.UUID | None:
    """Return the part that brought an image; None of one that comes from a file."""
    return uuid.UUID(origin.removeprefix(PART_ORIGIN)) if origin.startswith(PART_ORIGIN) else None


def snapshot_of(session: Session, model_id: str) -> tuple[LearnedImage, ...]:
    """Return the snapshot of a model, in the order of learning."""
    rows = session.exec(
        select(SnapshotImage).where(SnapshotImage.model_id == model_id).order_by(col(SnapshotImage.position))
    )
    return tuple(
        LearnedImage(
            image_sha256=row.image_sha256, origin=row.origin, finding=row.finding, part_id=row.part_id
        )
        for row in rows
    )


def good_images(images: ImageStore, entries: Sequence[LearnedImage]) -> DeferredImages:
    """Take the good images of a snapshot back out of the store.

    A model counts the images that it was learned from: none of them can be left out here. Reading one that
    is missing raises `ImageMissing`, which names all that are, and the way out.
    """
    good = [entry for entry in entries if entry.finding is Finding.GOOD]
    return DeferredImages([(entry.origin, partial(_learned_from, images, entry, good)) for entry in good])


def some(names: Sequence[str]) -> str:
    """Return names for a message, the first of many."""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more


def _learned_from(
    images: ImageStore, entry: LearnedImage, good: Sequence[LearnedImage]
) -> npt.NDArray[np.uint8]:
    try:
        return images.get(entry.image_sha256)
    except ImageMissing as error:
        missing = [one.origin for one in good if not images.has(one.image_sha256)]
        raise ImageMissing(
            f"{len(missing)} of {len(good)} good images to learn from are missing from the image store:"
            f" {some(missing)}; restore them from a backup, or take them out of the model with"
            " `partgate models forget PRODUCT --image NAME`"
        ) from error
