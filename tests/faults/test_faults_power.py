"""Power is lost at a random moment (robustness F20): what was promised is there, and nothing is half there.

What a disk may hold then is made from what was written: all that was synced, and of what was not each
write whole, in part, or not at all.
"""

import os
import random
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest
from sqlmodel import select

from partgate.records import Database, Home, OpenPart, Part
from partgate.records._journal import SLOT_BYTES, SLOTS, Journal, _left_in, fold, journal_path
from partgate.records._parts import insert_open
from partgate.records._registry import add_station

SECTOR_BYTES = 512
CUTS = 300
PAGE_BYTES, WAL_FRAME_BYTES = 4096, 24


def part(number: int) -> OpenPart:
    return OpenPart(trigger_id=number, triggered_at=datetime.now(UTC), serial_number="é" * (number % 300))


@dataclass
class Disk:
    """Notes what is written to a file, when it was synced, and what had been promised by then."""

    writes: list[tuple[int, bytes]] = field(default_factory=list)
    synced: list[int] = field(default_factory=list)
    """How many of the writes were synced, at each sync."""
    promised: list[tuple[int, frozenset[uuid.UUID]]] = field(default_factory=list)
    """From so many writes on: the parts that must be there."""

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def noting(call: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
            def noted(*arguments: Any) -> Any:
                note(*arguments)
                return call(*arguments)

            return noted

        def wrote(_: int, data: bytes, offset: int) -> None:
            self.writes.append((offset, bytes(data)))

        def synced(_: int) -> None:
            self.synced.append(len(self.writes))

        monkeypatch.setattr(os, "pwrite", noting(os.pwrite, wrote))
        monkeypatch.setattr(os, "fdatasync", noting(os.fdatasync, synced))

    def promise(self, parts: set[uuid.UUID]) -> None:
        self.promised.append((len(self.writes), frozenset(parts)))

    def cut(self, at: int, chance: random.Random) -> tuple[bytes, frozenset[uuid.UUID]]:
        """Return what the file may hold when power goes after so many writes, and what must be in it."""
        durable = max((count for count in self.synced if count <= at), default=0)
        content = bytearray(SLOTS * SLOT_BYTES)
        for number, (offset, data) in enumerate(self.writes[:at]):
            for start in range(0, len(data), SECTOR_BYTES):
                if number < durable or chance.random() < 0.5:
                    sector = data[start : start + SECTOR_BYTES]
                    content[offset + start : offset + start + len(sector)] = sector
        must = [parts for count, parts in self.promised if count <= at]
        return bytes(content), must[-1] if must else frozenset()


def test_f20_no_promised_trigger_is_missing_from_the_journal_after_any_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, alive, chance = Disk(), set[uuid.UUID](), random.Random(20)
    home = Home.open(tmp_path / "home")
    journal = Journal(home, "one")
    all_parts: dict[uuid.UUID, OpenPart] = {}
    with monkeypatch.context() as patched:
        disk.watch(patched)
        number = 0
        for _ in range(150):  # more than there are slots: they are written again
            batch = [part(number + more) for more in range(1, 1 + chance.randrange(1, 5))]
            number += len(batch)
            # Rows of these are in the table by now: their slots are free, and nobody counts on them.
            gone = [one for one in alive if chance.random() < 0.4]
            alive.difference_update(gone)
            disk.promise(alive)
            journal.forget(gone)
            journal.write(batch)
            all_parts |= {one.part_id: one for one in batch}
            alive.update(one.part_id for one in batch)
            disk.promise(alive)
    journal.close()
    assert len(disk.writes) > SLOTS
    for _ in range(CUTS):
        content, must = disk.cut(chance.randrange(len(disk.writes) + 1), chance)
        path = tmp_path / "cut.journal"
        path.write_bytes(content)
        found = {one.part_id: one for one in _left_in(path)}
        assert must <= set(found)
        assert all(all_parts[part_id] == one for part_id, one in found.items()), "whole, or not there"
    content, must = disk.cut(len(disk.writes), chance)
    journal_path(home, "one").write_bytes(content)
    with Database.open(home) as database:
        fold(database, "one")
        with database.read() as session:
            assert must <= set(session.exec(select(Part.id)).all())


def test_f20_no_committed_row_is_missing_from_the_database_after_any_cut(tmp_path: Path) -> None:
    home, chance = Home.open(tmp_path / "home"), random.Random(20)
    ids: list[uuid.UUID] = []
    sizes: list[int] = []
    with Database.open(home) as database:
        database.write(lambda session: add_station(session, station_id="one")).result(30)
        before = home.database_path.read_bytes()
        wal = home.database_path.with_name(home.database_path.name + "-wal")
        for number in range(1, 41):
            one = part(number)
            database.write(lambda session, one=one: insert_open(session, "one", [one])).result(30)  # type: ignore[misc]
            ids.append(one.part_id)
            sizes.append(wal.stat().st_size)
        written = wal.read_bytes()
        assert home.database_path.read_bytes() == before, "nothing was moved out of the log meanwhile"
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] == len(written)
    for cut in range(40):
        committed = chance.randrange(len(ids))
        broken = tmp_path / f"cut-{cut}"
        broken.mkdir()
        shutil.copy(home.marker_path, broken)
        (broken / home.database_path.name).write_bytes(before)
        (broken / wal.name).write_bytes(_torn(written, sizes[committed], chance))
        connection = sqlite.connect(str(broken / home.database_path.name))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = {uuid.UUID(row[0]) for row in connection.execute("SELECT id FROM part")}
        connection.close()
        assert set(ids[: committed + 1]) <= found <= set(ids)


def _torn(written: bytes, synced: int, chance: random.Random) -> bytes:
    """Return a log of which all up to `synced` is on disk, and of each frame after it some sectors."""
    content = bytearray(written[:synced])
    for start in range(synced, len(written), WAL_FRAME_BYTES + PAGE_BYTES):
        frame = bytearray(written[start : start + WAL_FRAME_BYTES + PAGE_BYTES])
        for sector in range(0, len(frame), SECTOR_BYTES):
            if chance.random() < 0.3:
                frame[sector : sector + SECTOR_BYTES] = bytes(len(frame[sector : sector + SECTOR_BYTES]))
        content += frame
    return bytes(content[: synced + chance.randrange(len(written) - synced + 1)])
