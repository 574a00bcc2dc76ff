"""A better model from what QA decided: overturned parts join the memory bank."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, func, select

from partgate.records import (
    Database,
    Finding,
    Frame,
    Home,
    ImageState,
    ImageStore,
    Keys,
    LearnedImage,
    Part,
    Review,
    StoreError,
    active,
)
from partgate.retraining._forget import forgotten_before
from partgate.retraining._image_health import UnfitParts
from partgate.retraining._images import PART_ORIGIN, good_images, snapshot_of
from partgate.retraining._learn import LearnedProduct, register
from partgate.retraining._scores import for_json, score_images
from partgate_engines import Bundle
from partgate_engines.anomaly import GoodImage, Learned, Progress, update
from partgate_station import DataError, Recipe, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedFrame:
    """A kept frame of a part that QA has decided on."""

    part_id: uuid.UUID
    image_sha256: str
    finding: Finding
    verdict: Verdict
    is_unfit: bool = False
    """Whether it did not look as learned: light, lens or mount were wrong, and nothing is learned from it."""


def reviewed_frames(session: Session, product: str) -> tuple[ReviewedFrame, ...]:
    """Return the kept frames of a product's reviewed parts; a part's latest review counts."""
    latest = (
        select(Review.part_id, func.max(Review.id).label("review_id"))  # UUIDv7: the highest is the latest
        .group_by(col(Review.part_id))
        .subquery()
    )
    rows = session.exec(
        select(Part, Frame.image_sha256, Review.finding)
        .join(latest, latest.c.part_id == Part.id)
        .join(Review, col(Review.id) == latest.c.review_id)
        .join(Frame, col(Frame.part_id) == col(Part.id))
        .where(Part.product == product, Frame.image_state == ImageState.KEPT)
        .order_by(col(Part.triggered_at), col(Frame.camera_id))
    )
    unfit = UnfitParts(session)
    return tuple(
        ReviewedFrame(
            part_id=part.id,
            image_sha256=sha256 or "",
            finding=Finding(finding),
            verdict=Verdict(part.verdict or Verdict.UNDECIDED),
            is_unfit=unfit.holds(part.station_id, part.trigger_id, part.reason),
        )
        for part, sha256, finding in rows
    )


def retrain_product(
    home: Home, database: Database, product: str, *, by: str, progress: Progress
) -> LearnedProduct:
    """Make a candidate from the active model and the good parts that QA overturned.

    The candidate keeps the memory bank and the graph of the active model; what is added carries the
    part's id as its origin. Its thresholds are calibrated anew on every good image there is.

    Raises:
        StoreError: the product has no active model.
        DataError: no part was overturned since the active model was made.
    """
    images, keys = ImageStore(home), Keys(home)
    with database.read() as session:
        current = active(session, product)
        if current is None:
            raise StoreError(
                f"'{product}' has no active model; learn it first: partgate learn {product} --good DIR"
            )
        snapshot = snapshot_of(session, current.model_id)
        known = reviewed_frames(session, product)
        forgotten = forgotten_before(session, current.model_id)
    reviewed = tuple(frame for frame in known if not frame.is_unfit)
    fresh = [f for f in _overturned(reviewed, snapshot) if f.image_sha256 not in forgotten]
    if not fresh:
        raise DataError(_nothing_to_learn(product, known))
    bundle = Bundle.open(home.bundles_path / current.model_id, trusted=keys.trusted())
    good = good_images(images, snapshot)
    added = [GoodImage(pixels=images.get(f.image_sha256), origin=f"{PART_ORIGIN}{f.part_id}") for f in fresh]
    learned = update(bundle, good=good, added=added, regions=current.recipe.regions, progress=progress)
    candidate = learned.save(home.bundles_path, product=product, signer=keys.signer(), good=(*good, *added))
    recipe = current.recipe.model_copy(update={"thresholds": learned.calibration.thresholds})
    entries = _with_added(snapshot, fresh)
    report = {
        "added_parts": sorted({str(frame.part_id) for frame in fresh}),
        "image_health_left_out": len(known) - len(reviewed),
        "kind": learned.kind,
        "bank_rows": len(learned.bank.rows),
        "calibration": learned.calibration.model_dump(mode="json"),
        "good_set": _good_set(bundle, current.recipe, learned, recipe, added=len(fresh)),
        "reviewed": _reviewed(images, (bundle, current.recipe), (candidate, recipe), reviewed, progress),
    }
    return database.write(
        lambda session: register(
            session,
            bundle=candidate,
            recipe=recipe,
            report=report,
            snapshot=entries,
            by=by,
            parent_id=bundle.id,
        )
    ).result()


def _overturned(reviewed: Sequence[ReviewedFrame], snapshot: Sequence[LearnedImage]) -> list[ReviewedFrame]:
    """Return the frames of good parts the gate did not let pass and the model does not know yet."""
    known = {entry.image_sha256 for entry in snapshot}
    return [
        frame
        for frame in reviewed
        if frame.finding is Finding.GOOD
        and frame.verdict is not Verdict.ACCEPT
        and frame.image_sha256 not in known
    ]


def _nothing_to_learn(product: str, reviewed: Sequence[ReviewedFrame]) -> str:
    parts = len({frame.part_id for frame in reviewed})
    unfit = len({frame.part_id for frame in reviewed if frame.is_unfit})
    left_out = f" ({unfit} of them are left out: their images did not look as learned)" if unfit else ""
    return (
        f"nothing new to learn for '{product}': {parts} reviewed parts with images{left_out},"
        " none of them a flagged part that QA found good and the active model does not know."
        " Overturn false rejects in `partgate review`"
    )


def _with_added(snapshot: Sequence[LearnedImage], fresh: Sequence[ReviewedFrame]) -> tuple[LearnedImage, ...]:
    """Return the candidate's snapshot: good images first, as the memory bank counts them."""
    good = [entry for entry in snapshot if entry.finding is Finding.GOOD]
    defective = [entry for entry in snapshot if entry.finding is Finding.DEFECTIVE]
    added = [
        LearnedImage(
            image_sha256=frame.image_sha256,
            origin=f"{PART_ORIGIN}{frame.part_id}",
            finding=Finding.GOOD,
            part_id=frame.part_id,
        )
        for frame in fresh
    ]
    return (*good, *added, *defective)


def _good_set(
    bundle: Bundle, recipe: Recipe, learned: Learned, new_recipe: Recipe, *, added: int
) -> dict[str, Any]:
    """Return how many of the good images are flagged, each scored without what it brought itself."""
    old_scores = bundle.manifest.calibration.scores
    new_scores = learned.held_out_scores.tolist()
    return {
        "images_before": len(old_scores),
        "flagged_before": _flagged(old_scores, recipe),
        "images_after": len(new_scores),
        "flagged_after": _flagged(new_scores, new_recipe),
        "flagged_after_of_the_old_ones": _flagged(new_scores[: len(new_scores) - added], new_recipe),
    }


def _reviewed(
    images: ImageStore,
    before: tuple[Bundle, Recipe],
    after: tuple[Bundle, Recipe],
    reviewed: Sequence[ReviewedFrame],
    progress: Progress,
) -> dict[str, Any]:
    """Return the scores of reviewed parts under both models, and what each finding's parts become."""
    pixels = [GoodImage(pixels=images.get(f.image_sha256), origin=str(f.part_id)) for f in reviewed]
    scored = [
        score_images(bundle, pixels, recipe.regions, progress, step=f"scoring reviewed parts, {when}")
        for (bundle, recipe), when in ((before, "before"), (after, "after"))
    ]
    result: dict[str, Any] = {
        "scores": [
            {
                "part": str(frame.part_id),
                "finding": frame.finding,
                "before": for_json(old),
                "after": for_json(new),
            }
            for frame, old, new in zip(reviewed, *scored, strict=True)
        ]
    }
    for finding in Finding:
        chosen = [number for number, frame in enumerate(reviewed) if frame.finding is finding]
        result[finding.lower()] = {
            "frames": len(chosen),
            "flagged_before": _flagged([scored[0][number] for number in chosen], before[1]),
            "flagged_after": _flagged([scored[1][number] for number in chosen], after[1]),
        }
    return result


def _flagged(scores: Sequence[float], recipe: Recipe) -> int:
    return sum(recipe.thresholds.verdict(score) is not Verdict.ACCEPT for score in scores)
