import threading
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pytest
from sqlmodel import select

from disks import GIB, IMAGES_DISK, disk_of
from partgate.records import (
    Balance,
    ClosedPart,
    ConstraintViolated,
    Database,
    Frame,
    Home,
    ImageCounts,
    ImageRoom,
    ImageState,
    ImageStore,
    OpenPart,
    Part,
    PartNotOpen,
    RecordedFrame,
    Recorder,
    RecordingFailed,
    Station,
    StoreClosed,
    StoreUnwritable,
    add_station,
    balance,
    utc_now,
)
from partgate.records import _writing as writing
from partgate.records._parts import close_open
from partgate_station import Verdict

TIMEOUT_S = 10
GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)


class FullImageStore(ImageStore):
    """An image store whose disk is full."""

    def put_all(self, images: Sequence[np.ndarray], maps: Sequence[np.ndarray]) -> list[str | Exception]:
        return [StoreUnwritable("images: No space left on device")] * (len(images) + len(maps))


class HeldImageStore(ImageStore):
    """An image store whose disk hangs until it is let go."""

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self.release = threading.Event()

    def put_all(self, images: Sequence[np.ndarray], maps: Sequence[np.ndarray]) -> list[str | Exception]:
        assert self.release.wait(TIMEOUT_S)
        return super().put_all(images, maps)


def _frame(image: np.ndarray = GREY, *, anomaly_map: np.ndarray | None = None) -> RecordedFrame:
    return RecordedFrame(
        camera_id="top", frame_id=7, received_at=utc_now(), image=image, score=0.5, anomaly_map=anomaly_map
    )


def _opened(recorder: Recorder, **fields: str) -> uuid.UUID:
    part = OpenPart(
        trigger_id=recorder.next_trigger_id(), triggered_at=utc_now(), serial_number=fields.get("serial")
    )
    recorder.open_part(part).result(TIMEOUT_S)
    return part.part_id


def _closed(part_id: uuid.UUID, verdict: Verdict = Verdict.REJECT, *frames: RecordedFrame) -> ClosedPart:
    reason = "LATE: too late" if verdict is Verdict.UNDECIDED else None
    return ClosedPart(
        part_id=part_id, verdict=verdict, reason=reason, score=3.5, latency_ms=8.25, frames=frames
    )


def _recorder(
    database: Database, images: ImageStore, keep: Literal["all", "flagged"] = "all", queue_parts: int = 4
) -> Recorder:
    return Recorder(database, images, station_id="one", keep=keep, queue_parts=queue_parts)


def _balance(database: Database) -> Balance:
    with database.read() as session:
        return balance(session)


def test_a_part_is_open_until_it_is_closed_with_its_frames(database: Database, images: ImageStore) -> None:
    with _recorder(database, images) as recorder:
        part_id = _opened(recorder, serial="SN-1")
        with database.read() as session:
            part = session.get(Part, part_id)
            assert part is not None
            assert (part.verdict, part.closed_at, part.serial_number, part.trigger_id) == (
                None,
                None,
                "SN-1",
                1,
            )
        colour = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
        anomaly_map = np.ones((2, 2), np.float32)
        recorder.close_part(_closed(part_id, Verdict.REJECT, _frame(anomaly_map=anomaly_map), _frame(colour)))
    with database.read() as session:
        part = session.get(Part, part_id)
        assert part is not None
        assert (part.verdict, part.reason, part.score, part.latency_ms) == (Verdict.REJECT, None, 3.5, 8.25)
        assert part.closed_at is not None
        frames = session.exec(select(Frame).order_by("id")).all()
        assert [(f.height_px, f.width_px, f.channels, f.image_state) for f in frames] == [
            (3, 4, 1, ImageState.KEPT),
            (6, 5, 3, ImageState.KEPT),
        ]
        assert frames[0].image_sha256 is not None
        assert frames[1].image_sha256 is not None
        assert frames[0].map_sha256 is not None
        np.testing.assert_array_equal(images.get(frames[0].image_sha256), GREY)
        np.testing.assert_array_equal(images.get(frames[1].image_sha256), colour)
        np.testing.assert_array_equal(images.get_map(frames[0].map_sha256), anomaly_map)
        assert (frames[1].map_sha256, frames[1].frame_id, frames[1].score) == (None, 7, 0.5)


@pytest.mark.parametrize(
    ("keep", "verdict", "state"),
    [
        ("all", Verdict.ACCEPT, ImageState.KEPT),
        ("flagged", Verdict.ACCEPT, ImageState.NOT_KEPT),
        ("flagged", Verdict.REVIEW, ImageState.KEPT),
        ("flagged", Verdict.REJECT, ImageState.KEPT),
        ("flagged", Verdict.UNDECIDED, ImageState.KEPT),
    ],
)
def test_which_images_are_kept(
    home: Home,
    database: Database,
    images: ImageStore,
    keep: Literal["all", "flagged"],
    verdict: Verdict,
    state: ImageState,
) -> None:
    with _recorder(database, images, keep) as recorder:
        recorder.close_part(
            _closed(_opened(recorder), verdict, _frame(anomaly_map=np.zeros((2, 2), np.float32)))
        )
    with database.read() as session:
        (frame,) = session.exec(select(Frame)).all()
    assert frame.image_state is state
    assert len(list(home.path.glob("images/*/*"))) == (state is ImageState.KEPT)
    assert len(list(home.path.glob("maps/*/*"))) == (state is ImageState.KEPT)


def _small(home: Home, free_bytes: float) -> ImageRoom:
    """Room on a disk of images of its own."""
    images = disk_of(free_bytes, device=IMAGES_DISK)
    return ImageRoom(home, ask=lambda path: disk_of(500 * GIB) if path == home.path else images)


@pytest.mark.parametrize(
    ("free_bytes", "keep", "kept", "no_room"),
    [
        (GIB, "all", 3, 0),
        (0.9 * GIB, "all", 2, 2),
        (0.4 * GIB, "all", 0, 5),
        (0.9 * GIB, "flagged", 2, 0),  # nobody asked for the accepted part's
        (0.4 * GIB, "flagged", 0, 3),
    ],
)
def test_without_room_rows_are_written_and_images_counted(
    home: Home, database: Database, images: ImageStore, free_bytes: float, keep: Any, kept: int, no_room: int
) -> None:
    database.write(lambda session: add_station(session, station_id="one")).result(TIMEOUT_S)
    writer = writing.PartWriter(database, images, station_id="one", keep=keep, room=_small(home, free_bytes))
    opened = [OpenPart(trigger_id=number, triggered_at=utc_now()) for number in (1, 2, 3)]
    verdicts = (Verdict.ACCEPT, Verdict.REJECT, Verdict.UNDECIDED)
    frames = ((_frame(), _frame()), (_frame(), _frame()), (_frame(),))
    closed = [
        _closed(part.part_id, verdict, *own)
        for part, verdict, own in zip(opened, verdicts, frames, strict=True)
    ]
    assert not writer.write(opened, closed)
    with database.read() as session:
        rows = session.exec(select(Frame)).all()
        parts = session.exec(select(Part)).all()
    assert {part.verdict for part in parts} == set(verdicts)
    assert len({row.part_id for row in rows if row.image_state is ImageState.KEPT}) == kept
    assert writer.take_counts() == ImageCounts(no_room=no_room)
    assert writer.take_counts() == ImageCounts()
    assert {row.image_state for row in rows} <= {ImageState.KEPT, ImageState.NOT_KEPT}


def test_lost_images_are_counted(home: Home, database: Database) -> None:
    database.write(lambda session: add_station(session, station_id="one")).result(TIMEOUT_S)
    writer = writing.PartWriter(database, FullImageStore(home), station_id="one", keep="all")
    part = OpenPart(trigger_id=1, triggered_at=utc_now())
    assert not writer.write([part], [_closed(part.part_id, Verdict.REJECT, _frame(), _frame())])
    assert writer.take_counts() == ImageCounts(lost=2)


def test_grey_with_an_axis_for_it_is_kept(database: Database, images: ImageStore) -> None:
    with _recorder(database, images) as recorder:
        recorder.close_part(_closed(_opened(recorder), Verdict.REJECT, _frame(GREY[..., None])))
    with database.read() as session:
        (frame,) = session.exec(select(Frame)).all()
    assert (frame.image_state, frame.channels) == (ImageState.KEPT, 1)


@pytest.mark.parametrize(
    "image",
    [pytest.param(GREY, id="disk-full"), pytest.param(np.zeros((2, 2, 5), np.uint8), id="not-an-image")],
)
def test_an_image_may_be_lost_but_its_row_is_not(database: Database, home: Home, image: np.ndarray) -> None:
    images = FullImageStore(home) if image is GREY else ImageStore(home)
    with _recorder(database, images) as recorder:
        for _ in range(3):
            recorder.close_part(_closed(_opened(recorder), Verdict.REJECT, _frame(image)))
    with database.read() as session:
        frames = session.exec(select(Frame)).all()
        assert [(frame.image_state, frame.image_sha256) for frame in frames] == [(ImageState.LOST, None)] * 3
    assert _balance(database) == Balance(
        triggers=3, accept=0, review=0, reject=3, undecided=0, open=0, balanced=True
    )


def test_the_ledger_counts_every_verdict_of_every_station(database: Database, images: ImageStore) -> None:
    with _recorder(database, images, "flagged") as recorder:
        for verdict in (*Verdict, Verdict.ACCEPT):
            recorder.close_part(_closed(_opened(recorder), verdict))
        left_open = _opened(recorder)
    with Recorder(database, images, station_id="two", keep="all") as other:
        other.close_part(_closed(_opened(other), Verdict.ACCEPT))
    with database.read() as session:
        assert balance(session, "one") == Balance(
            triggers=6, accept=2, review=1, reject=1, undecided=1, open=1, balanced=False
        )
        assert balance(session, "two") == Balance(
            triggers=1, accept=1, review=0, reject=0, undecided=0, open=0, balanced=True
        )
        assert balance(session, "three").triggers == 0
        assert balance(session, "three").balanced
        assert balance(session).triggers == 7
        assert session.get(Part, left_open) is not None


def test_a_trigger_without_a_row_is_no_balance(database: Database, images: ImageStore) -> None:
    with _recorder(database, images) as recorder:
        for trigger_id in (1, 3):
            part = OpenPart(trigger_id=trigger_id, triggered_at=utc_now())
            recorder.open_part(part).result(TIMEOUT_S)
            recorder.close_part(_closed(part.part_id))
    found = _balance(database)
    assert (found.triggers, found.reject, found.open, found.balanced) == (3, 2, 0, False)


def test_trigger_ids_go_on_where_the_last_run_ended(database: Database, images: ImageStore) -> None:
    with _recorder(database, images) as recorder:
        assert recorder.next_trigger_id() == 1
        _opened(recorder)
        waiting = recorder.open_part(OpenPart(trigger_id=41, triggered_at=utc_now()))
        assert recorder.next_trigger_id() == 42
        waiting.result(TIMEOUT_S)
    with _recorder(database, images) as recorder:
        assert recorder.next_trigger_id() == 42
    with Recorder(database, images, station_id="two", keep="all") as other:
        assert other.next_trigger_id() == 1


def test_what_a_crash_left_open_is_declared(database: Database, images: ImageStore) -> None:
    with _recorder(database, images) as crashed:
        done = _opened(crashed)
        lost = [_opened(crashed) for _ in range(3)]
        crashed.close_part(_closed(done))
    with (
        Recorder(database, images, station_id="two", keep="all") as other,
        _recorder(database, images) as recorder,
    ):
        of_other, own = _opened(other), _opened(recorder)
        assert recorder.recover() == 3
        assert recorder.recover() == 0
        recorder.close_part(_closed(own))
        other.close_part(_closed(of_other))
    with database.read() as session:
        for part_id in lost:
            part = session.get(Part, part_id)
            assert part is not None
            assert part.verdict is Verdict.UNDECIDED
            assert (part.reason or "").startswith("INTERRUPTED: ")
        kept = session.get(Part, done)
        assert kept is not None
        assert kept.verdict is Verdict.REJECT
        assert balance(session).balanced


def test_parts_on_their_way_are_not_taken_for_interrupted(home: Home, database: Database) -> None:
    images = HeldImageStore(home)
    with _recorder(database, images) as recorder:
        for _ in range(2):
            recorder.close_part(_closed(_opened(recorder), Verdict.REJECT, _frame()))
        assert recorder.recover() == 0
        images.release.set()
    assert _balance(database).reject == 2


def test_closing_twice_or_what_is_not_open_is_noticed(database: Database, images: ImageStore) -> None:
    with _recorder(database, images) as recorder:
        part_id = _opened(recorder)
        recorder.close_part(_closed(part_id, Verdict.REJECT))
        for other in (part_id, uuid.uuid4()):
            with pytest.raises(PartNotOpen, match=str(other)):
                recorder.close_part(_closed(other, Verdict.ACCEPT))
    assert _balance(database).reject == 1


def test_a_part_closed_behind_the_recorders_back_is_noticed_at_its_end(
    database: Database, images: ImageStore
) -> None:
    recorder, second = _recorder(database, images), _recorder(database, images)
    part_id = _opened(recorder)
    assert second.recover() == 1
    second.close()
    recorder.close_part(_closed(part_id, Verdict.ACCEPT))
    with pytest.raises(RecordingFailed, match=f"1 parts could not be recorded, the first: part {part_id}"):
        recorder.close()
    recorder.close()
    assert (_balance(database).accept, _balance(database).undecided) == (0, 1)


def test_a_trigger_taken_twice_is_said_and_cannot_be_closed(database: Database, images: ImageStore) -> None:
    with _recorder(database, images) as recorder:
        _opened(recorder)
        again = OpenPart(trigger_id=1, triggered_at=utc_now())
        with pytest.raises(ConstraintViolated, match="UNIQUE"):
            recorder.open_part(again).result(TIMEOUT_S)
        with pytest.raises(PartNotOpen):
            recorder.close_part(_closed(again.part_id))


def test_a_full_disk_is_waited_for(
    database: Database, images: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "RETRY_S", 0.01)
    refused, real = threading.Event(), close_open

    def full_at_first(*arguments: Any) -> Any:
        if not refused.is_set():
            refused.set()
            raise StoreUnwritable("database: the disk is full")
        return real(*arguments)

    monkeypatch.setattr(writing, "close_open", full_at_first)
    with _recorder(database, images) as recorder:
        recorder.close_part(_closed(_opened(recorder)))
        assert refused.wait(TIMEOUT_S)
    assert _balance(database).reject == 1


def test_a_disk_that_stays_full_is_said_at_the_end(
    database: Database, images: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise StoreUnwritable("database: the disk is full")

    monkeypatch.setattr(writing, "RETRY_S", 0.01)
    monkeypatch.setattr(writing, "close_open", full)
    recorder = _recorder(database, images)
    recorder.close_part(_closed(_opened(recorder)))
    with pytest.raises(RecordingFailed, match="the disk is full"):
        recorder.close(timeout_s=0.1)
    assert (_balance(database).open, _balance(database).balanced) == (1, False)


def test_a_slow_disk_makes_the_line_wait_and_drops_nothing(
    home: Home, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, waited = HeldImageStore(home), threading.Event()
    with _recorder(database, images, queue_parts=1) as recorder:
        parts = [_opened(recorder) for _ in range(6)]

        def close_all() -> None:
            for part_id in parts:
                recorder.close_part(_closed(part_id, Verdict.REJECT, _frame()))
            waited.set()

        line = threading.Thread(target=close_all)
        line.start()
        assert not waited.wait(0.2)  # one is being stored, one waits, the third holds the line up
        images.release.set()
        line.join(TIMEOUT_S)
        assert waited.is_set()
    assert _balance(database).reject == 6


def test_a_closed_recorder_takes_nothing(database: Database, images: ImageStore) -> None:
    recorder = _recorder(database, images)
    part_id = _opened(recorder)
    recorder.close()
    with pytest.raises(StoreClosed, match="recorder of station one is closed"):
        recorder.close_part(_closed(part_id))


def test_undecided_says_why() -> None:
    with pytest.raises(ValueError, match="must say why"):
        ClosedPart(part_id=uuid.uuid4(), verdict=Verdict.UNDECIDED)


def test_times_come_back_with_their_zone(database: Database, images: ImageStore) -> None:
    at = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
    with _recorder(database, images) as recorder:
        part = OpenPart(trigger_id=1, triggered_at=at)
        recorder.open_part(part).result(TIMEOUT_S)
        recorder.close_part(_closed(part.part_id))
    with database.read() as session:
        row = session.get(Part, part.part_id)
        assert row is not None
        assert row.triggered_at == at
        assert session.get(Station, "one") is not None
