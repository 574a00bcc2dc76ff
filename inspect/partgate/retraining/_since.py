"""What was changed of a product's recipe after a model had been made from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from partgate.records import (
    Active,
    Model,
    RegistryError,
    activate,
    active,
    add_recipe,
    read_recipe,
    recipes,
)
from partgate.records import Recipe as RecipeRow
from partgate_station import Recipe, Region

_CARRIED = ("deadline_ms", "review_gate")
"""Settings that another model takes over as they are: they say nothing of scores and of images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """What putting a model into force does to changes that were made after it had been made."""

    now: Active | None
    """What is in force; None: nothing is."""

    lost: tuple[str, ...] = ()
    """Changes that would be gone, in a person's words."""

    carried: tuple[tuple[str, Any], ...] = ()
    """Settings of the recipe in force, by name, that the model takes over."""


def changed_since(session: Session, model: Model, candidate: RecipeRow) -> Since:
    """Compare the recipe in force with the one a model was made from.

    Of a model that does not say from which it was made, as those of before, nothing is known.

    Args:
        session: one that `Database.read` or `Database.write` gave.
        model: that is to be put into force.
        candidate: its recipe.
    """
    now = active(session, model.product)
    made_from = (model.report.get("made_from") or {}).get("recipe_id")
    if now is None or made_from in {None, now.recipe_id} or now.model_id == model.id:
        return Since(now=now)
    rows = {row.key: row for row in recipes(session, model.product)}
    before, mine = read_recipe(rows[made_from]), read_recipe(candidate)
    same_model = rows[made_from].model_id == now.model_id
    lost = [
        *_settings_lost(before, now.recipe, mine),
        *_regions_lost(before.regions, now.recipe.regions, mine.regions, same_model=same_model),
        *_thresholds_lost(session, before, now, same_model=same_model),
    ]
    row = rows[now.recipe_id]
    whose = f"recipe version {row.version} ({row.created_by}: {row.reason or 'no reason given'})"
    return Since(
        now=now,
        lost=tuple(
            f"{one} would be lost: in force by {whose}, and the model was made before" for one in lost
        ),
        carried=tuple(
            (name, getattr(now.recipe, name))
            for name in _CARRIED
            if getattr(mine, name) == getattr(before, name) != getattr(now.recipe, name)
        ),
    )


def put_candidate_into_force(
    session: Session, candidate: RecipeRow, since: Since, *, by: str, reason: str
) -> RecipeRow:
    """Put a model into force with what it takes over of the recipe in force.

    Args:
        session: one that `Database.write` gave.
        candidate: the model's recipe.
        since: as `changed_since` returned it; a person has seen what would be lost.
        by: who, for the trail.
        reason: why.

    Returns:
        The recipe that is in force now: the candidate's, or a new version where something was taken over.

    Raises:
        RegistryError: another recipe came into force meanwhile.
    """
    now = active(session, candidate.product)
    if (now and now.activation_id) != (since.now and since.now.activation_id):
        raise RegistryError(
            f"another recipe of '{candidate.product}' came into force meanwhile; look at it with"
            f" `partgate recipe show {candidate.product}` and decide again"
        )
    if since.carried:
        recipe = read_recipe(candidate).model_copy(update=dict(since.carried))
        kept = f"{', '.join(name for name, _ in since.carried)} as it was in force"
        candidate = add_recipe(
            session,
            recipe=recipe,
            model_id=candidate.model_id,
            by=by,
            reason=f"{reason.strip()}; {kept}" if reason.strip() else kept,
        )
    activate(session, recipe_id=candidate.key, by=by, reason=reason)
    return candidate


def _settings_lost(before: Recipe, now: Recipe, mine: Recipe) -> Iterator[str]:
    """Yield settings that were changed since and that the model was given otherwise."""
    for name, text in (("deadline_ms", "the deadline of {} ms"), ("review_gate", "the review gate '{}'")):
        was, here, own = (getattr(one, name) for one in (before, now, mine))
        if here not in (was, own) and own != was:
            yield text.format(here)


def _regions_lost(
    before: tuple[Region, ...], now: tuple[Region, ...], mine: tuple[Region, ...], *, same_model: bool
) -> Iterator[str]:
    if not same_model:  # each learning sets sensitivities of its own
        before, now, mine = (_places(one) for one in (before, now, mine))
    if now in (before, mine):
        return
    if _places(now) != _places(before):
        yield "what is inspected" if not now else f"what is inspected, {_count(now)}"
        return
    for number, (was, here) in enumerate(zip(before, now, strict=True)):
        if was.weight != here.weight:
            name = here.name or number
            yield f"that region '{name}' counts {here.weight:g} times instead of {was.weight:g}"


def _places(regions: Sequence[Region]) -> tuple[Region, ...]:
    return tuple(region.model_copy(update={"sensitivity": None}) for region in regions)


def _count(regions: Sequence[Region]) -> str:
    return "1 region" if len(regions) == 1 else f"{len(regions)} regions"


def _thresholds_lost(session: Session, before: Recipe, now: Active, *, same_model: bool) -> Iterator[str]:
    """Yield thresholds that a person has set since, as numbers or by a budget."""
    here, was = now.recipe.thresholds.model_dump(), before.thresholds.model_dump()
    if not same_model:
        model = session.get(Model, now.model_id)
        was = {} if model is None else model.report.get("calibration", {}).get("thresholds", here)
    changed = [name for name in ("review", "reject") if here[name] != was.get(name)]
    if changed:
        yield "thresholds set since, " + " and ".join(f"{name} {here[name]:.6g}" for name in changed)
