"""Frames that belong to no part: every one has a row, and its image where there is room."""

import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pysqlite3.dbapi2 as sqlite
import pytest
from sqlmodel import select

from disks import GIB, disk_of
from partgate.records import (
    Database,
    Home,
    ImageRoom,
    ImageState,
    ImageStore,
    OrphanFrame,
    OrphanRecorder,
    RecordedOrphan,
    Room,
    Station,
    StoreUnwritable,
    count_orphans,
)


def orphan(number: int | None = 7, *, pixels: bool = True) -> RecordedOrphan:
    return RecordedOrphan(
        camera_id="top",
        frame_id=number,
        camera_timestamp_ns=None,
        received_at=datetime.now(UTC),
        reason="LATE: its part had been given up",
        image=np.full((5, 8, 3), 9, np.uint8) if pixels else None,
    )


def rows(database: Database) -> list[OrphanFrame]:
    with database.read() as session:
        found = list(session.exec(select(OrphanFrame)))
        session.expunge_all()
        return found


def test_an_orphan_has_its_row_and_its_image(database: Database, images: ImageStore) -> None:
    recorder = OrphanRecorder(database, images, station_id="one")
    recorder.record(orphan())
    recorder.record(orphan(None, pixels=False))
    recorder.close()
    recorder.close()
    kept, gone = sorted(rows(database), key=lambda row: row.image_state)
    assert (kept.station_id, kept.camera_id, kept.frame_id) == ("one", "top", 7)
    assert (kept.height_px, kept.width_px, kept.reason[:4]) == (5, 8, "LATE")
    np.testing.assert_array_equal(images.get(kept.image_sha256 or ""), orphan().image)
    assert (gone.image_state, gone.image_sha256, gone.frame_id) == (ImageState.NOT_KEPT, None, None)
    with database.read() as session:
        assert (count_orphans(session), count_orphans(session, "one"), count_orphans(session, "two")) == (
            2,
            2,
            0,
        )


class SlowStore(ImageStore):
    """An image store that stands still until it is told to go on."""

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self.go_on = threading.Event()

    def put(self, image: Any) -> str:
        self.go_on.wait(30)
        return super().put(image)


def test_when_images_queue_up_the_rows_are_kept_and_the_line_never_waits(
    database: Database, home: Home
) -> None:
    images = SlowStore(home)
    recorder = OrphanRecorder(database, images, station_id="one", queue_images=3, queue_rows=10)
    for number in range(30):
        recorder.record(orphan(number))
    assert recorder.unrecorded in {19, 20}, "10 wait, and perhaps one is being written"
    images.go_on.set()
    recorder.close()
    found = rows(database)
    assert len(found) + recorder.unrecorded == 30
    assert sum(row.image_state is ImageState.KEPT for row in found) in {3, 4}


class FullDisk(ImageStore):
    def put(self, image: Any) -> str:
        raise StoreUnwritable("images: the disk is full")


def test_a_full_disk_costs_the_image_and_not_the_row(database: Database, home: Home) -> None:
    recorder = OrphanRecorder(database, FullDisk(home), station_id="one")
    recorder.record(orphan())
    recorder.close()
    assert [row.image_state for row in rows(database)] == [ImageState.NOT_KEPT]
    recorder.record(replace(orphan(), frame_id=8))
    assert recorder.unrecorded == 1, "after the end it is counted"


def test_where_room_is_short_orphans_images_are_the_first_that_are_not_kept(
    database: Database, images: ImageStore, home: Home
) -> None:
    free, found = [GIB], []

    def ask(path: Path) -> Room:
        return disk_of(free[0], device=1 if path == home.path else 2)

    for free[0] in (GIB, GIB - 1):
        recorder = OrphanRecorder(database, images, station_id="one", room=ImageRoom(home, ask=ask))
        recorder.record(orphan())
        recorder.close()
        found.append(sorted(row.image_state for row in rows(database)))
    assert found == [[ImageState.KEPT], [ImageState.KEPT, ImageState.NOT_KEPT]]


@pytest.mark.parametrize("statement", ["UPDATE orphan_frame SET reason = ''", "DELETE FROM orphan_frame"])
def test_rows_of_orphans_are_never_changed(
    database: Database, images: ImageStore, home: Home, statement: str
) -> None:
    recorder = OrphanRecorder(database, images, station_id="one")
    recorder.record(orphan())
    recorder.close()
    connection = sqlite.connect(str(home.database_path))
    try:
        with pytest.raises(sqlite.IntegrityError, match="never"):
            connection.execute(statement)
    finally:
        connection.close()


def test_a_home_of_before_gets_the_table_and_keeps_its_rows(home: Home) -> None:
    with Database.open(home) as database:
        database.write(lambda session: session.add(Station(id="old", name="Old"))).result(10)
    connection = sqlite.connect(str(home.database_path), isolation_level=None)
    for statement in (
        "DROP TABLE orphan_frame",
        "DROP INDEX ix_frame_image_sha256",
        "DROP INDEX ix_frame_map_sha256",
        "DROP INDEX ix_snapshot_image_image_sha256",
        "ALTER TABLE frame DROP COLUMN map_box",
        "DROP INDEX ix_part_open",
        "DROP INDEX ix_part_unconfirmed",
        "DROP INDEX ix_part_serial_number",
        "PRAGMA user_version=1",
        "UPDATE alembic_version SET version_num = '0001'",
    ):
        connection.execute(statement)
    connection.close()
    with Database.open(home) as database, database.read() as session:
        assert session.get(Station, "old") is not None
        assert count_orphans(session) == 0
    assert list(home.path.glob("partgate.db.schema-1-*"))
