"""What other thresholds would have meant, and putting them into force."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlmodel import Session, col, select

from partgate.records import (
    Active,
    Database,
    Finding,
    Part,
    Review,
    latest_reviews,
    read_recipe,
    recipes,
)
from partgate.retraining._hand_set import CHANGED
from partgate.retraining._in_force import Change, put_into_force
from partgate_engines import Calibration
from partgate_engines.anomaly import Budget, worst_of_parts
from partgate_station import ConfigError, Thresholds, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The scores that thresholds can be tried on: all by the model they are for."""

    held_out: tuple[float, ...]
    """The worst score of each good part that was learned from, held out."""

    found_good: tuple[float, ...]
    """Of the line's parts that QA found good; nearly all of them had been flagged."""

    found_defective: tuple[float, ...]
    left_out: int
    """Reviewed parts that another model scored, or none, or whose regions counted differently: their scores
    say nothing of these thresholds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """How many of some parts get which verdict."""

    of: int
    accept: int
    review: int
    reject: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdEffect:
    """What thresholds do to the parts whose scores are known."""

    held_out: Verdicts
    found_good: Verdicts
    """`reject` are false rejects."""

    found_defective: Verdicts
    """`accept` are escapes."""

    left_out: int


def threshold_evidence(session: Session, calibration: Calibration, now: Active) -> Evidence:
    """Return what thresholds of a product's active model can be tried on."""
    alike = _looking_alike(session, now)
    reviewed = _reviewed(session, now.recipe.product)
    own = [
        (finding, score)
        for finding, model, recipe_id, score in reviewed
        if model == now.model_id and (recipe_id is None or recipe_id in alike)
    ]
    scored = [(finding, score) for finding, score in own if score is not None]
    return Evidence(
        held_out=_held_out(calibration),
        found_good=tuple(score for finding, score in scored if finding is Finding.GOOD),
        found_defective=tuple(score for finding, score in scored if finding is Finding.DEFECTIVE),
        left_out=len(reviewed) - len(scored),
    )


def effect_of(thresholds: Thresholds, evidence: Evidence) -> ThresholdEffect:
    """Return what thresholds do to the parts whose scores are known."""
    return ThresholdEffect(
        held_out=_verdicts(thresholds, evidence.held_out),
        found_good=_verdicts(thresholds, evidence.found_good),
        found_defective=_verdicts(thresholds, evidence.found_defective),
        left_out=evidence.left_out,
    )


def change_thresholds(
    database: Database,
    thresholds: Thresholds,
    *,
    since: Active,
    by: str,
    reason: str,
    budget: Budget | None = None,
) -> int:
    """Put a recipe with other thresholds into force; a running station takes it between two parts.

    Model, regions, deadline and gate stay as they are.

    Args:
        thresholds: the new ones.
        since: what was in force when they were chosen.
        by: who, for the trail.
        reason: why.
        budget: what they were calibrated for: retraining keeps it. None: they are plain numbers.

    Returns:
        The new recipe's version.

    Raises:
        ConfigError: they are the thresholds in force.
        RegistryError: another recipe came into force meanwhile.
    """
    if thresholds == since.recipe.thresholds:
        raise ConfigError(
            f"'{since.recipe.product}' has these thresholds already: review {thresholds.review:g},"
            f" reject {thresholds.reject:g}; nothing was changed"
        )
    change = Change(
        what=CHANGED,
        before=since.recipe.thresholds.model_dump(),
        after=thresholds.model_dump() | ({} if budget is None else {"budget": asdict(budget)}),
        by=by,
        reason=reason,
    )
    recipe = since.recipe.model_copy(update={"thresholds": thresholds})
    return database.write(lambda session: put_into_force(session, recipe, change, since=since)).result()


def _held_out(calibration: Calibration) -> tuple[float, ...]:
    # Scores of one image's mirrors are of no part that was held out.
    if calibration.method == "mirrored":
        return ()
    parts = () if calibration.card is None else calibration.card.part_of
    return tuple(float(score) for score in worst_of_parts(calibration.scores, parts))


def _looking_alike(session: Session, now: Active) -> frozenset[int]:
    """Return the recipes of the active model that have the regions in force: others' scores differ."""
    rows = recipes(session, now.recipe.product)
    return frozenset(
        row.key
        for row in rows
        if row.model_id == now.model_id and read_recipe(row).regions == now.recipe.regions
    )


def _reviewed(session: Session, product: str) -> list[tuple[Finding, str | None, int | None, float | None]]:
    """Return finding, model, recipe and score of a product's reviewed parts; the latest review counts."""
    latest = latest_reviews()
    rows = session.exec(
        select(Review.finding, Part.model_id, Part.recipe_id, Part.score)
        .join(latest, latest.c.review_id == col(Review.id))
        .join(Part, col(Part.id) == col(Review.part_id))
        .where(Part.product == product)
    )
    return [(Finding(finding), model, recipe_id, score) for finding, model, recipe_id, score in rows]


def _verdicts(thresholds: Thresholds, scores: Sequence[float]) -> Verdicts:
    found = [thresholds.verdict(score) for score in scores]
    return Verdicts(
        of=len(found),
        accept=found.count(Verdict.ACCEPT),
        review=found.count(Verdict.REVIEW),
        reject=found.count(Verdict.REJECT),
    )
