import json
from collections.abc import Callable
from typing import Any, TypeVar

import pysqlite3.dbapi2 as sqlite
import pytest
from sqlmodel import Session, select

import partgate_station
from partgate.records import (
    Activation,
    Audit,
    Database,
    Finding,
    Home,
    LearnedImage,
    Model,
    Recipe,
    RegistryError,
    SnapshotImage,
    StoreDamaged,
    activate,
    active,
    add_model,
    add_recipe,
    add_station,
    latest_recipe,
    models,
    rollback,
    verify_audit,
)
from partgate_station import Region, Thresholds

T = TypeVar("T")

MODEL = "a" * 64
RECIPE = partgate_station.Recipe(
    product="brick",
    thresholds=Thresholds(review=1.25, reject=2.5),
    regions=(Region(polygon=((0.0, 0.0), (10.5, 0.0), (10.0, 20.0))),),
    deadline_ms=250,
)


def _do(database: Database, act: Callable[[Session], T]) -> T:
    return database.write(act).result(10)


def _recipe(database: Database, recipe: partgate_station.Recipe = RECIPE) -> int:
    row = _do(
        database, lambda session: add_recipe(session, recipe=recipe, model_id=MODEL, by="vera", reason="test")
    )
    assert row.id is not None
    return row.id


def _activate(database: Database, recipe_id: int) -> None:
    _do(database, lambda session: activate(session, recipe_id=recipe_id, by="vera", reason="test"))


def _rollback(database: Database) -> int:
    return _do(database, lambda session: rollback(session, "brick", by="vera", reason="test")).recipe_id


def _active(database: Database) -> Any:
    with database.read() as session:
        return active(session, "brick")


@pytest.fixture
def registry(database: Database) -> Database:
    """A database with one model."""
    _do(
        database,
        lambda session: add_model(
            session,
            model_id=MODEL,
            product="brick",
            kind="patchcore",
            by="vera",
            report={"auroc": 0.99},
            images=[
                LearnedImage(image_sha256="1" * 64, origin="a.png", finding=Finding.GOOD),
                LearnedImage(image_sha256="2" * 64, origin="b.png", finding=Finding.DEFECTIVE),
            ],
        ),
    )
    return database


def test_a_model_keeps_what_it_was_learned_from_in_order(registry: Database) -> None:
    with registry.read() as session:
        rows = session.exec(select(SnapshotImage).order_by("position")).all()
        assert [(row.position, row.origin, row.finding) for row in rows] == [
            (0, "a.png", Finding.GOOD),
            (1, "b.png", Finding.DEFECTIVE),
        ]
        (model,) = models(session)
        assert (model.id, model.report, model.parent_id) == (MODEL, {"auroc": 0.99}, None)


def test_models_are_listed_newest_first_and_by_product(registry: Database) -> None:
    for letter, product in (("b", "brick"), ("c", "grass")):
        _do(
            registry,
            lambda session, letter=letter, product=product: add_model(  # type: ignore[misc]
                session, model_id=letter * 64, product=product, kind="patchcore", by="vera"
            ),
        )
    with registry.read() as session:
        assert [model.id[0] for model in models(session)] == ["c", "b", "a"]
        assert [model.id[0] for model in models(session, "brick")] == ["b", "a"]
        assert models(session, "none") == []


def test_a_model_is_registered_once_and_after_its_parent(registry: Database) -> None:
    def add(model_id: str, parent_id: str | None) -> Callable[[Session], Model]:
        return lambda session: add_model(
            session, model_id=model_id, product="brick", kind="patchcore", by="vera", parent_id=parent_id
        )

    with pytest.raises(RegistryError, match="registered already"):
        _do(registry, add(MODEL, None))
    with pytest.raises(RegistryError, match="not registered"):
        _do(registry, add("b" * 64, "f" * 64))
    assert _do(registry, add("b" * 64, MODEL)).parent_id == MODEL


def test_recipes_are_numbered_by_product_and_come_back_whole(registry: Database) -> None:
    first, second = _recipe(registry), _recipe(registry)
    with registry.read() as session:
        versions = [(row.id, row.version) for row in session.exec(select(Recipe))]
    assert versions == [(first, 1), (second, 2)]
    _activate(registry, second)
    found = _active(registry)
    assert (found.recipe_id, found.model_id, found.recipe) == (second, MODEL, RECIPE)


def test_the_newest_recipe_of_a_model(registry: Database) -> None:
    with registry.read() as session, pytest.raises(RegistryError, match="has no recipe"):
        latest_recipe(session, MODEL)
    _recipe(registry)
    newest = _recipe(registry)
    with registry.read() as session:
        assert latest_recipe(session, MODEL).id == newest
        with pytest.raises(RegistryError, match="not registered"):
            latest_recipe(session, "f" * 64)


def test_a_recipe_needs_a_model_of_its_product(registry: Database) -> None:
    other = RECIPE.model_copy(update={"product": "grass"})
    with pytest.raises(RegistryError, match="learned for product 'brick'"):
        _recipe(registry, other)
    with pytest.raises(RegistryError, match="not registered"):
        _do(
            registry, lambda session: add_recipe(session, recipe=RECIPE, model_id="f" * 64, by="v", reason="")
        )


def test_nothing_is_active_before_an_activation(registry: Database) -> None:
    _recipe(registry)
    assert _active(registry) is None
    with pytest.raises(RegistryError, match="no product 'brick' was ever active"):
        _rollback(registry)


def test_a_product_that_is_mistyped_is_told_from_one_that_cannot_go_back(registry: Database) -> None:
    _activate(registry, _recipe(registry))
    with pytest.raises(RegistryError, match=r"no product 'brik' was ever active \(did you mean brick\?\)"):
        _do(registry, lambda session: rollback(session, "brik", by="vera", reason="test"))


def test_only_a_recipe_that_is_there_becomes_active(registry: Database) -> None:
    with pytest.raises(RegistryError, match="recipe 99 is not there"):
        _activate(registry, 99)


def test_rolling_back_twice_goes_back_twice(registry: Database) -> None:
    a, b, c = (_recipe(registry) for _ in range(3))
    for recipe_id in (a, b, c):
        _activate(registry, recipe_id)
    assert _rollback(registry) == b
    assert _rollback(registry) == a
    assert _active(registry).recipe_id == a
    with pytest.raises(RegistryError, match="no earlier recipe"):
        _rollback(registry)
    _activate(registry, c)
    assert _rollback(registry) == a


def test_activating_the_active_one_again_leaves_nothing_new_to_go_back_to(registry: Database) -> None:
    a, b = _recipe(registry), _recipe(registry)
    for recipe_id in (a, b, b):
        _activate(registry, recipe_id)
    assert _rollback(registry) == a


def test_products_do_not_share_activations(registry: Database) -> None:
    _do(registry, lambda session: add_model(session, model_id="b" * 64, product="grass", kind="k", by="v"))
    _activate(registry, _recipe(registry))
    with registry.read() as session:
        assert active(session, "grass") is None


def test_every_change_is_in_the_audit_trail(registry: Database) -> None:
    a, b = _recipe(registry), _recipe(registry)
    _activate(registry, a)
    _activate(registry, b)
    _rollback(registry)
    with registry.read() as session:
        rows = session.exec(select(Audit)).all()
        assert [row.what for row in rows] == [
            "model.add",
            "recipe.add",
            "recipe.add",
            "recipe.activate",
            "recipe.activate",
            "recipe.rollback",
        ]
        assert rows[-1].before == {"recipe_id": b}
        assert rows[-1].after == {"recipe_id": a, "version": 1, "model_id": MODEL}
        assert verify_audit(session) is None
        assert len(session.exec(select(Activation)).all()) == 3


def test_a_refused_change_leaves_no_trace(registry: Database) -> None:
    with pytest.raises(RegistryError):
        _activate(registry, 99)
    with registry.read() as session:
        assert [row.what for row in session.exec(select(Audit))] == ["model.add"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            {"product": "brick", "thresholds": {"review": 9.0, "reject": 9.0}}, id="other-thresholds"
        ),
        pytest.param({"product": "brick"}, id="no-recipe"),
    ],
)
def test_a_recipe_changed_with_another_tool_judges_nothing(home: Home, content: dict[str, Any]) -> None:
    with Database.open(home) as database:
        _do(database, lambda session: add_model(session, model_id=MODEL, product="brick", kind="k", by="v"))
        _activate(database, _recipe(database))
    other = sqlite.connect(str(home.database_path), isolation_level=None)
    other.execute("DROP TRIGGER recipe_refuses_update")
    other.execute("UPDATE recipe SET content = ?", (json.dumps(content),))
    other.close()
    with Database.open(home) as database, pytest.raises(StoreDamaged, match="was changed after it was added"):
        _active(database)


def test_a_station_is_made_once_and_renamed(database: Database) -> None:
    assert _do(database, lambda session: add_station(session, station_id="s")).name == "s"
    assert _do(database, lambda session: add_station(session, station_id="s", name="Hall 3")).name == "Hall 3"
    assert _do(database, lambda session: add_station(session, station_id="s")).name == "Hall 3"
