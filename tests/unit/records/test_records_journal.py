"""Triggers that are durable before their rows are in the table."""

import os
import shutil
import uuid
from pathlib import Path

import pytest
from sqlmodel import select

from partgate.records import Database, Home, OpenPart, Part, StoreUnwritable, balance, utc_now
from partgate.records._journal import (
    SLOT_BYTES,
    SLOTS,
    Journal,
    Noted,
    fold,
    fold_left_behind,
    journal_lock,
    journal_path,
)
from partgate_station import Verdict

TIMEOUT_S = 10


def _part(trigger_id: int, **fields: str) -> OpenPart:
    return OpenPart(trigger_id=trigger_id, triggered_at=utc_now(), serial_number=fields.get("serial"))


def _written(home: Home, *parts: OpenPart) -> Journal:
    journal = Journal(home, "one")
    journal.write(parts)
    return journal


def _rows(database: Database) -> dict[int, Part]:
    with database.read() as session:
        return {part.trigger_id: part for part in session.exec(select(Part)).all()}


def test_what_a_killed_station_left_is_put_into_the_table(home: Home, database: Database) -> None:
    parts = [_part(1, serial="SN-1"), _part(2), _part(3)]
    _written(home, *parts).close()
    assert fold(database, "one") == 3
    rows = _rows(database)
    assert {number: row.id for number, row in rows.items()} == {p.trigger_id: p.part_id for p in parts}
    assert (rows[1].serial_number, rows[1].triggered_at, rows[1].verdict) == (
        "SN-1",
        parts[0].triggered_at,
        None,
    )
    assert fold(database, "one") == 0
    assert not any(journal_path(home, "one").read_bytes())


def test_rows_that_are_there_already_are_not_written_twice(home: Home, database: Database) -> None:
    parts = [_part(1), _part(2)]
    _written(home, *parts).close()
    saved = journal_path(home, "one").read_bytes()
    assert fold(database, "one") == 2
    journal_path(home, "one").write_bytes(saved)
    assert fold(database, "one") == 0
    assert len(_rows(database)) == 2


def test_whoever_opens_the_records_finds_them(home: Home) -> None:
    _written(home, _part(7)).close()
    with Database.open(home) as database, database.read() as session:
        assert balance(session, "one").open == 1


def test_the_journal_of_a_running_station_is_left_alone(home: Home, database: Database) -> None:
    journal = _written(home, _part(1))
    with home.lock(journal_lock("one")):
        fold_left_behind(database)
        assert _rows(database) == {}
    fold_left_behind(database)
    assert set(_rows(database)) == {1}
    journal.close()


@pytest.mark.parametrize("cut", [0, 1, 4, 8, 12, 40], ids=lambda cut: f"after-{cut}-bytes")
def test_a_slot_that_was_being_written_when_the_power_went_is_passed_over(
    home: Home, database: Database, cut: int
) -> None:
    _written(home, _part(1), _part(2)).close()
    path = journal_path(home, "one")
    content = bytearray(path.read_bytes())
    second = content.index(b"PGJ1", 1)
    content[second + cut : second + SLOT_BYTES] = bytes(SLOT_BYTES - cut)
    path.write_bytes(content)
    assert fold(database, "one") == 1
    assert set(_rows(database)) == {1}


@pytest.mark.parametrize(
    "content",
    [b"", b"x" * 100, os.urandom(3 * SLOT_BYTES), b"PGJ1" + b"\xff" * SLOT_BYTES],
    ids=["empty", "short", "random", "length-beyond-the-slot"],
)
def test_a_spoilt_journal_holds_nothing_and_is_made_anew(
    home: Home, database: Database, content: bytes
) -> None:
    path = journal_path(home, "one")
    path.parent.mkdir()
    path.write_bytes(content)
    assert fold(database, "one") == 0
    journal = Journal(home, "one")
    journal.write([_part(1)])
    journal.close()
    assert path.stat().st_size == SLOTS * SLOT_BYTES
    assert fold(database, "one") == 1


def test_a_trigger_that_contradicts_the_ledger_does_not_take_the_others_with_it(
    home: Home, database: Database
) -> None:
    _written(home, _part(1)).close()
    fold(database, "one")
    _written(home, _part(1), _part(2)).close()
    assert fold(database, "one") == 1
    assert set(_rows(database)) == {1, 2}


def test_slots_are_written_again_once_their_rows_are_in_the_table(home: Home, database: Database) -> None:
    journal = Journal(home, "one")
    parts = [_part(number) for number in range(1, SLOTS + 1)]
    journal.write(parts)
    assert journal.wait_free(0.01) == 0
    journal.forget([part.part_id for part in parts[:2]])
    journal.forget([uuid.uuid4()])  # a slot that was never taken frees none
    assert journal.wait_free(TIMEOUT_S) == 2
    journal.write([_part(1001), _part(1002)])
    journal.close()
    fold(database, "one")
    assert set(_rows(database)) == {*range(3, SLOTS + 1), 1001, 1002}


@pytest.mark.parametrize(
    "serial",
    ["x" * 5000, "€" * 5000, "\0" * 5000, "\ud800"],
    ids=["long", "three-bytes-each", "escaped", "not-text"],
)
def test_any_serial_number_fits(home: Home, database: Database, serial: str) -> None:
    _written(home, _part(1, serial=serial)).close()
    assert fold(database, "one") == 1
    assert len(_rows(database)[1].serial_number or "") == min(512, len(serial))


def _noted(part: OpenPart, verdict: Verdict = Verdict.ACCEPT, reason: str | None = None) -> Noted:
    return Noted(part_id=part.part_id, verdict=verdict, reason=reason, score=3.25, latency_ms=12.5)


def test_a_verdict_that_had_left_is_what_the_ledger_says(home: Home, database: Database) -> None:
    parts = [_part(1), _part(2), _part(3)]
    journal = _written(home, *parts)
    journal.note(_noted(parts[0]))
    journal.note(_noted(parts[1], Verdict.UNDECIDED, "LATE: " + "\0" * 4000))
    journal.note(_noted(_part(9)))  # of a part that has no slot: nothing
    journal.close()
    assert fold(database, "one") == 3
    rows = _rows(database)
    assert (rows[1].verdict, rows[1].score, rows[1].latency_ms) == (Verdict.ACCEPT, 3.25, 12.5)
    assert rows[2].verdict is Verdict.UNDECIDED
    assert (rows[2].reason or "").startswith("LATE: ")
    assert rows[3].verdict is None
    assert not any(journal_path(home, "one").read_bytes())


def test_a_verdict_of_a_part_whose_row_is_there_already_closes_it(home: Home, database: Database) -> None:
    part = _part(1)
    _written(home, part).close()
    saved = journal_path(home, "one").read_bytes()
    assert fold(database, "one") == 1
    journal_path(home, "one").write_bytes(saved)
    journal = Journal(home, "one")
    journal._slots[part.part_id] = 0
    journal.note(_noted(part, Verdict.REJECT))
    journal.close()
    assert fold(database, "one") == 0
    assert _rows(database)[1].verdict is Verdict.REJECT


def test_a_slot_that_is_used_again_says_nothing_of_the_part_before(home: Home, database: Database) -> None:
    journal = Journal(home, "one")
    first = [_part(number) for number in range(1, SLOTS + 1)]
    journal.write(first)
    journal.note(_noted(first[0]))
    journal.forget([first[0].part_id])
    journal.write([_part(1001)])
    journal.note(_noted(first[0]))  # too late: its slot is another's
    journal.close()
    fold(database, "one")
    assert {row.verdict for row in _rows(database).values()} == {None}


@pytest.mark.parametrize("cut", [0, 4, 12, 40], ids=lambda cut: f"after-{cut}-bytes")
def test_a_verdict_that_was_being_noted_when_the_power_went_leaves_its_trigger(
    home: Home, database: Database, cut: int
) -> None:
    part = _part(1)
    journal = _written(home, part)
    journal.note(_noted(part))
    journal.close()
    path = journal_path(home, "one")
    content = bytearray(path.read_bytes())
    note = content.index(b"PGV1")
    assert note % 512 == 0, "a sector of its own"
    content[note + cut : note + 512] = bytes(512 - cut)
    path.write_bytes(content)
    assert fold(database, "one") == 1
    assert _rows(database)[1].verdict is None


def test_a_verdict_is_noted_without_waiting_and_a_closed_journal_is_no_harm(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = _part(1)
    journal = _written(home, part)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: pytest.fail("waited for the disk"))
    journal.note(_noted(part))
    journal.close()
    journal.note(_noted(part, Verdict.REJECT))
    assert b"ACCEPT" in journal_path(home, "one").read_bytes()


def test_a_disk_that_refuses_is_said_and_asked_anew(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    journal = Journal(home, "one")
    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(StoreUnwritable, match="Input/output error"):
        journal.write([_part(1)])
    monkeypatch.undo()
    assert journal.wait_free(0) == SLOTS - 1  # what may lie there is for the next start to see
    journal.write([_part(2)])  # by a new descriptor: the old one's failed pages are forgotten
    journal.close()


def test_a_home_without_a_place_for_it_is_said(home: Home) -> None:
    Path(home.path / "journal").write_text("in the way")
    with pytest.raises(StoreUnwritable, match="cannot be written"):
        Journal(home, "one")
    shutil.rmtree(home.path / "journal", ignore_errors=True)
