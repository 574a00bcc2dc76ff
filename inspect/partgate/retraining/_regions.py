"""Other limits for a recipe's regions: what they would mean, and putting them into force."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sqlmodel import Session, col, select

from partgate.records import (
    Active,
    Database,
    Finding,
    Frame,
    Home,
    ImageMissing,
    ImageState,
    ImageStore,
    Part,
    Review,
    latest_reviews,
)
from partgate.retraining._deferred import DeferredImages
from partgate.retraining._images import PART_ORIGIN, good_images, snapshot_of
from partgate.retraining._in_force import Change, put_into_force
from partgate.retraining._scores import score_images
from partgate.retraining._thresholds import Evidence
from partgate_engines import Bundle
from partgate_engines.anomaly import GoodImage, Progress, Witness, parts_of, worst_of_parts
from partgate_station import ConfigError, Region

CHANGED = "recipe.region"
"""What the trail calls a change of a region's limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescored:
    """Known parts, scored with other sensitivities."""

    evidence: Evidence
    unknown: tuple[str, ...]
    """What could not be scored, in a person's words."""


def with_sensitivity(now: Active, bundle: Bundle, name: str, sensitivity: float) -> tuple[Region, ...]:
    """Return the regions of a recipe, one of them with another sensitivity.

    Raises:
        ConfigError: there is no region of that name, it has that sensitivity already, the sensitivity is
            out of range, or the model cannot weigh regions.
    """
    region = now.recipe.region(name)
    least, most = Region.SENSITIVITIES
    if not least <= sensitivity <= most:
        raise ConfigError(
            f"region '{name}': --sensitivity {sensitivity:g}; allowed is {least:g} to {most:g}."
            " Nothing was changed"
        )
    if sensitivity == region.sensitivity:
        raise ConfigError(f"region '{name}' has sensitivity {sensitivity:g} already; nothing was changed")
    if not bundle.manifest.takes_sensitivities:
        raise ConfigError(
            f"region '{name}': the graph of model {bundle.id[:12]} was exported by an older partgate and may"
            " miss the worst patches where regions count differently; learn the product again"
        )
    return tuple(
        one.model_copy(update={"sensitivity": sensitivity}) if one is region else one
        for one in now.recipe.regions
    )


def change_regions(
    database: Database, regions: tuple[Region, ...], *, since: Active, by: str, reason: str
) -> int:
    """Put a recipe with other sensitivities into force; a running station takes it between two parts.

    Args:
        regions: those of the recipe, with other sensitivities.
        since: what was in force when they were chosen.
        by: who, for the trail.
        reason: why.

    Returns:
        The new recipe's version.

    Raises:
        RegistryError: another recipe came into force meanwhile.
    """
    before, after = (
        {region.name: region.weight for region in each if region.name}
        for each in (since.recipe.regions, regions)
    )
    recipe = since.recipe.model_copy(update={"regions": regions})
    change = Change(what=CHANGED, before=before, after=after, by=by, reason=reason)
    return database.write(lambda session: put_into_force(session, recipe, change, since=since)).result()


def rescored(
    home: Home,
    database: Database,
    now: Active,
    bundle: Bundle,
    *,
    regions: tuple[Region, ...],
    progress: Progress,
) -> Rescored:
    """Score the known parts of a product again, by its model in force, with other sensitivities.

    Args:
        home: where the images are.
        database: of the home.
        now: what is in force.
        bundle: its model's.
        regions: to score by.
        progress: called with a step's name, what is done of it and what there is.
    """
    store = ImageStore(home)
    with database.read() as session:
        good = good_images(store, snapshot_of(session, now.model_id))
        reviewed = _reviewed(session, now.recipe.product)
    held_out, why = _held_out(bundle, good, regions, progress)
    scores = _scored(store, bundle, reviewed, regions, progress)
    found = {finding: tuple(scores[finding].values()) for finding in Finding}
    return Rescored(
        evidence=Evidence(
            held_out=held_out,
            found_good=found[Finding.GOOD],
            found_defective=found[Finding.DEFECTIVE],
            left_out=0,
        ),
        unknown=(*why, *_lost(len({part for _, part, _, _ in reviewed}) - sum(map(len, found.values())))),
    )


def _lost(parts: int) -> tuple[str, ...]:
    why = "an image of each is not kept, or it is not located"
    return (f"{parts} reviewed parts cannot be scored: {why}",) if parts else ()


def _held_out(
    bundle: Bundle, good: Sequence[GoodImage], regions: tuple[Region, ...], progress: Progress
) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Return the good parts' scores, each by what others brought, or why they cannot be known."""
    kind = bundle.manifest.kind
    if kind != "patchcore":
        return (), (f"the good parts learned from cannot be scored again: {kind} keeps no patches of each",)
    witness, scores = Witness(bundle, regions), []
    try:
        for position in range(len(good)):
            scores.append(witness.held_out(good[position], position)[0])
            progress("scoring good parts", position + 1, len(good))
    except ImageMissing as error:
        return (), (f"the good parts learned from cannot be scored again: {error}",)
    known = np.isfinite(scores)
    parts = np.array(parts_of(bundle.manifest.good))
    worst = worst_of_parts(np.array(scores)[known], parts[known].tolist())
    return tuple(float(score) for score in worst), ()


Reviewed = tuple[Finding, Any, str, str]
"""Finding, part, image and camera of a frame; no image: it is not kept."""


def _reviewed(session: Session, product: str) -> list[Reviewed]:
    """Return the frames of a product's reviewed parts, kept or not; a part's latest review counts."""
    latest = latest_reviews()
    rows = session.exec(
        select(Review.finding, Frame)
        .join(latest, latest.c.review_id == col(Review.id))
        .join(Part, col(Part.id) == col(Review.part_id))
        .join(Frame, col(Frame.part_id) == col(Part.id))
        .where(Part.product == product)
    )
    return [
        (
            Finding(finding),
            frame.part_id,
            (frame.image_sha256 or "") if frame.image_state == ImageState.KEPT else "",
            frame.camera_id,
        )
        for finding, frame in rows
    ]


def _scored(
    store: ImageStore,
    bundle: Bundle,
    reviewed: Sequence[Reviewed],
    regions: tuple[Region, ...],
    progress: Progress,
) -> dict[Finding, dict[Any, float]]:
    """Return the worst score of every part all of whose frames are there and get one, by finding."""
    scores: dict[Finding, dict[Any, float]] = {finding: {} for finding in Finding}
    lost: set[Any] = {part for _, part, sha256, _ in reviewed if not (sha256 and store.has(sha256))}
    for camera in dict.fromkeys(camera for *_, camera in reviewed):
        own = [one for one in reviewed if one[3] == camera and one[1] not in lost]
        images = DeferredImages(
            [(f"{PART_ORIGIN}{part}", partial(store.get, sha)) for _, part, sha, _ in own]
        )
        seen = tuple(region for region in regions if region.camera_id in {None, camera})
        found = score_images(bundle, images, seen, progress, step=f"scoring reviewed parts, {camera}")
        for (finding, part, *_), score in zip(own, found, strict=True):
            if np.isfinite(score):
                scores[finding][part] = max(score, scores[finding].get(part, score))
    return scores
