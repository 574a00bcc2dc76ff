"""Learning a known product again: what stays of the recipe in force."""

from dataclasses import dataclass

from partgate.records import Database, Home, Keys, active, recipes
from partgate.retraining._hand_set import HandSet, hand_set, wanted_budget
from partgate_engines import Bundle
from partgate_engines.anomaly import Budget
from partgate_station import PartgateError, RecipeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingPoint:
    """What learning a known product again starts from where it is not told otherwise."""

    recipe_version: int
    """Of the recipe in force."""

    settings: RecipeSettings
    """Its regions with their sensitivities, its deadline and its gate."""

    budget: Budget | None
    """What the thresholds in force are for; None: their model cannot be read."""

    held: HandSet | None
    """What a person has set the thresholds to; numbers do not carry over to another model."""

    is_aligned: bool = False
    """Whether the regions lie on a reference that parts are aligned to; another learning chooses anew."""


def starting_point(home: Home, database: Database, product: str) -> StartingPoint | None:
    """Return what learning a product again starts from; None of a product that has no recipe in force."""
    with database.read() as session:
        now = active(session, product)
        if now is None:
            return None
        version = next(row.version for row in recipes(session, product) if row.key == now.recipe_id)
        kept = {name: getattr(now.recipe, name) for name in RecipeSettings.model_fields}
        settings = RecipeSettings(**kept)
        try:
            bundle = Bundle.open(home.bundles_path / now.model_id, trusted=Keys(home).trusted())
        except PartgateError:  # a model that is damaged, or too old, is a reason to learn again
            return StartingPoint(recipe_version=version, settings=settings, budget=None, held=None)
        calibration = bundle.manifest.calibration
        held = hand_set(session, now, calibration)
    return StartingPoint(
        recipe_version=version,
        settings=settings,
        budget=wanted_budget(held, calibration),
        held=held,
        is_aligned=bundle.manifest.pose is not None,
    )
