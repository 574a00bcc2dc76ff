"""Parts that QA has decided on: which of them are to be learned, and what a candidate makes of them."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from sqlmodel import Session, col, select

from partgate.records import (
    Finding,
    Frame,
    ImageState,
    ImageStore,
    LearnedImage,
    Part,
    Review,
    latest_reviews,
)
from partgate.retraining._deferred import DeferredImages
from partgate.retraining._image_health import AT_A_TIME, UnfitParts
from partgate.retraining._images import PART_ORIGIN, some
from partgate.retraining._scores import for_json, score_images
from partgate.retraining._seen import lowest
from partgate_engines import Bundle
from partgate_engines.anomaly import Progress
from partgate_station import Recipe, Verdict

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedFrame:
    """A kept frame of a part that QA has decided on."""

    part_id: uuid.UUID
    station_id: str
    trigger_id: int
    image_sha256: str
    finding: Finding
    verdict: Verdict
    is_unfit: bool = False
    """Whether it did not look as learned: light, lens or mount were wrong, and nothing is learned from it."""

    @property
    def origin(self) -> str:
        """What its image is called where it is learned."""
        return f"{PART_ORIGIN}{self.part_id}"

    @property
    def name(self) -> str:
        """What a person calls it: what the review site shows, and the id."""
        return f"trigger {self.trigger_id} of {self.station_id}, {self.origin}"


def reviewed_frames(session: Session, product: str) -> tuple[ReviewedFrame, ...]:
    """Return the kept frames of a product's reviewed parts; a part's latest review counts."""
    latest = latest_reviews()
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
            station_id=part.station_id,
            trigger_id=part.trigger_id,
            image_sha256=sha256 or "",
            finding=Finding(finding),
            verdict=Verdict(part.verdict or Verdict.UNDECIDED),
            is_unfit=unfit.holds(part.station_id, part.trigger_id, part.reason),
        )
        for part, sha256, finding in rows
    )


def found_defective(session: Session, parts: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return those of some parts whose latest review says defective, and what a person calls each.

    Of any product and of none: parts that were collected belong to none.
    """
    latest, known = latest_reviews(), sorted(parts)
    found: dict[uuid.UUID, str] = {}
    for first in range(0, len(known), AT_A_TIME):
        rows = session.exec(
            select(Part)
            .join(latest, latest.c.part_id == Part.id)
            .join(Review, col(Review.id) == latest.c.review_id)
            .where(col(Part.id).in_(known[first : first + AT_A_TIME]), Review.finding == Finding.DEFECTIVE)
            .order_by(col(Part.triggered_at))
        )
        found |= {part.id: f"trigger {part.trigger_id} of {part.station_id}" for part in rows}
    return found


def still_there(store: ImageStore, frames: Sequence[ReviewedFrame]) -> tuple[ReviewedFrame, ...]:
    """Return the frames whose images are in the store; the others are named in the log, and left out."""
    there = tuple(frame for frame in frames if store.has(frame.image_sha256))
    missing = [frame.origin for frame in frames if not store.has(frame.image_sha256)]
    if missing:
        log.warning("images of reviewed parts are missing from the image store; they are left out",
                    images=len(missing), of=len(frames), parts=some(missing))  # fmt: skip
    return there


def overturned(reviewed: Sequence[ReviewedFrame], snapshot: Sequence[LearnedImage]) -> list[ReviewedFrame]:
    """Return the frames of good parts the gate did not let pass and the model does not know yet."""
    known = {entry.image_sha256 for entry in snapshot}
    return [
        frame
        for frame in reviewed
        if frame.finding is Finding.GOOD
        and frame.verdict is not Verdict.ACCEPT
        and frame.image_sha256 not in known
    ]


def images_of(store: ImageStore, frames: Sequence[ReviewedFrame]) -> DeferredImages:
    """Return the frames' images, decoded as they are asked for."""
    return DeferredImages([(frame.origin, partial(store.get, frame.image_sha256)) for frame in frames])


def reviewed_report(
    store: ImageStore,
    before: tuple[Bundle, Recipe],
    after: tuple[Bundle, Recipe],
    reviewed: Sequence[ReviewedFrame],
    progress: Progress,
) -> dict[str, Any]:
    """Return the scores of reviewed parts under both models, and what each finding's parts become."""
    images = images_of(store, reviewed)
    scored = [
        score_images(bundle, images, recipe.regions, progress, step=f"scoring reviewed parts, {when}")
        for (bundle, recipe), when in ((before, "before"), (after, "after"))
    ]
    result: dict[str, Any] = {
        "scores": [
            {
                "part": str(frame.part_id),
                "station": frame.station_id,
                "trigger": frame.trigger_id,
                "sha256": frame.image_sha256,
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
            "flagged_before": flagged([scored[0][number] for number in chosen], before[1]),
            "flagged_after": flagged([scored[1][number] for number in chosen], after[1]),
        }
    return {"reviewed": result, **_defective(images, reviewed, scored[1], after[1])}


def known_defects_report(
    store: ImageStore,
    before: tuple[Bundle, Recipe],
    after: tuple[Bundle, Recipe],
    snapshot: Sequence[LearnedImage],
    progress: Progress,
) -> dict[str, Any]:
    """Return what both models make of the defective images that were given when the product was learned.

    Nothing where there are none; those whose files are gone from the store are left out.
    """
    known = [
        entry for entry in snapshot if entry.finding is Finding.DEFECTIVE and store.has(entry.image_sha256)
    ]
    if not known:
        return {}
    images = DeferredImages([(entry.origin, partial(store.get, entry.image_sha256)) for entry in known])
    old, new = (
        score_images(bundle, images, recipe.regions, progress, step=f"scoring known defects, {when}")
        for (bundle, recipe), when in ((before, "before"), (after, "after"))
    )
    return {
        "known_defects": {
            "images": len(known),
            "flagged_before": flagged(old, before[1]),
            "flagged_after": flagged(new, after[1]),
            "scores": [
                {"image": entry.origin, "before": for_json(was), "after": for_json(now)}
                for entry, was, now in zip(known, old, new, strict=True)
            ],
        }
    }


def flagged(scores: Sequence[float], recipe: Recipe) -> int:
    """Return how many scores are not accepted."""
    return sum(recipe.thresholds.verdict(score) is not Verdict.ACCEPT for score in scores)


def _defective(
    images: DeferredImages, reviewed: Sequence[ReviewedFrame], scores: Sequence[float], recipe: Recipe
) -> dict[str, Any]:
    """Return of the confirmed defects what learning says of defective images, as far as there are any."""
    chosen = [number for number, frame in enumerate(reviewed) if frame.finding is Finding.DEFECTIVE]
    if not chosen:
        return {}
    found = [scores[number] for number in chosen]
    return {
        "defective_images": len(chosen),
        "defective_flagged": flagged(found, recipe),
        "defective_scores": [for_json(score) for score in found],
        "defective_lowest": lowest(images.only(chosen), found),
    }
