"""Images of the oldest accepted parts make room: which go, in what order, and which never do."""

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlmodel import Session, col, select
from structlog.testing import capture_logs

from disks import GIB, SmallDisk, disk_of
from partgate.records import (
    Audit,
    ClosedPart,
    Database,
    Finding,
    Frame,
    Home,
    ImageCounts,
    ImageState,
    ImageStore,
    Model,
    OpenPart,
    Part,
    RecordedFrame,
    RecordedOrphan,
    Review,
    Room,
    SnapshotImage,
    StoreUnwritable,
    SuspectParts,
    User,
    add_station,
    flag_suspects,
    utc_now,
    verify_audit,
)
from partgate.records import _making_room as making_room
from partgate.records import _removable as removable
from partgate.records._making_room import REST_S, RoomMaker
from partgate.records._orphans import insert_orphan
from partgate.records._writing import PartWriter
from partgate_station import Verdict

SHARE = 0.2
LONG_AGO_S = 3600.0


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the newest parts go as well, and few at a time."""
    monkeypatch.setattr(removable, "LATEST", 0)
    monkeypatch.setattr(removable, "PARTS", 2)
    monkeypatch.setattr(removable, "WINDOW", 8)


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Store:
    """A home with parts, on a disk that holds nothing else."""

    home: Home
    database: Database
    images: ImageStore
    disk: SmallDisk
    clock: Clock = field(default_factory=Clock)
    parts: dict[int, uuid.UUID] = field(default_factory=dict)

    def record(
        self,
        trigger_id: int,
        verdict: Verdict = Verdict.ACCEPT,
        *,
        seed: int | None = None,
        station_id: str = "one",
        maps: bool = False,
        cameras: int = 1,
        at: datetime | None = None,
    ) -> uuid.UUID:
        """Record a part with a frame for each camera, like no other unless a seed is given."""
        part = OpenPart(trigger_id=trigger_id, triggered_at=at or utc_now())
        pixels = np.random.default_rng(trigger_id if seed is None else seed)
        frames = tuple(
            RecordedFrame(
                camera_id=f"camera{number}",
                frame_id=trigger_id,
                received_at=utc_now(),
                image=pixels.integers(0, 256, (40, 40), np.uint8),
                anomaly_map=np.full((3, 4), trigger_id, np.float32) if maps else None,
                map_box=(0, 0, 40, 40) if maps else None,
            )
            for number in range(cameras)
        )
        reason = "LATE: too late" if verdict is Verdict.UNDECIDED else None
        closed = ClosedPart(part_id=part.part_id, verdict=verdict, reason=reason, frames=frames)
        writer = PartWriter(self.database, self.images, station_id=station_id, keep="all")
        assert not writer.write([part], [closed])
        self.parts[trigger_id] = part.part_id
        return part.part_id

    def do(self, act: Callable[[Session], Any]) -> None:
        self.database.write(act).result(10)

    def maker(self, share: float = SHARE, **more: Any) -> RoomMaker:
        options: dict[str, Any] = {"ask": self.disk, "clock": self.clock} | more
        return RoomMaker(self.database, self.images, station_id="one", share=share, **options)

    def fill(self, share_free: float) -> None:
        """Make the disk so small that so much of it is free."""
        self.disk.total_bytes = round(self.disk.used_bytes / (1 - share_free))

    def frames(self, trigger_id: int) -> list[Frame]:
        with self.database.read() as session:
            query = (
                select(Frame).where(Frame.part_id == self.parts[trigger_id]).order_by(col(Frame.camera_id))
            )
            return list(session.exec(query).all())

    def kept(self) -> list[int]:
        """Return the triggers whose images are there, by their rows; files and rows must agree."""
        found = []
        for trigger_id in self.parts:
            frames = self.frames(trigger_id)
            there = {frame.image_state is ImageState.KEPT for frame in frames}
            assert len(there) == 1
            for frame in frames:
                if frame.image_sha256 is not None:
                    assert self.images.has(frame.image_sha256), trigger_id
            found += [trigger_id] * there.pop()
        return found

    def trail(self) -> list[dict[str, Any]]:
        with self.database.read() as session:
            assert verify_audit(session) is None
            rows = session.exec(
                select(Audit).where(Audit.what == making_room.WHAT).order_by(col(Audit.seq))
            ).all()
        assert {(row.who, row.subject) for row in rows} <= {("recorder:one", "station:one")}
        return [row.after or {} for row in rows]


@pytest.fixture
def store(home: Home, database: Database, images: ImageStore) -> Store:
    made = Store(home=home, database=database, images=images, disk=SmallDisk(home, 10**9))
    made.do(lambda session: [add_station(session, station_id=name) for name in ("one", "two")])
    return made


def make(maker: RoomMaker, most: int = 200) -> ImageCounts:
    """Take steps until there is nothing to do at once."""
    for _ in range(most):
        if not maker.step():
            return maker.take_counts()
    raise AssertionError(f"still at it after {most} steps")


def test_the_oldest_accepted_parts_go_until_enough_is_free(store: Store) -> None:
    for trigger_id in range(1, 41):
        store.record(trigger_id, Verdict.ACCEPT if trigger_id % 4 else Verdict.REJECT)
    store.fill(0.10)
    before = store.disk.used_bytes
    maker = store.maker()
    counts = make(maker)
    kept = store.kept()
    gone = [trigger_id for trigger_id in store.parts if trigger_id not in kept]
    assert gone == [n for n in range(1, max(gone) + 1) if n % 4]  # in order, without those that are flagged
    assert SHARE <= 1 - store.disk.used_bytes / store.disk.total_bytes < SHARE + 0.1
    assert (counts.removed, counts.removed_bytes) == (len(gone), before - store.disk.used_bytes)
    assert (counts.no_room, counts.lost, maker.nothing_to_remove) == (0, 0, False)
    (frame,) = store.frames(1)
    assert (frame.image_state, frame.image_sha256, frame.height_px) == (ImageState.NOT_KEPT, None, 40)
    # There is a distance between enough and too little again.
    store.fill(SHARE + 0.001)
    assert make(maker) == ImageCounts()


def test_nothing_is_removed_where_there_is_room_or_nobody_wants_it(store: Store) -> None:
    for trigger_id in range(1, 11):
        store.record(trigger_id)
    store.fill(SHARE + 0.01)
    assert make(store.maker()) == ImageCounts()
    store.fill(0.0)
    store.disk.asked = 0
    assert make(store.maker(share=0.0)) == ImageCounts()
    assert (store.disk.asked, store.kept()) == (0, list(range(1, 11)))


def review(store: Store, trigger_id: int) -> None:
    store.do(lambda session: session.merge(User(id=1, name="qa", password_hash="none")))
    found = Review(part_id=store.parts[trigger_id], finding=Finding.GOOD, reviewer_id=1)
    store.do(lambda session: session.add(found))


def learn_from(store: Store, trigger_id: int) -> None:
    (frame,) = store.frames(trigger_id)

    def act(session: Session) -> None:
        session.add(Model(id="m", product="tile", kind="patchcore", created_by="qa"))
        session.flush()
        session.add(
            SnapshotImage(
                model_id="m", position=0, image_sha256=frame.image_sha256 or "", origin="a.png",
                finding=Finding.GOOD,
            )
        )  # fmt: skip

    store.do(act)


def stray(store: Store, trigger_id: int) -> None:
    (frame,) = store.frames(trigger_id)
    orphan = RecordedOrphan(
        camera_id="top", frame_id=1, camera_timestamp_ns=None, received_at=utc_now(), reason="LATE: late",
        image=store.images.get(frame.image_sha256 or ""),
    )  # fmt: skip
    store.do(lambda session: insert_orphan(session, "one", orphan, frame.image_sha256))


def suspect(store: Store, trigger_id: int) -> None:
    found = SuspectParts(
        station_id="one", first_trigger_id=trigger_id, last_trigger_id=trigger_id, model_id="m",
        runtime="openvino", why="a golden frame was answered wrongly",
    )  # fmt: skip
    store.do(lambda session: flag_suspects(session, found))


def come_again(store: Store, trigger_id: int) -> None:
    """Record a flagged part with the same picture."""
    store.record(100 + trigger_id, Verdict.REVIEW, seed=trigger_id)


def come_again_elsewhere(store: Store, trigger_id: int) -> None:
    store.record(100 + trigger_id, seed=trigger_id, station_id="two")


@pytest.mark.parametrize(
    "name_it",
    [review, learn_from, stray, suspect, come_again, come_again_elsewhere],
    ids=lambda act: act.__name__,
)
def test_what_is_reviewed_learned_or_named_by_another_row_stays(
    name_it: Callable[[Store, int], None], store: Store
) -> None:
    for trigger_id in range(1, 9):
        store.record(trigger_id)
    name_it(store, 3)
    store.fill(0.0)
    maker = store.maker(share=0.5)
    store.disk.total_bytes //= 10  # more is wanted than there is
    make(maker)
    assert [trigger_id for trigger_id in store.kept() if trigger_id < 100] == [3]
    assert maker.nothing_to_remove


def test_the_same_picture_of_accepted_parts_is_kept_for_both(store: Store) -> None:
    for trigger_id in range(1, 7):
        store.record(trigger_id, seed=0 if trigger_id in {2, 5} else None)
    store.fill(0.0)
    store.disk.total_bytes //= 4
    make(store.maker(share=0.5))
    assert store.kept() == [2, 5]


def test_flagged_undecided_and_open_parts_stay_and_so_does_another_stations(store: Store) -> None:
    store.record(1, Verdict.REVIEW)
    store.record(2, Verdict.REJECT)
    store.record(3, Verdict.UNDECIDED)
    store.record(4, station_id="two")
    store.database.write(
        lambda session: session.add(Part(station_id="one", trigger_id=5, triggered_at=utc_now()))
    ).result(10)
    store.record(6)
    store.fill(0.0)
    make(store.maker(share=0.5))
    assert store.kept() == [1, 2, 3, 4]


def test_the_latest_parts_stay(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removable, "LATEST", 4)
    for trigger_id in range(1, 11):
        store.record(trigger_id)
    store.fill(0.0)
    store.disk.total_bytes //= 4
    make(store.maker(share=0.5))
    assert store.kept() == [7, 8, 9, 10]


def test_f33_a_clock_that_leaps_removes_nothing_and_changes_no_order(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trigger_id in range(1, 21):
        year = 2040 if trigger_id <= 5 else 1970  # the oldest say that they are the youngest
        store.record(trigger_id, at=datetime(year, 1, 1, tzinfo=UTC))
    store.fill(0.5)
    leapt = time.time() + 20 * 365 * 86_400
    monkeypatch.setattr(time, "time", lambda: leapt)
    assert make(store.maker()) == ImageCounts()
    store.fill(0.1)
    make(store.maker())
    kept = store.kept()
    assert 0 < len(kept) < 20
    assert kept == list(range(kept[0], 21))


def test_maps_and_every_cameras_image_go_with_their_part(store: Store) -> None:
    store.record(1, maps=True, cameras=2)
    store.record(2, maps=True)
    store.record(3, Verdict.REJECT, maps=True)
    store.fill(0.0)
    store.disk.total_bytes //= 4
    counts = make(store.maker(share=0.5))
    assert store.kept() == [3]
    assert (counts.removed, len(list(store.home.path.glob("maps/*/*.npy")))) == (3, 1)
    assert {(frame.map_sha256, frame.map_box) for frame in store.frames(1)} == {(None, None)}
    (flagged,) = store.frames(3)
    assert store.images.get_map(flagged.map_sha256 or "")[0, 0] == 3


def test_a_map_that_another_row_names_stays(store: Store) -> None:
    store.record(1, maps=True)
    store.record(2, Verdict.REJECT, maps=True)
    (first,), (second,) = store.frames(1), store.frames(2)
    store.do(lambda session: session.merge(Frame(**(second.model_dump() | {"map_sha256": first.map_sha256}))))
    store.fill(0.0)
    store.disk.total_bytes //= 4
    make(store.maker(share=0.5))
    assert store.kept() == [2]
    assert store.images.get_map(first.map_sha256 or "")[0, 0] == 1


def test_a_kill_between_rows_and_files_leaves_files_and_no_wrong_row(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trigger_id in range(1, 11):
        store.record(trigger_id)
    store.fill(0.0)

    def killed(self: ImageStore, sha256: str, *, named_at: datetime) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ImageStore, "remove", killed)
        maker = store.maker()
        with pytest.raises(KeyboardInterrupt):
            make(maker)
    assert store.kept() == list(range(3, 11))
    assert len(list(store.home.path.glob("images/*/*.jxl"))) == 10
    make(store.maker())  # the next process goes on
    kept = store.kept()
    assert kept
    assert kept == list(range(kept[0], 11))


def test_a_file_that_was_put_in_again_meanwhile_stays(store: Store) -> None:
    """Another process found it there and leaves it alone; its row is on its way."""
    store.record(1)
    (frame,) = store.frames(1)
    name = frame.image_sha256 or ""
    pixels = store.images.get(name)
    store.images.put(pixels)
    store.fill(0.0)
    counts = make(store.maker())
    assert (counts.removed, counts.removed_bytes) == (1, 0)
    assert store.images.has(name)
    closed_at = utc_now()
    path = store.home.images_path / name[:2] / f"{name}.jxl"
    os.utime(path, (time.time() - LONG_AGO_S,) * 2)
    assert store.images.remove(name, named_at=datetime(2020, 1, 1, tzinfo=UTC)) > 0  # nobody came for it
    store.images.put(pixels)
    assert store.images.remove(name, named_at=closed_at) == 0
    assert store.images.remove(name, named_at=utc_now()) > 0  # not touched since its row was written
    assert store.images.remove(name, named_at=utc_now()) == 0


def test_what_is_put_in_again_is_marked_before_it_is_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.zeros((8, 8), np.uint8)
    name = store.images.put(image)
    path = store.home.images_path / name[:2] / f"{name}.jxl"
    os.utime(path, (1.0, 1.0))
    read, seen = Path.read_bytes, []

    def noting(self: Path) -> bytes:
        seen.append(self.stat().st_mtime)
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", noting)
    assert store.images.put(image) == name
    assert time.time() - seen[0] < 60


def test_too_few_files_make_room_as_too_few_bytes_do(store: Store) -> None:
    for trigger_id in range(1, 21):
        store.record(trigger_id)
    files = store.home.images_path

    def ask(path: Path) -> Room:
        there = len(list(files.glob("*/*.jxl")))
        return disk_of(900 * GIB, device=2, free_files=22 - there, total_files=22)

    make(store.maker(ask=ask))
    assert len(store.kept()) == 16  # 6 of 22 are free, more than a fifth: two go at a time


def test_the_floor_makes_room_whatever_the_share(store: Store) -> None:
    for trigger_id in range(1, 81):
        store.record(trigger_id)
    store.fill(0.01)
    make(store.maker(share=0.001))
    free = 1 - store.disk.used_bytes / store.disk.total_bytes
    assert 0.025 < free < 0.06


def test_no_more_goes_than_is_missing_where_it_shows_later(store: Store) -> None:
    """Some file systems give back what was deleted with their next commit."""
    for trigger_id in range(1, 41):
        store.record(trigger_id)
    store.fill(0.1)
    shown = store.disk(store.home.images_path)
    maker = store.maker(ask=lambda path: shown if path == store.home.images_path else disk_of(GIB * 500))
    while maker.step():
        pass
    kept = store.kept()
    assert 30 <= len(kept) < 36  # a tenth was missing, and a hundredth
    for _ in range(5):
        store.clock.now_s += REST_S / 6
        assert not maker.step()
    assert store.kept() == kept
    shown = store.disk(store.home.images_path)
    store.clock.now_s += REST_S
    assert not maker.step()
    assert store.kept() == kept
    # Others may have filled what was freed: then it goes on.
    store.fill(0.1)
    shown = store.disk(store.home.images_path)
    for _ in range(2):
        make(maker)
        store.clock.now_s += REST_S + 1
    assert len(store.kept()) < len(kept) - 5


def test_the_trail_says_from_where_to_where_without_a_gap(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trigger_id in range(1, 41):
        store.record(trigger_id)
    store.fill(0.1)
    first = store.maker()
    make(first)
    assert store.trail() == [{"first_trigger_id": 1, "last_trigger_id": 2, "images": 2}]
    store.fill(0.1)
    make(first)
    assert len(store.trail()) == 1  # once a day
    before = 40 - len(store.kept())
    # A process that is killed says no more; the next one begins where the trail ends, and covers it.
    second = store.maker()
    store.fill(0.1)
    removed = make(second).removed
    second.finish(10)
    trail = store.trail()
    assert [entry["first_trigger_id"] for entry in trail] == [1, 3, trail[1]["last_trigger_id"] + 1][
        : len(trail)
    ]
    assert trail[-1]["last_trigger_id"] == before + removed == 40 - len(store.kept())
    assert sum(entry["images"] for entry in trail[1:]) == removed
    second.finish(10)
    assert store.trail() == trail
    store.clock.now_s += 86_401
    store.fill(0.1)
    make(second)
    assert len(store.trail()) == len(trail) + 1
    monkeypatch.setattr(making_room, "AUDIT_EVERY_IMAGES", 1)
    store.fill(0.1)
    make(second)
    assert len(store.trail()) > len(trail) + 2


def test_a_round_is_a_line_in_the_log_and_so_is_its_end(store: Store) -> None:
    for trigger_id in range(1, 41):
        store.record(trigger_id, Verdict.ACCEPT if trigger_id < 35 else Verdict.REJECT)
    store.fill(0.1)
    maker = store.maker()
    with capture_logs() as said:
        removed = make(maker).removed
    (line,) = said
    assert line["event"] == "images of accepted parts made room"
    assert (line["log_level"], line["images"], line["first_trigger"]) == ("info", removed, 1)
    assert line["last_trigger"] == removed
    store.disk.total_bytes //= 8
    with capture_logs() as said:
        while maker.step():
            pass
        for _ in range(3):
            store.clock.now_s += REST_S + 1
            maker.step()
    assert [entry["event"] for entry in said] == [
        "too little room for images, and none of an accepted part that may be removed"
    ]
    assert maker.nothing_to_remove
    store.disk.total_bytes *= 100
    store.clock.now_s += REST_S + 1
    with capture_logs() as said:
        maker.step()
    assert [entry["event"] for entry in said] == ["images of accepted parts made room"]
    assert not maker.nothing_to_remove


def test_what_cannot_be_written_or_asked_is_tried_again_later(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trigger_id in range(1, 11):
        store.record(trigger_id)
    store.fill(0.0)
    maker = store.maker()

    def refused(session: Session) -> Any:
        raise StoreUnwritable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(maker, "_remove", refused)
        with pytest.raises(StoreUnwritable):
            maker.step()
    assert not maker.step()
    assert store.kept() == list(range(1, 11))
    store.clock.now_s += REST_S + 1
    make(maker)
    assert len(store.kept()) < 10

    def away(path: Path) -> Room:
        raise OSError(5, "Input/output error")

    assert make(store.maker(ask=away)) == ImageCounts()


def test_a_file_that_cannot_be_deleted_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    name = store.images.put(np.zeros((8, 8), np.uint8))

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreUnwritable, match="cannot be deleted"):
        store.images.remove(name, named_at=utc_now())


def test_a_look_takes_the_index_and_not_the_table(store: Store) -> None:
    statement = removable._statement("one", 1, 512)
    with store.database.read() as session:
        connection = session.connection()
        query = statement.compile(connection, compile_kwargs={"literal_binds": True})
        said = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
    assert not [line for line in said if line.startswith("SCAN")], said
    assert any("part USING INDEX" in line and "trigger_id>? AND trigger_id<?" in line for line in said), said
    for name in ("frame", "snapshot_image", "orphan_frame"):
        assert any(f"ix_{name}_image_sha256" in line for line in said), said
    assert "USE TEMP B-TREE" not in " ".join(said)
