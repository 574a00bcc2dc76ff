"""A model that was made from the active one: what is said of it, and putting it beside that."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlmodel import Session

from partgate.records import Active, Finding, ImageStore, LearnedImage, audit, latest_recipe
from partgate.retraining._deferred import DeferredImages
from partgate.retraining._hand_set import HandSet, told
from partgate.retraining._images import PART_ORIGIN, good_images, snapshot_of
from partgate.retraining._learn import LearnedProduct, made_from, register
from partgate.retraining._seen import what_was_seen
from partgate_engines import Bundle
from partgate_engines.anomaly import GoodImage, Learned
from partgate_station import Recipe

RECALIBRATED = "recipe.recalibrate"
"""What the trail calls thresholds that a person had set and a new model has not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateImages:
    """The images that a candidate's page shows, decoded as they are asked for."""

    good: Sequence[GoodImage]
    """What it was learned from, in order."""

    forgotten: Sequence[GoodImage]
    defective: Sequence[GoodImage]
    """Of reviewed parts."""


def candidate_images(session: Session, store: ImageStore, made: LearnedProduct) -> CandidateImages:
    """Return the images of a candidate that `retrain_product` or `forget_images` made."""
    report = made.report
    scores = report.get("reviewed", {}).get("scores", ())
    defective = [one for one in scores if one["finding"] == Finding.DEFECTIVE]
    return CandidateImages(
        good=good_images(store, snapshot_of(session, made.model_id)),
        forgotten=_stored(store, [(one["image"], one["sha256"]) for one in report.get("forgotten", ())]),
        defective=_stored(store, [(f"{PART_ORIGIN}{one['part']}", one["sha256"]) for one in defective]),
    )


def _stored(store: ImageStore, named: Sequence[tuple[str, str]]) -> DeferredImages:
    return DeferredImages([(origin, partial(store.get, sha256)) for origin, sha256 in named])


def candidate_report(
    *,
    parent: Bundle,
    now: Active,
    learned: Learned,
    bundle: Bundle,
    good: Sequence[GoodImage],
    held: HandSet | None,
) -> dict[str, Any]:
    """Return what is said of any model that was made from another, ready for JSON.

    Args:
        parent: the model in force.
        now: what is in force.
        learned: what was made of it.
        bundle: as it was saved.
        good: the images it was learned from, in order.
        held: what a person had set the thresholds to.
    """
    return {
        "made_from": made_from(now),
        "kind": learned.kind,
        "good_images": len(learned.good),
        "bank_rows": len(learned.bank.rows),
        "calibration": learned.calibration.model_dump(mode="json"),
        "thresholds": {
            "before": now.recipe.thresholds.model_dump(),
            "after": learned.calibration.thresholds.model_dump(),
        },
        "hand_set": told(held, parent, learned),
        **what_was_seen(learned, bundle, good),
    }


def add_candidate(
    session: Session,
    *,
    bundle: Bundle,
    recipe: Recipe,
    report: dict[str, Any],
    snapshot: Sequence[LearnedImage],
    by: str,
    parent_id: str,
    reason: str,
) -> LearnedProduct:
    """Register a candidate with its recipe; thresholds that a person had set leave a row in the trail."""
    held = report["hand_set"]
    note = "" if held is None else f"; {_became_of(held)}"
    made = register(
        session,
        bundle=bundle,
        recipe=recipe,
        report=report,
        snapshot=snapshot,
        by=by,
        parent_id=parent_id,
        reason=f"{reason}{note}",
    )
    if held is not None:
        audit.append(
            session,
            who=by,
            what=RECALIBRATED,
            subject=f"recipe:{latest_recipe(session, made.model_id).key}",
            before=held,
            after=recipe.thresholds.model_dump(),
            why=_became_of(held),
        )
    return made


def _became_of(held: dict[str, Any]) -> str:
    if held["budget"] is not None:
        one_in = held["budget"]["reject_one_in"]
        return f"calibrated anew for the budget of {held['by']}, 1/{one_in} of the good parts rejected"
    set_to = " and ".join(f"{name} {held[name]:.6g}" for name in ("review", "reject") if name in held)
    return f"{set_to}, set by {held['by']}, did not carry over to another memory bank"
