"""What was changed of a recipe after a model had been made, when that is to come into force."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import Session

from partgate.records import (
    Database,
    Home,
    Model,
    RegistryError,
    activate,
    add_model,
    add_recipe,
    latest_recipe,
    read_recipe,
)
from partgate.retraining import Since, changed_since, put_candidate_into_force
from partgate_station import Recipe, Region, Thresholds

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
LABEL = Region(name="label", polygon=((0.0, 0.0), (9.0, 0.0), (9.0, 9.0)), sensitivity=2.0)
RECIPE = Recipe(product="tile", thresholds=Thresholds(review=5, reject=9), regions=(LABEL,))
OTHER = Thresholds(review=6, reject=11)
"""Of another memory bank."""


def report(recipe: Recipe, made_from: int | None = None) -> dict[str, object]:
    own: dict[str, object] = {"calibration": {"thresholds": recipe.thresholds.model_dump()}}
    return own if made_from is None else own | {"made_from": {"recipe_id": made_from}}


def fill(session: Session) -> None:
    """Add a product in force by model A, and the candidate B that was made from it."""
    add_model(session, model_id=A, product="tile", kind="patchcore", by="vera", report=report(RECIPE))
    first = add_recipe(session, recipe=RECIPE, model_id=A, by="vera", reason="learned")
    activate(session, recipe_id=first.key, by="vera", reason="first")
    candidate = RECIPE.model_copy(update={"thresholds": OTHER})
    made = report(candidate, first.key)
    add_model(session, model_id=B, product="tile", kind="patchcore", by="vera", report=made, parent_id=A)
    add_recipe(session, recipe=candidate, model_id=B, by="vera", reason="retrained")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with contextlib.closing(Database.open(Home.open(tmp_path / "home"))) as database:
        database.write(fill).result(timeout=10)
        yield database


def change(database: Database, model_id: str = A, **update: object) -> None:
    """Put the model's recipe into force with something else in it."""

    def write(session: Session) -> None:
        recipe = RECIPE.model_copy(update=update)
        row = add_recipe(session, recipe=recipe, model_id=model_id, by="otto", reason="lot 7")
        activate(session, recipe_id=row.key, by="otto", reason="lot 7")

    database.write(write).result(timeout=10)


def since(database: Database, model_id: str = B) -> Since:
    with database.read() as session:
        return changed_since(session, session.get_one(Model, model_id), latest_recipe(session, model_id))


def put(database: Database, found: Since) -> tuple[int, Recipe]:
    def write(session: Session) -> tuple[int, Recipe]:
        row = put_candidate_into_force(session, latest_recipe(session, B), found, by="vera", reason="")
        return row.version, read_recipe(row)

    return database.write(write).result(timeout=10)


def test_where_nothing_was_changed_nothing_is_lost(database: Database) -> None:
    found = since(database)
    assert (found.lost, found.carried) == ((), ())
    assert put(database, found) == (2, RECIPE.model_copy(update={"thresholds": OTHER}))
    assert since(database).lost == (), "the model itself is in force"


def test_thresholds_and_limits_that_were_set_since_are_named(database: Database) -> None:
    quieter = LABEL.model_copy(update={"sensitivity": 1.5})
    change(database, thresholds=Thresholds(review=5, reject=8.5), regions=(quieter,))
    limit, thresholds = since(database).lost
    assert limit.startswith("that region 'label' counts 1.5 times instead of 2 would be lost")
    assert thresholds == (
        "thresholds set since, reject 8.5 would be lost: in force by recipe version 3 (otto: lot 7), and the"
        " model was made before"
    )


def test_other_places_are_named(database: Database) -> None:
    change(database, regions=())
    (lost,) = since(database).lost
    assert lost.startswith("what is inspected would be lost")


def test_a_deadline_and_a_gate_are_kept(database: Database) -> None:
    change(database, deadline_ms=200, review_gate="accept")
    found = since(database)
    assert (found.lost, found.carried) == ((), (("deadline_ms", 200), ("review_gate", "accept")))
    version, recipe = put(database, found)
    assert version == 4
    assert recipe == RECIPE.model_copy(
        update={"thresholds": OTHER, "deadline_ms": 200, "review_gate": "accept"}
    )


def test_a_model_that_was_given_its_own_deadline_keeps_it_and_says_so(database: Database) -> None:
    def given(session: Session) -> None:
        recipe = RECIPE.model_copy(update={"thresholds": OTHER, "deadline_ms": 90})
        add_recipe(session, recipe=recipe, model_id=B, by="vera", reason="a file")

    database.write(given).result(timeout=10)
    change(database, deadline_ms=200)
    found = since(database)
    assert found.carried == ()
    (lost,) = found.lost
    assert lost.startswith("the deadline of 200 ms would be lost")


def test_another_models_own_thresholds_and_sensitivities_are_no_loss(database: Database) -> None:
    learned = {
        "thresholds": Thresholds(review=50, reject=90),
        "regions": (LABEL.model_copy(update={"sensitivity": 3.0}),),
    }
    made = report(RECIPE.model_copy(update=learned))
    database.write(
        lambda session: add_model(session, model_id=C, product="tile", kind="padim", by="otto", report=made)
    ).result(timeout=10)
    change(database, C, **learned)
    assert since(database).lost == ()
    change(database, C, **(learned | {"thresholds": Thresholds(review=50, reject=80)}))
    (lost,) = since(database).lost
    assert lost.startswith("thresholds set since, reject 80 would be lost")


def test_of_a_model_that_does_not_say_from_what_it_was_made_nothing_is_known(database: Database) -> None:
    change(database, regions=())
    assert since(database, A).lost == ()


def test_what_came_into_force_meanwhile_is_decided_on_again(database: Database) -> None:
    found = since(database)
    change(database, deadline_ms=200)
    with pytest.raises(RegistryError, match="came into force meanwhile"):
        put(database, found)
