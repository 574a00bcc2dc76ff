"""Following a product's active recipe while the line runs."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from one_by_one import OneByOne
from partgate.line._judge import ActiveJudges, Judge, RuntimeKind
from partgate.records import Active, Database, Home, activate, add_model, add_recipe, rollback
from partgate_engines import AnomalyResult, DeviceFailed
from partgate_station import DataError, Recipe, Region, Thresholds

MODELS = {name: name * 64 for name in "abc"}


@dataclass
class NamedRuntime(OneByOne):
    name: str
    is_closed: bool = False

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        return AnomalyResult(score=0.0, anomaly_map=np.zeros((1, 1), np.float32))

    def close(self) -> None:
        self.is_closed = True


@dataclass
class Loader:
    """Loads a runtime named by its model; models in `broken` cannot be loaded."""

    broken: set[str] = field(default_factory=set)
    error: Exception = field(default_factory=lambda: DataError("bank.safetensors is damaged"))
    loaded: list[NamedRuntime] = field(default_factory=list)
    refused: int = 0

    def __call__(self, home: Home, found: Active, kind: RuntimeKind, camera_ids: Sequence[str]) -> Judge:
        if found.model_id in self.broken:
            self.refused += 1
            raise self.error
        self.loaded.append(NamedRuntime(found.model_id[0]))
        return Judge(
            activation_id=found.activation_id,
            recipe_id=found.recipe_id,
            model_id=found.model_id,
            recipe=found.recipe,
            runtime=self.loaded[-1],
        )


@dataclass
class Product:
    """A product in a home, its models a, b, c, and the act of activating one."""

    home: Home
    database: Database
    recipes: dict[str, int]

    def activate(self, name: str) -> None:
        self.database.write(
            lambda session: activate(session, recipe_id=self.recipes[name], by="test", reason="")
        ).result(timeout=10)

    def rollback(self) -> None:
        self.database.write(lambda session: rollback(session, "tile", by="test", reason="")).result(
            timeout=10
        )


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    home = Home.open(tmp_path / "home")
    with contextlib.closing(Database.open(home)) as database:
        recipes = {}
        for number, (name, model_id) in enumerate(MODELS.items()):
            recipe = Recipe(product="tile", thresholds=Thresholds(review=number, reject=number + 1))

            def add(session, model_id=model_id, recipe=recipe):  # type: ignore[no-untyped-def]
                add_model(session, model_id=model_id, product="tile", kind="patchcore", by="test")
                return add_recipe(session, recipe=recipe, model_id=model_id, by="test", reason="").id

            recipes[name] = database.write(add).result(timeout=10)
        yield Product(home, database, recipes)


@contextlib.contextmanager
def following(product: Product, loader: Loader) -> Iterator[ActiveJudges]:
    judges = ActiveJudges(
        product.home, product.database, "tile", kind="auto", camera_ids=["top"], poll_s=0.01, load=loader
    )
    with contextlib.closing(judges):
        yield judges


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def model(judges: ActiveJudges) -> str:
    judge = judges.current()
    return "" if judge is None else judge.model_id[0]


def test_a_product_is_taken_up_when_its_first_recipe_becomes_active(product: Product) -> None:
    with following(product, Loader()) as judges:
        assert judges.current() is None
        product.activate("a")
        wait_for(lambda: model(judges) == "a")


def test_activation_and_rollback_reach_the_line_and_old_runtimes_are_closed(product: Product) -> None:
    product.activate("a")
    loader = Loader()
    with following(product, loader) as judges:
        assert model(judges) == "a"
        product.activate("b")
        wait_for(lambda: model(judges) == "b")
        judge = judges.current()
        assert judge is not None
        assert judge.recipe.thresholds == Thresholds(review=1, reject=2)
        product.rollback()
        wait_for(lambda: model(judges) == "a")
    assert [runtime.name for runtime in loader.loaded] == ["a", "b", "a"]
    assert all(runtime.is_closed for runtime in loader.loaded)


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_in_force(product: Product) -> None:
    product.activate("a")
    loader = Loader(broken={MODELS["b"]})
    with following(product, loader) as judges:
        product.activate("b")
        wait_for(lambda: loader.refused == 1)
        time.sleep(0.1)
        assert model(judges) == "a"
        assert loader.refused == 1, "a refused model is tried once, not at every look"
        product.activate("c")
        wait_for(lambda: model(judges) == "c")


@pytest.mark.parametrize("error", [PermissionError("bank.safetensors"), MemoryError(), KeyError("BF16")])
def test_a_model_that_fails_in_a_way_nobody_foresaw_ends_nothing(error: Exception, product: Product) -> None:
    product.activate("a")
    loader = Loader(broken={MODELS["b"]}, error=error)
    with capture_logs() as logs, following(product, loader) as judges:
        product.activate("b")
        wait_for(lambda: loader.refused == 1)
        assert model(judges) == "a"
        product.activate("c")
        wait_for(lambda: model(judges) == "c")
    (said,) = [entry for entry in logs if entry["event"] == "the active model cannot be used"]
    assert said["what_now"] == "model aaaaaaaaaaaa, the one in force, stays"
    assert said["exc_info"], "where it came from is in the log"


def test_a_device_that_fails_while_a_model_is_loaded_ends_the_process(product: Product) -> None:
    product.activate("a")
    loader = Loader(broken={MODELS["b"]}, error=DeviceFailed("GPU: this process must end"))
    with following(product, loader) as judges:
        judges.require_device()
        product.activate("b")
        wait_for(lambda: loader.refused == 1)
        wait_for(lambda: judges._device_failure is not None)
        with pytest.raises(DeviceFailed, match="must end"):
            judges.require_device()


def test_a_station_whose_model_is_broken_at_the_start_does_not_start(product: Product) -> None:
    product.activate("b")
    with pytest.raises(DataError, match="damaged"), following(product, Loader(broken={MODELS["b"]})):
        pass


def test_a_model_that_was_overtaken_before_it_judged_is_closed(product: Product) -> None:
    product.activate("a")
    loader = Loader()
    with following(product, loader) as judges:
        product.activate("b")
        wait_for(lambda: len(loader.loaded) == 2)
        product.activate("c")
        wait_for(lambda: len(loader.loaded) == 3 and loader.loaded[1].is_closed)
        assert model(judges) == "c"


def said_of(
    product: Product, loader: Loader, act: Callable[[ActiveJudges], None], *, refused: int
) -> list[str]:
    """Return what is logged of models that cannot be used, once so many were refused."""
    with capture_logs() as logs, following(product, loader) as judges:
        act(judges)
        wait_for(lambda: loader.refused == refused)
    return [entry["what_now"] for entry in logs if entry["event"] == "the active model cannot be used"]


def test_it_is_said_that_the_model_in_force_stays(product: Product) -> None:
    product.activate("a")
    loader = Loader(broken={MODELS["b"]})
    (said,) = said_of(product, loader, lambda judges: product.activate("b"), refused=1)
    assert said == "model aaaaaaaaaaaa, the one in force, stays"


def test_it_is_said_that_nothing_judges_where_no_model_was_in_force(product: Product) -> None:
    loader = Loader(broken={MODELS["b"]})
    (said,) = said_of(product, loader, lambda judges: product.activate("b"), refused=1)
    assert said.startswith("no model is in force: every part is UNDECIDED")


def test_it_is_said_that_nothing_judges_when_a_suspect_model_cannot_be_loaded_again(product: Product) -> None:
    product.activate("a")
    loader = Loader()

    def fail(judges: ActiveJudges) -> None:
        judge = judges.current()
        assert judge is not None
        loader.broken |= {MODELS["a"], MODELS["b"]}
        judges.reload(judge)
        wait_for(lambda: loader.refused == 1)
        product.activate("b")

    again, another = said_of(product, loader, fail, refused=2)
    for said in (again, another):
        assert said.startswith("model aaaaaaaaaaaa, which answered wrongly, stays out of service")
        assert "every part is UNDECIDED" in said
