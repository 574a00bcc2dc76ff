"""Power is lost at a random moment (robustness F20): what was promised is there, and nothing is half there.

What a disk may hold then is made from what was written: all that was synced, and of what was not each
write whole, in part, or not at all.
"""

import os
import random
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pysqlite3
import pysqlite3.dbapi2 as sqlite
import pytest
from sqlmodel import Session, col, select

from partgate.records import (
    ClosedPart,
    Database,
    Frame,
    Home,
    ImageStore,
    OpenPart,
    Part,
    RecordedFrame,
    StoreError,
    _durable,
)
from partgate.records._durable import Written
from partgate.records._journal import SLOT_BYTES, SLOTS, Journal, Noted, _left_in, fold, journal_path
from partgate.records._parts import insert_open
from partgate.records._registry import add_station
from partgate.records._writing import PartWriter
from partgate_station import Verdict
from power_loss import Disk as WholeDisk
from power_loss import SqliteWrites, Synced, Wrote

SECTOR_BYTES = 512
CUTS = 300
DATABASE_CUTS, IMAGE_CUTS = 500, 100
ROUNDS, MOST_PARTS, PAGES_OF_LOG = 120, 6, 60
BATCHES, ALIKE = 7, 5
LONG_AGO_S = 4000.0  # after which a half-written file is nobody's


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
    noted: dict[uuid.UUID, Noted] = {}
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
            for one in batch:  # nobody waits for these: a cut may take them, and nothing else with them
                noted[one.part_id] = verdict = Noted(
                    part_id=one.part_id,
                    verdict=Verdict.ACCEPT,
                    reason=None,
                    score=chance.random(),
                    latency_ms=9.5,
                )
                journal.note(verdict)
    journal.close()
    assert len(disk.writes) > SLOTS
    seen = 0
    for _ in range(CUTS):
        content, must = disk.cut(chance.randrange(len(disk.writes) + 1), chance)
        path = tmp_path / "cut.journal"
        path.write_bytes(content)
        found = {one.part_id: (one, note) for one, note in _left_in(path)}
        assert must <= set(found)
        for part_id, (one, note) in found.items():
            assert all_parts[part_id] == one, "whole, or not there"
            assert note in (None, noted[part_id]), "its own, or none"
            seen += note is not None
    assert seen > CUTS, "most of them come to the disk with what is synced next"
    content, must = disk.cut(len(disk.writes), chance)
    journal_path(home, "one").write_bytes(content)
    with Database.open(home) as database:
        fold(database, "one")
        with database.read() as session:
            assert must <= set(session.exec(select(Part.id)).all())


@dataclass(kw_only=True)
class Story:
    """What a database's files went through, and what was promised when."""

    disk: WholeDisk
    database: int
    log: int
    ids: list[uuid.UUID] = field(default_factory=list)
    kept: list[tuple[int, int]] = field(default_factory=list)
    """From so many steps on: so many of `ids` must be there."""

    def promised(self, at: int) -> set[uuid.UUID]:
        count = max((count for steps, count in self.kept if steps <= at), default=0)
        return set(self.ids[:count])

    @property
    def moves(self) -> Sequence[int]:
        """The steps at which the log is on its way into the database."""
        return [
            number
            for number, step in enumerate(self.disk.done)
            if isinstance(step, Wrote) and step.file == self.database
        ]

    @property
    def checkpoints(self) -> int:
        """How often it was, to the end."""
        return sum(isinstance(step, Synced) and step.what == self.database for step in self.disk.done)


def database_story(home: Home, chance: random.Random) -> Story:
    """Write parts into a database whose log is moved into it again and again, as a station's is."""
    disk = WholeDisk(home.path)
    with Database.open(home) as database:
        database.write(lambda session: add_station(session, station_id="one")).result(30)
    path = home.database_path.resolve()
    story = Story(
        disk=disk,
        database=disk.new(path, path.read_bytes()),
        log=disk.new(path.with_name(path.name + "-wal")),
    )
    with SqliteWrites(pysqlite3._sqlite3.__file__, disk).watching(), Database.open(home) as database:
        database.write(_with_a_short_log).result(30)
        for number in range(ROUNDS):
            batch = [part(1 + number * MOST_PARTS + more) for more in range(chance.randrange(1, MOST_PARTS))]
            database.write(lambda session, batch=batch: insert_open(session, "one", batch)).result(30)  # type: ignore[misc]
            story.ids += [one.part_id for one in batch]
            story.kept.append((len(disk.done), len(story.ids)))
        disk = story.disk = replace(disk, done=list(disk.done))  # without what closing does
    return story


def _with_a_short_log(session: Session) -> None:
    """Have SQLite move its log into the database after so many pages; by default after 1,000."""
    session.connection().exec_driver_sql(f"PRAGMA wal_autocheckpoint={PAGES_OF_LOG}")


def left_in_database(
    home: Home, story: Story, folder: Path, contents: dict[int, bytes]
) -> tuple[set[uuid.UUID], str]:
    """Open what a cut left; return the parts in it, and what SQLite says of its soundness."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / home.database_path.name
    path.write_bytes(contents[story.database])
    path.with_name(path.name + "-wal").write_bytes(contents[story.log])
    connection = sqlite.connect(str(path))
    try:
        connection.execute("PRAGMA synchronous=OFF")  # only looked at
        ((sound, *_), *_) = connection.execute("PRAGMA integrity_check").fetchall()
        ids = [name for (name,) in connection.execute("SELECT id FROM part")]
        return {uuid.UUID(name) for name in ids if name}, sound  # a page of zeros has rows without one
    except sqlite.DatabaseError as error:
        return set(), str(error)
    finally:
        connection.close()


def test_f20_no_committed_row_is_missing_from_the_database_after_any_cut(tmp_path: Path) -> None:
    home, chance = Home.open(tmp_path / "home"), random.Random(20)
    story = database_story(home, chance)
    assert story.checkpoints >= 10, "cuts while the log is moved into the database"
    broken = tmp_path / "cut"
    for _ in range(DATABASE_CUTS):
        at = (
            chance.choice(story.moves)
            if chance.random() < 0.5
            else chance.randrange(len(story.disk.done) + 1)
        )
        found, sound = left_in_database(home, story, broken, story.disk.contents(at, chance))
        assert sound == "ok"
        assert story.promised(at) <= found <= set(story.ids)


def test_f20_the_database_is_lost_by_a_disk_that_says_synced_and_is_not(tmp_path: Path) -> None:
    """The replay can find a loss: what it assumes of an honest disk is what it finds with one."""
    home, chance = Home.open(tmp_path / "home"), random.Random(20)
    story = database_story(home, chance)
    story.disk.keeps_its_word = False
    lost = 0
    for _ in range(20):
        at = chance.randrange(len(story.disk.done) // 2, len(story.disk.done))
        found, sound = left_in_database(home, story, tmp_path / "cut", story.disk.contents(at, chance))
        lost += sound != "ok" or not story.promised(at) <= found
    assert lost >= 10


@dataclass(kw_only=True)
class ImageStory:
    """What the image store's files went through, and which rows may have been on the disk when."""

    disk: WholeDisk
    named: list[tuple[int, frozenset[tuple[str, str]]]] = field(default_factory=list)
    """From so many steps on a row may be there that names these files: folder and hash."""

    def needed(self, at: int) -> set[tuple[str, str]]:
        return {file for steps, files in self.named if steps <= at for file in files}


@dataclass(kw_only=True)
class NotedDatabase:
    """A database; notes when rows may begin to be on the disk."""

    database: Database
    disk: WholeDisk
    began: list[int] = field(default_factory=list)

    def write(self, act: Callable[[Session], Any]) -> Any:
        self.began.append(len(self.disk.done))
        return self.database.write(act)


def image_story(home: Home, chance: random.Random, *, left_by_a_kill: bool = False) -> ImageStory:
    """Keep the images and maps of parts as the recorder does, and note the files that rows name."""
    folders = (home.images_path, home.maps_path)
    disk = WholeDisk(home.path, there=frozenset(folders))
    story = ImageStory(disk=disk)
    with Database.open(home) as database:
        database.write(lambda session: add_station(session, station_id="one")).result(30)
        noted: Any = NotedDatabase(database=database, disk=disk)
        writer = PartWriter(noted, ImageStore(home), station_id="one", keep="all")
        with disk.watching():
            if left_by_a_kill:  # between making a folder and putting its name on the disk
                for folder in folders:
                    for number in range(256):
                        (folder / f"{number:02x}").mkdir()
            for number in range(BATCHES):
                opened = [
                    part(1 + number * MOST_PARTS + more) for more in range(chance.randrange(1, MOST_PARTS))
                ]
                assert not writer.write(opened, [closed(one, chance) for one in opened])
                files = named_files(database, {one.part_id for one in opened})
                story.named.append((noted.began[-1], frozenset(files)))
    return story


def closed(one: OpenPart, chance: random.Random) -> ClosedPart:
    """Return a part with frames; some images come again."""
    frames = tuple(
        RecordedFrame(
            camera_id=camera,
            frame_id=one.trigger_id,
            received_at=datetime.now(UTC),
            image=np.full((24, 32), chance.randrange(ALIKE), np.uint8)
            if chance.random() < 0.2
            else np.frombuffer(chance.randbytes(24 * 32), np.uint8).reshape(24, 32),
            anomaly_map=np.full((3, 4), chance.random(), np.float32) if chance.random() < 0.5 else None,
        )
        for camera in ("top", "side")
    )
    return ClosedPart(part_id=one.part_id, verdict=Verdict.REJECT, score=3.0, frames=frames)


def named_files(database: Database, parts: set[uuid.UUID]) -> set[tuple[str, str]]:
    with database.read() as session:
        rows = session.exec(select(Frame).where(col(Frame.part_id).in_(parts))).all()
    images = {("images", row.image_sha256) for row in rows if row.image_sha256}
    return images | {("maps", row.map_sha256) for row in rows if row.map_sha256}


def left_of_images(story: ImageStory, home: Home, at: int, chance: random.Random) -> Home:
    """Make a home with the image folders that a cut may leave."""
    shutil.rmtree(home.path, ignore_errors=True)
    contents = story.disk.contents(at, chance)
    for folder in story.disk.there:
        (home.path / folder.name).mkdir(parents=True)
    for path, file in sorted(story.disk.names(at, chance).items()):
        if file is not None:
            place = home.path / path.relative_to(story.disk.root)
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(contents.get(file, b""))
    return home


def missing(store: ImageStore, files: set[tuple[str, str]]) -> list[str]:
    """Return what is wrong with files that rows name."""
    wrong = []
    for folder, sha256 in files:
        try:
            store.get(sha256) if folder == "images" else store.get_map(sha256)
        except StoreError as error:
            wrong.append(str(error))
    return wrong


@pytest.mark.parametrize("left_by_a_kill", [False, True], ids=["as a rule", "after a process was killed"])
def test_f20_no_row_names_an_image_that_a_cut_took_or_left_half_written(
    left_by_a_kill: bool, tmp_path: Path
) -> None:
    chance, broken = random.Random(20), Home(path=tmp_path / "cut")
    story = image_story(Home.open(tmp_path / "home"), chance, left_by_a_kill=left_by_a_kill)
    damaged = 0
    for _ in range(IMAGE_CUTS):
        at = chance.randrange(len(story.disk.done) + 1)
        store = ImageStore(left_of_images(story, broken, at, chance))
        assert missing(store, story.needed(at)) == []
        damaged += len(missing(store, story.needed(len(story.disk.done)) - story.needed(at)))
    assert damaged > IMAGE_CUTS / 2, "what was not promised was lost, or is refused for its hash"


def test_f20_what_a_cut_left_of_images_is_in_nobodys_way(tmp_path: Path) -> None:
    chance, broken = random.Random(20), Home(path=tmp_path / "cut")
    story = image_story(Home.open(tmp_path / "home"), chance)
    image = np.zeros((24, 32), np.uint8)  # one of those that came again and again
    for _ in range(10):
        at = chance.randrange(len(story.disk.done) + 1)
        store = ImageStore(left_of_images(story, broken, at, chance))
        for path in broken.path.glob("*/.incoming/*"):
            os.utime(path, (time.time() - LONG_AGO_S,) * 2)
        store.sweep()
        assert not list(broken.path.glob("*/.incoming/*"))
        np.testing.assert_array_equal(store.get(store.put(image)), image)  # whole again, whatever was there


@pytest.mark.parametrize("call", ["_settled", "_synced"])
def test_f20_the_replay_finds_an_image_that_was_not_waited_for(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that were not synced before the rename, or a name that was not: the replay can see both."""

    def hasty(path: Path, written: Written) -> None:
        os.close(written.descriptor)
        written.temporary.replace(path)

    monkeypatch.setattr(_durable, call, {"_settled": hasty, "_synced": lambda folder: None}[call])
    chance, broken = random.Random(20), Home(path=tmp_path / "cut")
    story = image_story(Home.open(tmp_path / "home"), chance)
    lost = 0
    for _ in range(10):
        at = chance.randrange(len(story.disk.done) // 2, len(story.disk.done))
        lost += bool(missing(ImageStore(left_of_images(story, broken, at, chance)), story.needed(at)))
    assert lost >= 5
