"""What learning a known product again has kept of the recipe in force, in words and in JSON."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from partgate_station import RecipeSettings

if TYPE_CHECKING:
    from partgate.retraining import StartingPoint
    from partgate_engines.anomaly import LearnSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a person gave of the recipe and of the budget; the rest stays as it is in force."""

    recipe: RecipeSettings
    has_file: bool
    has_regions: bool
    has_budget: bool


def continued(
    given: Given, settings: "LearnSettings", start: "StartingPoint | None"
) -> "tuple[RecipeSettings, LearnSettings, dict[str, Any] | None]":
    """Return what to learn by, and what of it was taken from the recipe in force, ready for JSON.

    Args:
        given: what a person gave.
        settings: how to learn.
        start: of a known product.
    """
    if start is None:
        return given.recipe, settings, None
    recipe = given.recipe
    names = set() if given.has_file else set(RecipeSettings.model_fields)
    if given.has_regions:
        names -= {"regions"}
    recipe = recipe.model_copy(update={name: getattr(start.settings, name) for name in names})
    budget = None if given.has_budget else start.budget
    if budget is not None:
        settings = replace(settings, budget=budget)
    kept = recipe.model_dump(mode="json", include=names)
    return recipe, settings, {
        "recipe_version": start.recipe_version,
        **kept,
        "budget": None if budget is None else asdict(budget),
        "numbers": _numbers(start),
        "aligned": start.is_aligned,
        "unreadable": start.budget is None,
    }  # fmt: skip


def _numbers(start: "StartingPoint") -> dict[str, float]:
    """Return the thresholds that a person had set as numbers: they do not carry over."""
    held = start.held
    if held is None or held.budget is not None:
        return {}
    return {name: getattr(held.thresholds, name) for name in held.names}


def continued_text(product: str, kept: dict[str, Any] | None) -> Iterator[str]:
    """Yield what was taken from the recipe in force; nothing of a product that is new."""
    if kept is None:
        return
    stays = [*_settings_text(kept), *_budget_text(kept["budget"])]
    if stays:
        yield (
            f"Kept of recipe version {kept['recipe_version']}, which is in force: {', '.join(stays)}."
            " --recipe FILE starts from a file instead."
        )
    if kept["unreadable"]:
        yield "For which budget its thresholds are is not known, for its model cannot be read."
    if kept["aligned"] and kept.get("regions"):
        yield "Its regions lie on the reference of before: look whether they lie right on this one."
    if kept["numbers"]:
        numbers = " and ".join(f"{name} {value:.6g}" for name, value in kept["numbers"].items())
        yield (
            f"Set by hand and not kept, for other scores: {numbers}. `partgate recipe threshold {product}`"
            " sets them"
        )


def _settings_text(kept: dict[str, Any]) -> Iterator[str]:
    if "regions" in kept:
        count = len(kept["regions"])
        yield "the whole frame" if not count else "1 region" if count == 1 else f"{count} regions"
    if "deadline_ms" in kept:
        yield f"a deadline of {kept['deadline_ms']} ms"
    if "review_gate" in kept:
        yield f"the gate that {kept['review_gate']}s what is for review"


def _budget_text(budget: dict[str, Any] | None) -> Iterator[str]:
    if budget is not None:
        yield (
            f"at most 1/{budget['reject_one_in']} of the good parts rejected and 1/{budget['review_one_in']}"
            f" flagged, {100 * budget['confidence']:g} % confidence"
            f"{', in commissioning' if budget['commissioning'] else ''}"
        )
