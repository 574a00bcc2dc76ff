"""What is asked of a ledger of months, by which index: a station that starts must not read all its parts."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest
from sqlalchemy import event
from sqlmodel import Session, select

from partgate.records import (
    Database,
    Home,
    Part,
    add_station,
    count_unconfirmed,
    new_id,
    part_named,
    stations_with_open_parts,
    utc_now,
)
from partgate.records._parts import close_interrupted, highest_trigger_id
from partgate_station import Verdict

TIMEOUT_S = 10
Statements = list[tuple[str, Any]]


def many(session: Session) -> None:
    """Two stations with parts enough that SQLite minds which way it goes."""
    for station_id in ("one", "two"):
        add_station(session, station_id=station_id)
        now = utc_now()
        session.add_all(
            Part(
                station_id=station_id,
                trigger_id=number,
                triggered_at=now,
                verdict=Verdict.ACCEPT,
                closed_at=now,
                serial_number=f"SN-{number}" if number % 2 else None,
            )
            for number in range(1, 501)
        )


@pytest.fixture
def filled(database: Database) -> Database:
    database.write(many).result(TIMEOUT_S)
    return database


@contextmanager
def listened(engine: Any) -> Iterator[Statements]:
    said: Statements = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        said.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    yield said
    event.remove(engine, "before_cursor_execute", note)


def plans(home: Home, said: Statements) -> str:
    connection = sqlite.connect(str(home.database_path))
    try:
        return "\n".join(
            row[-1]
            for statement, parameters in said
            if statement.startswith(("SELECT", "UPDATE"))
            for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        )
    finally:
        connection.close()


ASKED: dict[str, Callable[[Session], object]] = {
    "unconfirmed signals": count_unconfirmed,
    "unconfirmed signals of a station": lambda session: count_unconfirmed(session, "one"),
    "open parts": lambda session: stations_with_open_parts(session, "one"),
    "the last trigger": lambda session: highest_trigger_id(session, "one"),
    "a trigger's number": lambda session: session.exec(select(Part.id).where(part_named("77"))).all(),
    "a serial number": lambda session: session.exec(select(Part.id).where(part_named("SN-77"))).all(),
    "a part's id": lambda session: session.exec(select(Part.id).where(part_named(str(new_id())))).all(),
}


@pytest.mark.parametrize("asked", ASKED)
def test_few_rows_are_found_without_reading_all(filled: Database, home: Home, asked: str) -> None:
    with listened(filled._reader) as said, filled.read() as session:
        ASKED[asked](session)
    found = plans(home, said)
    assert "part" in found
    assert "SCAN part\n" not in f"{found}\n", found


def test_a_start_finds_what_was_left_open_without_reading_all(filled: Database, home: Home) -> None:
    with listened(filled._writer) as said:
        act = filled.write(lambda session: close_interrupted(session, "one", frozenset[uuid.UUID]()))
        assert act.result(TIMEOUT_S) == 0
    found = plans(home, said)
    assert "ix_part_open" in found, found


def test_each_name_of_a_part_finds_it(filled: Database) -> None:
    with filled.read() as session:
        by_trigger = session.exec(select(Part).where(part_named("77"))).all()
        by_serial = session.exec(select(Part).where(part_named("SN-77"))).all()
        by_id = session.exec(select(Part).where(part_named(f"part:{by_serial[0].id}"))).all()
    assert (
        {part.station_id for part in by_trigger} == {part.station_id for part in by_serial} == {"one", "two"}
    )
    assert [part.id for part in by_id] == [by_serial[0].id]
