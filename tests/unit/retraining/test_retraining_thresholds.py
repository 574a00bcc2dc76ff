"""Changing thresholds: what they would have meant, and the trail they leave."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import Session, col, select

from partgate.records import (
    Active,
    Audit,
    Database,
    Finding,
    Home,
    Part,
    RegistryError,
    Review,
    User,
    activate,
    active,
    add_model,
    add_recipe,
    add_station,
    recipes,
    rollback,
    verify_audit,
)
from partgate.retraining import change_thresholds, effect_of, threshold_evidence
from partgate_engines import Calibration
from partgate_engines.anomaly import calibrate
from partgate_station import ConfigError, Recipe, Region, Thresholds, Verdict

NOW = datetime(2026, 11, 1, tzinfo=UTC)
MODEL, OTHER = "a" * 64, "b" * 64
RECIPE = Recipe(
    product="tile",
    thresholds=Thresholds(review=10, reject=20),
    regions=(Region(polygon=((0.0, 0.0), (9.0, 0.0), (9.0, 9.0))),),
    deadline_ms=250,
    review_gate="accept",
)
CALIBRATION = calibrate([5.0, 6.0, 11.0, 7.0], parts=[0, 1, 1, 2])
# Finding, score, model: what QA said last of each part that the line has seen.
REVIEWED = [
    (Finding.GOOD, 12.0, MODEL),
    (Finding.GOOD, 25.0, MODEL),
    (Finding.DEFECTIVE, 9.0, MODEL),
    (Finding.DEFECTIVE, 15.0, MODEL),
    (Finding.DEFECTIVE, 30.0, MODEL),
    (Finding.GOOD, 99.0, OTHER),
    (Finding.GOOD, None, MODEL),
]


def fill(session: Session) -> None:
    for model_id in (MODEL, OTHER):
        add_model(session, model_id=model_id, product="tile", kind="patchcore", by="vera")
    first = add_recipe(session, recipe=RECIPE, model_id=MODEL, by="vera", reason="learned")
    activate(session, recipe_id=first.key, by="vera", reason="first")
    add_station(session, station_id="one")
    session.add(User(id=1, name="qa", password_hash="none"))
    session.flush()
    for number, (finding, score, model_id) in enumerate(REVIEWED, start=1):
        part = Part(station_id="one", trigger_id=number, triggered_at=NOW, product="tile", score=score,
                    model_id=model_id, verdict=Verdict.REVIEW, closed_at=NOW)  # fmt: skip
        session.add(part)
        session.flush()
        # Each was first found to be the opposite: only the last finding counts.
        opposite = Finding.GOOD if finding is Finding.DEFECTIVE else Finding.DEFECTIVE
        for said in (opposite, finding):
            session.add(Review(part_id=part.id, finding=said, reviewer_id=1))
            session.flush()


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


def test_thresholds_are_tried_on_the_scores_of_their_own_model(database: Database) -> None:
    with database.read() as session:
        evidence = threshold_evidence(session, CALIBRATION, in_force(database))
    assert evidence.held_out == (5.0, 11.0, 7.0), "two photographs of one part count once"
    assert sorted(evidence.found_good) == [12.0, 25.0]
    assert sorted(evidence.found_defective) == [9.0, 15.0, 30.0]
    assert evidence.left_out == 2


@pytest.mark.parametrize(
    ("review", "reject", "held_out", "found_good", "found_defective"),
    [
        (10, 20, (2, 1, 0), (0, 1, 1), (1, 1, 1)),
        (5, 5, (0, 0, 3), (0, 0, 2), (0, 0, 3)),
        (30, 31, (3, 0, 0), (2, 0, 0), (2, 1, 0)),
    ],
)
def test_the_effect_counts_false_rejects_and_escapes(
    database: Database,
    review: float,
    reject: float,
    held_out: tuple[int, ...],
    found_good: tuple[int, ...],
    found_defective: tuple[int, ...],
) -> None:
    with database.read() as session:
        evidence = threshold_evidence(session, CALIBRATION, in_force(database))
    effect = effect_of(Thresholds(review=review, reject=reject), evidence)
    for verdicts, expected in (
        (effect.held_out, held_out),
        (effect.found_good, found_good),
        (effect.found_defective, found_defective),
    ):
        assert (verdicts.accept, verdicts.review, verdicts.reject) == expected
        assert verdicts.of == sum(expected)


def test_mirrors_of_one_image_are_no_parts(database: Database) -> None:
    mirrored: Calibration = calibrate([1.0, 2.0, 3.0], method="mirrored")
    with database.read() as session:
        assert threshold_evidence(session, mirrored, in_force(database)).held_out == ()


def test_a_change_is_a_version_in_force_with_who_and_why(database: Database) -> None:
    new = Thresholds(review=12, reject=24)
    version = change_thresholds(database, new, since=in_force(database), by="vera", reason="lot 7")
    now = in_force(database)
    assert (version, now.model_id) == (2, MODEL)
    assert now.recipe == RECIPE.model_copy(update={"thresholds": new}), "all else stays"
    with database.read() as session:
        latest, first = recipes(session, "tile")
        assert (latest.version, latest.created_by, latest.reason) == (2, "vera", "lot 7")
        assert first.version == 1
        row = session.exec(select(Audit).where(col(Audit.what) == "recipe.threshold")).one()
        assert (row.who, row.why) == ("vera", "lot 7")
        assert (row.before, row.after) == (
            {"review": 10.0, "reject": 20.0},
            {"review": 12.0, "reject": 24.0},
        )
        assert verify_audit(session) is None
    database.write(lambda session: rollback(session, "tile", by="vera", reason="")).result(timeout=10)
    assert in_force(database).recipe == RECIPE


def test_the_thresholds_in_force_are_no_change(database: Database) -> None:
    with pytest.raises(ConfigError, match="has these thresholds already: review 10, reject 20"):
        change_thresholds(database, RECIPE.thresholds, since=in_force(database), by="vera", reason="x")
    with database.read() as session:
        assert len(recipes(session, "tile")) == 1


def test_a_change_decided_on_what_is_no_longer_in_force_is_refused(database: Database) -> None:
    since = in_force(database)
    change_thresholds(database, Thresholds(review=1, reject=2), since=since, by="vera", reason="first")
    with pytest.raises(RegistryError, match="came into force meanwhile"):
        change_thresholds(database, Thresholds(review=3, reject=4), since=since, by="otto", reason="second")
    assert in_force(database).recipe.thresholds == Thresholds(review=1, reject=2)
