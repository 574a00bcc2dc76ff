"""Limits of regions: what is said of them, who may change them, and which scores they make worthless."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

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
    verify_audit,
)
from partgate.retraining import (
    change_regions,
    region_facts,
    sensitivity_for,
    threshold_evidence,
    with_sensitivity,
)
from partgate_engines import Bundle, RegionEvidence
from partgate_engines.anomaly import calibrate
from partgate_station import ConfigError, Recipe, Region, Thresholds, Verdict

MODEL = "a" * 64
SQUARE = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0))
REGIONS = (
    Region(polygon=SQUARE, name="rim", sensitivity=1.0),
    Region(polygon=SQUARE, name="face", sensitivity=2.0),
    Region(polygon=SQUARE),
)
RECIPE = Recipe(product="tile", thresholds=Thresholds(review=10, reject=20), regions=REGIONS)
CALIBRATION = calibrate([5.0, 6.0, 11.0]).model_copy(
    update={
        "regions": (
            RegionEvidence(name="rim", sensitivity=1.0, set_by="learning", scores=(5.0, 6.0, 11.0)),
            RegionEvidence(name="face", sensitivity=4.0, set_by="learning", scores=(1.0, 2.0, 2.5)),
        )
    }
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with contextlib.closing(Database.open(Home.open(tmp_path / "home"))) as database:
        database.write(fill).result(timeout=10)
        yield database


def fill(session: Session) -> None:
    add_model(session, model_id=MODEL, product="tile", kind="patchcore", by="vera")
    row = add_recipe(session, recipe=RECIPE, model_id=MODEL, by="vera", reason="learned")
    activate(session, recipe_id=row.key, by="vera", reason="first")
    add_station(session, station_id="one")
    session.add(User(id=1, name="qa", password_hash="none"))
    session.flush()


def in_force(database: Database) -> Active:
    with database.read() as session:
        now = active(session, "tile")
    assert now is not None
    return now


def judged(session: Session, trigger_id: int, score: float, recipe_id: int) -> None:
    part = Part(station_id="one", trigger_id=trigger_id, triggered_at=datetime(2026, 11, 1, tzinfo=UTC),
                product="tile", score=score, model_id=MODEL, recipe_id=recipe_id, verdict=Verdict.REVIEW,
                closed_at=datetime(2026, 11, 1, tzinfo=UTC))  # fmt: skip
    session.add(part)
    session.flush()
    session.add(Review(part_id=part.id, finding=Finding.GOOD, reviewer_id=1))
    session.flush()


def test_facts_are_on_the_regions_own_scale_and_say_who_set_it() -> None:
    rim, face = region_facts(REGIONS, RECIPE.thresholds, CALIBRATION)
    assert rim == {
        "name": "rim",
        "sensitivity": 1.0,
        "set_by": "learning",
        "thresholds": {"review": 10.0, "reject": 20.0},
        "good_parts": {"n": 3, "median": 6.0, "highest": 11.0},
    }
    assert face["thresholds"] == {"review": 5.0, "reject": 10.0}
    assert face["set_by"] == "recipe"  # it was 4 when the parts set it
    assert face["good_parts"] == {"n": 3, "median": 2.0, "highest": 2.5}


def test_a_model_without_evidence_of_regions_says_so() -> None:
    (one,) = region_facts(REGIONS[1:2], RECIPE.thresholds, calibrate([5.0, 6.0]))
    assert one["good_parts"] is None


def test_the_sensitivity_of_a_limit() -> None:
    assert sensitivity_for("rim", RECIPE.thresholds, 5) == 4.0
    for reject in (0.9, 401, -5):
        with pytest.raises(ConfigError, match="may lie from 1 to 400"):
            sensitivity_for("rim", RECIPE.thresholds, reject)


def bundle(*, takes: bool) -> Bundle:
    return cast("Bundle", SimpleNamespace(id=MODEL, manifest=SimpleNamespace(takes_sensitivities=takes)))


def test_another_limit_is_a_version_with_who_and_why(database: Database) -> None:
    now = in_force(database)
    regions = with_sensitivity(now, bundle(takes=True), "face", 5.0)
    assert [one.sensitivity for one in regions] == [1.0, 5.0, None]
    version = change_regions(database, regions, since=now, by="vera", reason="lot 7")
    after = in_force(database)
    assert (version, after.recipe) == (2, RECIPE.model_copy(update={"regions": regions}))
    with database.read() as session:
        row = session.exec(select(Audit).where(col(Audit.what) == "recipe.region")).one()
        assert (row.who, row.why) == ("vera", "lot 7")
        assert (row.before, row.after) == ({"rim": 1.0, "face": 2.0}, {"rim": 1.0, "face": 5.0})
        assert verify_audit(session) is None
    with pytest.raises(RegistryError, match="came into force meanwhile"):
        change_regions(database, regions, since=now, by="uli", reason="too late")


@pytest.mark.parametrize(
    ("name", "sensitivity", "takes", "says"),
    [
        ("back", 2.0, True, "no region 'back'"),
        ("face", 2.0, True, "has sensitivity 2 already"),
        ("face", 0.01, True, "allowed is 0.05 to 20"),
        ("face", 3.0, False, "exported by an older partgate"),
    ],
)
def test_what_cannot_be_set_is_refused(
    database: Database,
    name: str,
    sensitivity: float,
    takes: bool,
    says: str,
) -> None:
    with pytest.raises(ConfigError, match=says):
        with_sensitivity(in_force(database), bundle(takes=takes), name, sensitivity)


def test_scores_with_other_limits_say_nothing(database: Database) -> None:
    first = in_force(database)
    regions = with_sensitivity(first, bundle(takes=True), "face", 5.0)
    change_regions(database, regions, since=first, by="vera", reason="lot 7")
    second = in_force(database)

    def parts(session: Session) -> None:
        judged(session, 1, 12.0, first.recipe_id)
        judged(session, 2, 30.0, second.recipe_id)

    database.write(parts).result(timeout=10)
    with database.read() as session:
        now = threshold_evidence(session, CALIBRATION, second)
        then = threshold_evidence(session, CALIBRATION, first)
    assert (now.found_good, now.left_out) == ((30.0,), 1)
    assert (then.found_good, then.left_out) == ((12.0,), 1)
