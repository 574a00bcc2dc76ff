"""What learning a known product again keeps, and how it is told."""

from partgate.cli._again_text import Given, continued, continued_text
from partgate.retraining import StartingPoint
from partgate.retraining._hand_set import HandSet
from partgate_engines.anomaly import Budget, LearnSettings
from partgate_station import RecipeSettings, Region, Thresholds

CORNER = Region(polygon=((0, 0), (9, 0), (9, 9)), sensitivity=2.0)
OTHER = Region(polygon=((0, 0), (5, 0), (5, 5)))
BUDGET = Budget(review_one_in=50, reject_one_in=500)
IN_FORCE = RecipeSettings(regions=(CORNER,), deadline_ms=200, review_gate="accept")


def start(budget: Budget | None = BUDGET, held: HandSet | None = None) -> StartingPoint:
    return StartingPoint(recipe_version=7, settings=IN_FORCE, budget=budget, held=held)


def given(
    recipe: RecipeSettings | None = None,
    *,
    has_file: bool = False,
    has_regions: bool = False,
    budget: bool = False,
) -> Given:
    return Given(
        recipe=recipe or RecipeSettings(), has_file=has_file, has_regions=has_regions, has_budget=budget
    )


def test_a_new_product_has_what_was_given() -> None:
    asked = RecipeSettings(deadline_ms=90)
    assert continued(given(asked), LearnSettings(), None) == (asked, LearnSettings(), None)
    assert list(continued_text("tile", None)) == []


def test_what_is_not_given_stays_as_it_is_in_force() -> None:
    recipe, settings, kept = continued(given(), LearnSettings(), start())
    assert (recipe, settings.budget) == (IN_FORCE, BUDGET)
    (line,) = continued_text("tile", kept)
    assert line.startswith(
        "Kept of recipe version 7, which is in force: 1 region, a deadline of 200 ms, the gate"
    )
    assert "at most 1/500 of the good parts rejected and 1/50 flagged, 95 % confidence" in line


def test_what_is_given_counts() -> None:
    drawn = given(RecipeSettings(regions=(OTHER,)), has_regions=True, budget=True)
    recipe, settings, kept = continued(drawn, LearnSettings(), start())
    assert recipe == IN_FORCE.model_copy(update={"regions": (OTHER,)})
    assert settings.budget == Budget()
    assert kept is not None
    assert ("regions" in kept, kept["budget"]) == (False, None)
    file = RecipeSettings(deadline_ms=90)
    recipe, settings, kept = continued(given(file, has_file=True), LearnSettings(), start())
    assert (recipe, settings.budget) == (file, BUDGET)
    (line,) = continued_text("tile", kept)
    assert "deadline" not in line


def test_numbers_and_a_model_that_cannot_be_read_are_told() -> None:
    held = HandSet(
        thresholds=Thresholds(review=8, reject=21.5),
        names=("reject",),
        by="vera",
        reason="",
        recipe_version=6,
        budget=None,
    )
    _, _, kept = continued(given(), LearnSettings(), start(held=held))
    assert (
        "not kept, for other scores: reject 21.5. `partgate recipe threshold tile`"
        in [*continued_text("tile", kept)][-1]
    )
    _, settings, kept = continued(given(), LearnSettings(), start(budget=None))
    assert settings.budget == Budget()
    assert "its model cannot be read" in [*continued_text("tile", kept)][-1]
