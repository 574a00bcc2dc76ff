"""Good images that come to a model: of parts that QA overturned, and of a folder that somebody gives."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partgate.records import Finding, ImageStore, LearnedImage
from partgate.retraining._contradictions import refuse_known_defects
from partgate.retraining._images import refusal
from partgate.retraining._reviewed import ReviewedFrame
from partgate.retraining._scores import for_json
from partgate_cameras import fits_none, measure_image
from partgate_engines.anomaly import GoodImage, Progress, odd_limit
from partgate_station import DataError, Recipe

_STEP = "looking at the images given"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderImages:
    """What of a folder can be learned, and why the rest is not."""

    images: tuple[LearnedImage, ...] = ()
    """Kept in the image store, in their order, each once."""

    known: int = 0
    """How many the model was learned from already, or came twice."""

    forgotten: tuple[str, ...] = ()
    """Origins of those that were taken out of a model before: a person had said that they are not good."""

    misfits: tuple[str, ...] = ()
    """A sentence for each that is of another kind than the product's images, and was to be left out."""


def keep_given(
    store: ImageStore,
    given: Sequence[GoodImage],
    *,
    recipe: Recipe,
    snapshot: Sequence[LearnedImage],
    defective: Mapping[str, str],
    forgotten: Collection[str],
    skip_bad: bool,
    progress: Progress,
) -> FolderImages:
    """Put images that somebody says are good into the store, but for those that are not to be learned.

    Args:
        store: where they go.
        given: decoded as they are asked for, once.
        recipe: in force: its regions and what its images look like.
        snapshot: of the model in force.
        defective: where images known to be defective come from, by their hashes in the store.
        forgotten: images that were taken out before, by their hashes in the store.
        skip_bad: leaves those out that are of another kind.
        progress: told of each.

    Raises:
        DataError: some are known to be defective, or of another kind than the product's images and not to
            be left out. Nothing was kept then.
    """
    refuse_known_defects(store, given, defective, progress)
    misfits = _misfits(given, recipe, progress)
    if misfits and not skip_bad:
        raise DataError(refusal(list(misfits.values()), of=len(given)))
    taken = {entry.image_sha256 for entry in snapshot}
    names = {entry.origin for entry in snapshot}
    images: list[LearnedImage] = []
    gone: list[str] = []
    fitting = [number for number in range(len(given)) if number not in misfits]
    for number in fitting:
        image = given[number]
        sha256 = store.put(image.pixels)
        if sha256 in forgotten:
            gone.append(image.origin)
        elif sha256 not in taken:
            # A name is what `partgate models forget` is told: two pictures may not share one.
            origin = f"{image.origin} ({sha256[:8]})" if image.origin in names else image.origin
            images.append(LearnedImage(image_sha256=sha256, origin=origin, finding=Finding.GOOD))
            taken.add(sha256)
            names.add(origin)
    return FolderImages(
        images=tuple(images),
        known=len(fitting) - len(images) - len(gone),
        forgotten=tuple(gone),
        misfits=tuple(misfits.values()),
    )


def _misfits(given: Sequence[GoodImage], recipe: Recipe, progress: Progress) -> dict[int, str]:
    """Return why images are of another kind than the product's, by their numbers."""
    found: dict[int, str] = {}
    for number in range(len(given)):
        image = given[number]
        why = fits_none(recipe.image_references, measure_image(image.pixels))
        if why is not None:
            found[number] = f"{image.origin}: {why}"
        progress(_STEP, number + 1, len(given))
    return found


def unlike_others(
    came: Sequence[LearnedImage],
    scores: NDArray[np.float32],
    reject: float,
    frames: Mapping[str, ReviewedFrame],
) -> list[dict[str, Any]]:
    """Return the images that come and are unlike the good ones known before, the worst first.

    By the rule that sets images aside in learning. These are learned all the same: a person has said that
    they are good, and is asked to look again.

    Args:
        came: the images that come.
        scores: (n,) held-out, of all good images; those of the images that come are the last.
        reject: the threshold in force; it decides where too few images are known for the rule.
        frames: of those that a part brought, by their origin.
    """
    before = len(scores) - len(came)
    limit = odd_limit(scores[:before])
    if not np.isfinite(limit):
        limit = reject
    found = [
        {
            "image": entry.origin,
            "station": frame.station_id if (frame := frames.get(entry.origin)) else None,
            "trigger": frame.trigger_id if frame else None,
            "score": for_json(float(score)),
            "limit": for_json(limit),
        }
        for entry, score in zip(came, scores[before:], strict=True)
        if score > limit
    ]
    return sorted(found, key=lambda one: one["score"], reverse=True)
