"""What a person set the thresholds to, and what becomes of that when the model gets another memory bank.

Scores by two banks cannot be compared, so numbers do not carry over. A budget does: the new model is
calibrated for it. Of numbers it is told where they stood among the held-out scores of good parts, and what
stands there now.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlmodel import Session, col, select

from partgate.records import Active, Audit, recipes
from partgate.retraining._places import Compared, Place, compared, place
from partgate_engines import Bundle, Calibration
from partgate_engines.anomaly import Budget, Learned, budget_of
from partgate_station import Thresholds

CHANGED = "recipe.threshold"
"""What the trail calls a change of thresholds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandSet:
    """Thresholds in force that are not those their model was calibrated with."""

    thresholds: Thresholds
    names: tuple[str, ...]
    """Which of the two were set."""

    by: str
    reason: str
    recipe_version: int
    budget: Budget | None
    """What was asked for; None: numbers were given."""


def hand_set(session: Session, now: Active, calibration: Calibration) -> HandSet | None:
    """Return what a person set the thresholds in force to; None if they came with the model.

    Args:
        session: one that `Database.read` gave.
        now: what is in force.
        calibration: of its model.
    """
    thresholds, own = now.recipe.thresholds, calibration.thresholds
    if thresholds == own:
        return None
    setter = None
    for row in recipes(session, now.recipe.product):  # the newest first
        if row.key > now.recipe_id:
            continue
        if row.model_id != now.model_id:
            continue  # a candidate that was made meanwhile says nothing of these thresholds
        if row.content["thresholds"] != thresholds.model_dump(mode="json"):
            break
        setter = row  # later versions may have changed something else
    if setter is None:
        raise ValueError(f"recipe {now.recipe_id} is in force and not among those of its product")
    return HandSet(
        thresholds=thresholds,
        names=tuple(name for name in ("review", "reject") if getattr(thresholds, name) != getattr(own, name)),
        by=setter.created_by,
        reason=setter.reason,
        recipe_version=setter.version,
        budget=_asked_for(session, setter.key),
    )


def wanted_budget(held: HandSet | None, calibration: Calibration) -> Budget:
    """Return the budget that the next thresholds are for.

    A person's, if one asked for it; else the model's, without the commissioning that any numbers end.
    """
    if held is None:
        return budget_of(calibration)
    return held.budget or replace(budget_of(calibration), commissioning=False)


def told(held: HandSet | None, before: Bundle, after: Learned) -> dict[str, Any] | None:
    """Return what became of thresholds that a person had set, ready for JSON; None if nobody had."""
    if held is None:
        return None
    known: dict[str, Any] = {
        "by": held.by,
        "reason": held.reason,
        "recipe_version": held.recipe_version,
        **{name: getattr(held.thresholds, name) for name in held.names},
        "budget": None if held.budget is None else asdict(held.budget),
    }
    if held.budget is not None:
        return known
    manifest = before.manifest
    scores = compared(manifest.good, manifest.calibration, after.good, after.calibration)
    places = _places(held, scores, after.calibration.thresholds)
    return known | {
        "parts": int(scores.before.size),
        "same_parts": scores.same_parts,
        "places": {name: asdict(found) for name, found in places.items()},
    }


def _places(held: HandSet, scores: Compared, calibrated: Thresholds) -> dict[str, Place]:
    """Return the places of what was set by hand; of both where one's would lie on the wrong side."""
    found = {name: place(getattr(held.thresholds, name), scores) for name in held.names}
    now = calibrated.model_dump() | {name: one.now for name, one in found.items()}
    if now["review"] <= now["reject"]:
        return found
    return {name: place(getattr(held.thresholds, name), scores) for name in ("review", "reject")}


def _asked_for(session: Session, recipe_key: int) -> Budget | None:
    """Return the budget that a version's thresholds were set for: the trail of the change holds it."""
    statement = select(Audit).where(Audit.what == CHANGED, Audit.subject == f"recipe:{recipe_key}")
    row = session.exec(statement.order_by(col(Audit.seq).desc()).limit(1)).first()
    budget = None if row is None else (row.after or {}).get("budget")
    return None if budget is None else Budget(**budget)
