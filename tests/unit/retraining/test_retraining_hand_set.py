"""What a person set the thresholds to: who, why, for which budget, and what the next model goes by."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlmodel import Session

from partgate.records import Active, Database, Home, activate, active, add_model, add_recipe, rollback
from partgate.retraining import change_thresholds
from partgate.retraining._hand_set import HandSet, hand_set, wanted_budget
from partgate_engines.anomaly import Budget, budget_of, calibrate
from partgate_station import Recipe, Region, Thresholds

CALIBRATION = calibrate([5.0, 6.0, 11.0, 7.0])
OWN = CALIBRATION.thresholds
RECIPE = Recipe(product="tile", thresholds=OWN)
NUMBERS = Thresholds(review=OWN.review, reject=99)
BUDGET = Budget(review_one_in=20, reject_one_in=200, confidence=0.9)


def fill(session: Session) -> None:
    for model_id in ("a" * 64, "b" * 64):
        add_model(session, model_id=model_id, product="tile", kind="patchcore", by="vera")
    first = add_recipe(session, recipe=RECIPE, model_id="a" * 64, by="vera", reason="learned")
    activate(session, recipe_id=first.key, by="vera", reason="first")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with contextlib.closing(Database.open(Home.open(tmp_path / "home"))) as database:
        database.write(fill).result(timeout=10)
        yield database


def in_force(database: Database) -> Active:
    with database.read() as session:
        found = active(session, "tile")
    assert found is not None
    return found


def found(database: Database) -> HandSet | None:
    with database.read() as session:
        return hand_set(session, in_force(database), CALIBRATION)


def test_thresholds_that_came_with_the_model_were_set_by_nobody(database: Database) -> None:
    assert found(database) is None
    assert wanted_budget(None, CALIBRATION) == Budget()


def test_numbers_are_who_set_which_of_them_and_why(database: Database) -> None:
    change_thresholds(database, NUMBERS, since=in_force(database), by="otto", reason="lot 7")
    held = found(database)
    assert held == HandSet(
        thresholds=NUMBERS, names=("reject",), by="otto", reason="lot 7", recipe_version=2, budget=None
    )
    database.write(lambda session: rollback(session, "tile", by="vera", reason="no, as it was")).result(
        timeout=10
    )
    assert found(database) is None


def test_whoever_changed_something_else_since_did_not_set_them(database: Database) -> None:
    change_thresholds(database, NUMBERS, since=in_force(database), by="otto", reason="lot 7")

    def draw_a_region(session: Session) -> None:
        now = active(session, "tile")
        assert now is not None
        region = Region(polygon=((0.0, 0.0), (9.0, 0.0), (9.0, 9.0)))
        recipe = now.recipe.model_copy(update={"regions": (region,)})
        row = add_recipe(session, recipe=recipe, model_id=now.model_id, by="ida", reason="the border")
        activate(session, recipe_id=row.key, by="ida", reason="the border")

    database.write(draw_a_region).result(timeout=10)
    held = found(database)
    assert held is not None
    assert (held.by, held.recipe_version) == ("otto", 2)


def test_a_candidate_that_was_made_meanwhile_did_not_set_them(database: Database) -> None:
    change_thresholds(database, NUMBERS, since=in_force(database), by="otto", reason="lot 7")

    def a_candidate_and_a_region(session: Session) -> None:
        add_recipe(session, recipe=RECIPE, model_id="b" * 64, by="ida", reason="retrained")
        now = active(session, "tile")
        assert now is not None
        recipe = now.recipe.model_copy(update={"deadline_ms": 200})
        row = add_recipe(session, recipe=recipe, model_id=now.model_id, by="ida", reason="a quicker belt")
        activate(session, recipe_id=row.key, by="ida", reason="a quicker belt")

    database.write(a_candidate_and_a_region).result(timeout=10)
    held = found(database)
    assert held is not None
    assert (held.by, held.recipe_version) == ("otto", 2)


def test_equal_numbers_of_another_model_are_not_theirs(database: Database) -> None:
    change_thresholds(database, NUMBERS, since=in_force(database), by="otto", reason="lot 7")

    def another(session: Session) -> None:
        recipe = RECIPE.model_copy(update={"thresholds": NUMBERS})
        row = add_recipe(session, recipe=recipe, model_id="b" * 64, by="ida", reason="retrained")
        activate(session, recipe_id=row.key, by="ida", reason="retrained")

    database.write(another).result(timeout=10)
    held = found(database)
    assert held is not None
    assert (held.by, held.recipe_version) == ("ida", 3)


def test_a_budget_is_kept_for_the_next_model(database: Database) -> None:
    new = Thresholds(review=8, reject=12)
    change_thresholds(
        database, new, since=in_force(database), by="otto", reason="fewer rejects", budget=BUDGET
    )
    held = found(database)
    assert held is not None
    assert (held.budget, held.names) == (BUDGET, ("review", "reject"))
    assert wanted_budget(held, CALIBRATION) == BUDGET
    change_thresholds(database, NUMBERS, since=in_force(database), by="otto", reason="no, by hand")
    held = found(database)
    assert held is not None
    assert held.budget is None


def test_any_numbers_end_commissioning(database: Database) -> None:
    commissioned = calibrate([5.0, 6.0, 11.0, 7.0], budget=Budget(commissioning=True))
    assert wanted_budget(None, commissioned).commissioning
    change_thresholds(database, NUMBERS, since=in_force(database), by="otto", reason="lot 7")
    asked = wanted_budget(found(database), commissioned)
    assert asked == replace(budget_of(commissioned), commissioning=False)
