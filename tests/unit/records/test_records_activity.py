"""What a station is doing, and counting it without counting twice."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlmodel import Session, col, select

from partgate.records import (
    Activity,
    ActivityReader,
    Database,
    Holder,
    Home,
    Part,
    activity,
    add_model,
    add_recipe,
    add_station,
    balance,
    station_names,
)
from partgate.records import activate as activate_recipe
from partgate.records._activity import _midnight
from partgate_station import AlreadyRunning, Recipe, Thresholds, Verdict

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=timezone(timedelta(hours=2)))
MODEL = "a" * 64


def part(trigger_id: int, verdict: Verdict | None, ago: timedelta, *, reason: str | None = None) -> Part:
    at = (NOON - ago).astimezone(UTC)
    if verdict is Verdict.UNDECIDED and reason is None:
        reason = "CAMERA_TIMEOUT: none came"
    return Part(station_id="line1", trigger_id=trigger_id, triggered_at=at, verdict=verdict, reason=reason,
                closed_at=None if verdict is None else at)  # fmt: skip


def add(database: Database, parts: Sequence[Part]) -> None:
    def act(session: Session) -> None:
        add_station(session, station_id="line1", name="Line 1")
        session.add_all(parts)

    database.write(act).result(timeout=10)


def read(database: Database, reader: ActivityReader | None = None, now: datetime = NOON) -> Activity:
    with database.read() as session:
        return (reader or ActivityReader("line1")).read(session, now=now)


def s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def test_parts_are_counted_by_the_time_that_they_came(database: Database) -> None:
    add(
        database,
        [
            part(1, Verdict.ACCEPT, timedelta(hours=13)),  # before midnight of that zone
            part(2, Verdict.REJECT, timedelta(hours=11)),
            part(3, Verdict.UNDECIDED, timedelta(hours=2)),
            part(4, Verdict.UNDECIDED, timedelta(minutes=50)),
            part(5, Verdict.UNDECIDED, timedelta(minutes=40), reason="DEADLINE_MISSED: by 3 ms"),
            part(6, Verdict.UNDECIDED, timedelta(minutes=30), reason="DEADLINE_MISSED: by 8 ms"),
            part(7, Verdict.ACCEPT, s(59)),
            part(8, None, s(1)),
        ],
    )
    found = read(database)
    assert (found.in_all.triggers, found.in_all.accept, found.in_all.open) == (8, 2, 1)
    assert found.today == {
        Verdict.ACCEPT: 1, Verdict.REVIEW: 0, Verdict.REJECT: 1, Verdict.UNDECIDED: 4,
    }  # fmt: skip
    assert found.today_open == 1
    assert found.parts_last_minute == 2
    assert list(found.undecided_last_hour.items()) == [("DEADLINE_MISSED", 2), ("CAMERA_TIMEOUT", 1)]
    assert found.last is not None
    assert (found.last.trigger_id, found.last.verdict, found.last.model_id) == (8, None, None)
    with database.read() as session:
        assert station_names(session) == {"line1": "Line 1"}


def test_a_station_that_never_ran(database: Database) -> None:
    with database.read() as session:
        found = activity(session, "line9", now=NOON)
    assert (found.in_all.triggers, found.in_all.balanced, found.last) == (0, True, None)
    assert sum(found.today.values()) == found.parts_last_minute == 0


def test_a_reader_agrees_with_the_ledger_at_every_look(database: Database) -> None:
    reader = ActivityReader("line1")
    verdicts = [Verdict.ACCEPT, None, Verdict.REJECT, Verdict.ACCEPT, None, Verdict.REVIEW]
    for number, verdict in enumerate(verdicts, start=1):
        add(database, [part(number, verdict, s(100 - number))])
        assert_agreed(database, reader)
    for number in (2, 5):  # those that were open are closed later, and not in order of their triggers
        database.write(lambda session, n=number: close(session, n)).result(timeout=10)  # type: ignore[misc]
        assert_agreed(database, reader)
    assert read(database, reader).in_all.balanced


def close(session: Session, trigger_id: int) -> None:
    row = session.exec(select(Part).where(col(Part.trigger_id) == trigger_id)).one()
    row.verdict, row.closed_at = Verdict.ACCEPT, row.triggered_at
    session.add(row)


def assert_agreed(database: Database, reader: ActivityReader) -> None:
    with database.read() as session:
        found = reader.read(session, now=NOON)
        assert found.in_all == balance(session, "line1")
    assert sum(found.today.values()) + found.today_open == found.in_all.triggers


def test_a_new_day_begins_at_midnight(database: Database) -> None:
    reader = ActivityReader("line1")
    add(database, [part(1, Verdict.ACCEPT, s(5))])
    assert read(database, reader).today[Verdict.ACCEPT] == 1
    tomorrow = NOON + timedelta(days=1)
    assert read(database, reader, tomorrow).today[Verdict.ACCEPT] == 0
    add(database, [part(2, Verdict.REJECT, -timedelta(days=1) + s(5))])
    assert read(database, reader, tomorrow).today[Verdict.REJECT] == 1


def test_what_judges_is_named(database: Database) -> None:
    def learn(session: Session) -> tuple[int, int]:
        add_station(session, station_id="line1")
        for model_id in (MODEL, "b" * 64):
            add_model(session, model_id=model_id, product="tile", kind="patchcore", by="test")
        recipe = Recipe(product="tile", thresholds=Thresholds(review=1, reject=2))
        rows = [
            add_recipe(session, recipe=recipe, model_id=model_id, by="test", reason="")
            for model_id in (MODEL, "b" * 64)
        ]
        for row in rows:
            session.flush()
            activate_recipe(session, recipe_id=row.key, by="test", reason="")
        return rows[0].key, rows[1].key

    first, _ = database.write(learn).result(timeout=10)
    judged = part(1, Verdict.ACCEPT, s(5))
    judged.product, judged.recipe_id, judged.model_id, judged.runtime = "tile", first, MODEL, "openvino"
    add(database, [judged])
    found = read(database)
    assert found.last is not None
    assert (found.last.product, found.last.recipe_version, found.last.model_id) == ("tile", 1, MODEL)
    assert found.active_model_id == "b" * 64, "activated, and not taken up yet"


def test_who_holds_a_lock_is_named_and_looking_takes_nothing(home: Home) -> None:
    assert home.holder("station-line1") is None
    with home.lock("station-line1"):
        holder = home.holder("station-line1")
        assert holder is not None
        assert holder.pid is not None
        assert f"pid {holder.pid}, since 20" in str(holder)
        with pytest.raises(AlreadyRunning), home.lock("station-line1"):
            pass
    assert home.holder("station-line1") is None, "its file is still there"
    with home.lock("station-line1"):
        pass


def test_a_holder_that_has_not_written_its_name(home: Home) -> None:
    with home.lock("station-line1"):
        (home.path / "locks" / "station-line1.lock").write_text("")
        assert home.holder("station-line1") == Holder(pid=None, since=None)
        assert "just started" in str(home.holder("station-line1"))


@pytest.mark.parametrize(
    ("at", "begins"),
    [
        pytest.param("2026-03-29T12:00:00+02:00", "2026-03-28T23:00:00+00:00", id="spring"),
        pytest.param("2026-10-25T12:00:00+01:00", "2026-10-24T22:00:00+00:00", id="autumn"),
        pytest.param("2026-07-01T12:00:00+02:00", "2026-06-30T22:00:00+00:00", id="summer"),
        pytest.param("2026-07-01T12:00:00+05:30", "2026-06-30T18:30:00+00:00", id="elsewhere"),
    ],
)
def test_the_day_begins_at_midnight_also_when_the_clocks_change(
    at: str, begins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert _midnight(datetime.fromisoformat(at)) == datetime.fromisoformat(begins)
    finally:
        monkeypatch.undo()
        time.tzset()
