"""A running station takes other thresholds up between two parts."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from one_by_one import OneByOne
from partgate.line._judge import ActiveJudges, Judge, RuntimeKind
from partgate.records import Active, Database, Home, activate, active, add_model, add_recipe
from partgate.retraining import change_thresholds
from partgate_engines import AnomalyResult
from partgate_station import Recipe, Region, Thresholds, Verdict

MODEL = "a" * 64
OLD, NEW = Thresholds(review=1, reject=2), Thresholds(review=3, reject=4)


@dataclass
class Constant(OneByOne):
    """Gives every frame the same score."""

    name: str = "constant"
    is_closed: bool = False

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        assert not self.is_closed
        return AnomalyResult(score=2.5, anomaly_map=np.zeros((1, 1), np.float32))

    def close(self) -> None:
        self.is_closed = True


def load(home: Home, found: Active, kind: RuntimeKind, camera_ids: Sequence[str]) -> Judge:
    return Judge(
        activation_id=found.activation_id,
        recipe_id=found.recipe_id,
        model_id=found.model_id,
        recipe=found.recipe,
        runtime=Constant(),
    )


def verdict(judge: Judge | None) -> Verdict:
    assert judge is not None
    score = judge.runtime.judge(np.zeros((2, 2), np.uint8)).score
    return judge.recipe.thresholds.verdict(score)


def test_changed_thresholds_decide_the_next_part_by_the_same_model(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    with contextlib.closing(Database.open(home)) as database:

        def first(session):  # type: ignore[no-untyped-def]
            add_model(session, model_id=MODEL, product="tile", kind="patchcore", by="test")
            recipe = Recipe(product="tile", thresholds=OLD)
            row = add_recipe(session, recipe=recipe, model_id=MODEL, by="test", reason="")
            activate(session, recipe_id=row.key, by="test", reason="")

        database.write(first).result(timeout=10)
        judges = ActiveJudges(home, database, "tile", kind="auto", camera_ids=["top"], poll_s=0.01, load=load)
        with contextlib.closing(judges):
            held = judges.current()
            assert verdict(held) is Verdict.REJECT
            with database.read() as session:
                since = active(session, "tile")
            assert since is not None
            change_thresholds(database, NEW, since=since, by="vera", reason="lot 7")
            assert verdict(held) is Verdict.REJECT, "a part that is being judged keeps its recipe"
            deadline = time.monotonic() + 10
            while (judge := judges.current()) is held:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert verdict(judge) is Verdict.ACCEPT
            assert judge is not None
            assert judge.model_id == MODEL
