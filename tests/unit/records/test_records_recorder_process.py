"""The recorder in a process of its own: what the line sees of it, and what is in the records at the end."""

import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pysqlite3.dbapi2 as sqlite
import pytest
from sqlmodel import select
from structlog.testing import capture_logs

from partgate._recorder_start import recorder_started
from partgate.records import (
    ClosedPart,
    Database,
    Frame,
    Home,
    ImageState,
    ImageStore,
    OpenPart,
    Part,
    PartNotOpen,
    RecordedFrame,
    RecorderProcess,
    RecordingFailed,
    StoreClosed,
    StoreUnwritable,
    balance,
    utc_now,
)
from partgate.records._journal import Journal, fold, journal_path
from partgate.records._recorder import Recorder
from partgate.records._recorder_process import SLOW_WRITE_S
from partgate_station import AlreadyRunning, Verdict

TIMEOUT_S = 20
GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)
COLOUR = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
MAP = np.linspace(0, 9, 20, dtype=np.float32).reshape(4, 5)


def test_a_disk_that_keeps_a_verdict_waiting_is_said_in_the_lines_log(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fdatasync

    def slow(descriptor: int) -> None:
        time.sleep(SLOW_WRITE_S * 1.5)
        sync(descriptor)

    with capture_logs() as said, _recorder(database) as recorder:
        monkeypatch.setattr(os, "fdatasync", slow)
        recorder.close_part(_closed(_opened(recorder, 7)))
        monkeypatch.undo()
    (line,) = [line for line in said if line["event"] == "the disk kept triggers waiting, and their verdicts"]
    assert line["took_ms"] >= SLOW_WRITE_S * 1500
    assert (line["log_level"], line["first_trigger"]) == ("warning", 7)


def _recorder(database: Database, keep: Literal["all", "flagged"] = "all", **options: Any) -> RecorderProcess:
    return RecorderProcess(database, station_id="one", keep=keep, **options)


def _frame(image: np.ndarray, anomaly_map: np.ndarray | None = None) -> RecordedFrame:
    return RecordedFrame(
        camera_id="top",
        frame_id=7,
        received_at=utc_now(),
        image=image,
        score=0.5,
        anomaly_map=anomaly_map,
        map_box=(1, 0, 4, 3),
    )


def _opened(recorder: RecorderProcess, trigger_id: int) -> uuid.UUID:
    part = OpenPart(trigger_id=trigger_id, triggered_at=utc_now(), serial_number=f"SN-{trigger_id}")
    recorder.open_part(part).result(TIMEOUT_S)
    return part.part_id


def _closed(part_id: uuid.UUID, verdict: Verdict = Verdict.REJECT, *frames: RecordedFrame) -> ClosedPart:
    reason = "LATE: too late" if verdict is Verdict.UNDECIDED else None
    return ClosedPart(
        part_id=part_id, verdict=verdict, reason=reason, score=3.5, latency_ms=8.25, frames=frames
    )


def _rows(database: Database) -> dict[int, Part]:
    with database.read() as session:
        return {part.trigger_id: part for part in session.exec(select(Part)).all()}


def test_parts_and_frames_are_recorded_as_they_were_given(home: Home, database: Database) -> None:
    with _recorder(database, keep="flagged") as recorder:
        recorder.wait_ready(TIMEOUT_S)
        assert recorder.next_trigger_id() == 1
        flagged, good, late = (_opened(recorder, number) for number in (1, 2, 3))
        assert recorder.next_trigger_id() == 4
        recorder.close_part(_closed(flagged, Verdict.REJECT, _frame(COLOUR, MAP), _frame(GREY[..., None])))
        recorder.close_part(_closed(good, Verdict.ACCEPT, _frame(GREY)))
        recorder.close_part(_closed(late, Verdict.UNDECIDED))
        for part_id in (flagged, uuid.uuid4()):
            with pytest.raises(PartNotOpen, match=str(part_id)):
                recorder.close_part(_closed(part_id))
    rows = _rows(database)
    assert [rows[number].verdict for number in (1, 2, 3)] == ["REJECT", "ACCEPT", "UNDECIDED"]
    assert (rows[1].serial_number, rows[1].score, rows[1].latency_ms) == ("SN-1", 3.5, 8.25)
    with database.read() as session:
        frames = session.exec(select(Frame)).all()
    of = {(frame.part_id, frame.channels): frame for frame in frames}
    kept, grey, dropped = of[flagged, 3], of[flagged, 1], of[good, 1]
    assert (kept.image_state, grey.image_state, dropped.image_state) == ("KEPT", "KEPT", ImageState.NOT_KEPT)
    assert (dropped.height_px, dropped.width_px) == (3, 4)
    assert [one.map_box for one in (kept, grey, dropped)] == [[1, 0, 4, 3], None, None]
    images = ImageStore(home)
    np.testing.assert_array_equal(images.get(kept.image_sha256 or ""), COLOUR)
    np.testing.assert_array_equal(images.get_map(kept.map_sha256 or ""), MAP)
    np.testing.assert_array_equal(images.get(grey.image_sha256 or ""), GREY)
    assert not any(journal_path(home, "one").read_bytes())
    with pytest.raises(StoreClosed):
        recorder.open_part(OpenPart(trigger_id=9, triggered_at=utc_now()))


def test_a_process_that_was_started_ahead_is_the_one_that_records(database: Database) -> None:
    with recorder_started() as process:
        assert process is not None
        with RecorderProcess(database, station_id="one", keep="all", process=process) as recorder:
            recorder.wait_ready(TIMEOUT_S)
            assert (recorder.pid, recorder.restarts) == (process.pid, 0)
            recorder.close_part(_closed(_opened(recorder, 1)))
        assert process.exit_code(0.0) == 0
    assert _rows(database)[1].verdict == "REJECT"


def test_a_process_that_was_started_ahead_and_lost_is_replaced(database: Database) -> None:
    with recorder_started() as process:
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        process.exit_code(TIMEOUT_S)
        with RecorderProcess(database, station_id="one", keep="all", process=process) as recorder:
            recorder.wait_ready(TIMEOUT_S)
            assert recorder.pid != process.pid


def test_a_process_that_nobody_wants_ends() -> None:
    with recorder_started() as process:
        assert process is not None
        assert process.exit_code(0.0) is None
    assert process.exit_code(0.0) is not None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_a_recorder_that_is_killed_costs_no_part(home: Home, database: Database, how: signal.Signals) -> None:
    with _recorder(database) as recorder:
        recorder.wait_ready(TIMEOUT_S)
        for number in range(1, 41):
            part_id = _opened(recorder, number)
            recorder.close_part(_closed(part_id, Verdict.REJECT, _frame(COLOUR + np.uint8(number))))
            if number == 20:
                os.kill(recorder.pid or 0, how)
    # Ctrl-C and SIGTERM are for the line alone: its recorder still has to write.
    assert recorder.restarts == (how is signal.SIGKILL)
    with database.read() as session:
        found = balance(session)
        frames = session.exec(select(Frame)).all()
    assert (found.triggers, found.reject, found.balanced) == (40, 40, True)
    assert len(frames) == 40
    assert {frame.image_state for frame in frames} == {ImageState.KEPT}


def test_triggers_are_durable_without_the_recorders_process(home: Home, database: Database) -> None:
    with _recorder(database) as recorder:
        recorder.wait_ready(TIMEOUT_S)
        os.kill(recorder.pid or 0, signal.SIGSTOP)
        parts = [_opened(recorder, number) for number in range(1, 6)]  # resolves: the verdict may leave
        assert _rows(database) == {}
        os.kill(recorder.pid or 0, signal.SIGCONT)
        for part_id in parts:
            recorder.close_part(_closed(part_id))
    assert [row.verdict for row in _rows(database).values()] == [Verdict.REJECT] * 5


def test_a_recorder_that_cannot_end_in_time_is_killed_and_its_triggers_are_kept(
    home: Home, database: Database
) -> None:
    recorder = _recorder(database)
    recorder.wait_ready(TIMEOUT_S)
    os.kill(recorder.pid or 0, signal.SIGSTOP)
    parts = [_opened(recorder, number) for number in (1, 2)]
    recorder.close_part(_closed(parts[0], Verdict.ACCEPT, _frame(GREY)))
    with pytest.raises(RecordingFailed, match=f"the first: part {parts[0]}: not recorded within"):
        recorder.close(timeout_s=0.5)
    recorder.close()
    with Database.open(home) as again:
        assert set(_rows(again)) == {1, 2}
        with Recorder(again, ImageStore(home), station_id="one", keep="all") as other:
            assert other.recover() == 2
        assert {row.verdict for row in _rows(again).values()} == {Verdict.UNDECIDED}


def test_what_a_killed_line_left_is_found_and_counted_once(home: Home, database: Database) -> None:
    journal = Journal(home, "one")
    left = [OpenPart(trigger_id=number, triggered_at=utc_now()) for number in (1, 2)]
    journal.write(left)
    journal.close()
    with _recorder(database) as recorder:
        assert recorder.next_trigger_id() == 3
        own = _opened(recorder, 3)
        assert recorder.recover() == 2
        assert recorder.recover() == 0
        recorder.close_part(_closed(own))
    rows = _rows(database)
    assert [(rows[number].reason or "").partition(":")[0] for number in (1, 2, 3)] == ["INTERRUPTED"] * 2 + [
        ""
    ]


def test_a_trigger_taken_twice_is_said_at_the_end(database: Database) -> None:
    recorder = _recorder(database)
    first, again = _opened(recorder, 1), _opened(recorder, 1)
    recorder.close_part(_closed(first))
    recorder.close_part(_closed(again))
    with pytest.raises(RecordingFailed, match=str(again)):
        recorder.close()
    assert _rows(database)[1].id == first
    assert again.hex.encode() in journal_path(database.home, "one").read_bytes()  # all there is of it


def test_an_image_may_be_lost_but_its_row_is_not_and_the_lines_log_says_so(database: Database) -> None:
    with capture_logs() as said, _recorder(database) as recorder:
        recorder.wait_ready(TIMEOUT_S)
        no_image = np.zeros((2, 2, 5), np.uint8)
        recorder.close_part(_closed(_opened(recorder, 1), Verdict.REJECT, _frame(no_image), _frame(GREY)))
    with database.read() as session:
        frames = {frame.channels: frame.image_state for frame in session.exec(select(Frame)).all()}
    assert frames == {5: ImageState.LOST, 1: ImageState.KEPT}
    (lost,) = [entry for entry in said if entry["event"] == "image lost"]
    assert (lost["log_level"], lost["camera"]) == ("error", "top")
    assert "an image is (h, w)" in lost["error"]


def test_a_second_recorder_of_a_station_is_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partgate.records._recorder_process.LOCK_TIMEOUT_S", 0.05)
    with _recorder(database), pytest.raises(AlreadyRunning, match="journal-one"):
        _recorder(database)


def test_a_disk_that_refuses_the_trigger_is_what_the_future_carries(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    recorder = _recorder(database)
    monkeypatch.setattr(os, "fdatasync", broken)
    refused = OpenPart(trigger_id=1, triggered_at=utc_now())
    with pytest.raises(StoreUnwritable, match="Input/output error"):
        recorder.open_part(refused).result(TIMEOUT_S)
    monkeypatch.undo()
    with pytest.raises(PartNotOpen):
        recorder.close_part(_closed(refused.part_id))
    recorder.close_part(_closed(_opened(recorder, 2)))
    with pytest.raises(RecordingFailed, match="Input/output error"):
        recorder.close()
    assert set(_rows(database)) == {2}
    # What was refused may lie there whole: with it the ledger has no hole, without it nothing is lost.
    assert fold(database, "one") == 1
    assert set(_rows(database)) == {1, 2}


def test_records_that_cannot_be_written_are_a_problem_until_they_can_and_nothing_is_lost(
    home: Home, database: Database
) -> None:
    """A database that is damaged, not full: before, every verdict was thrown away, and nobody knew."""
    content = home.database_path.read_bytes()
    with _recorder(database) as recorder:
        recorder.wait_ready(TIMEOUT_S)
        assert recorder.problem is None
        connection = sqlite.connect(str(home.database_path))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        whole = home.database_path.read_bytes()
        with home.database_path.open("r+b") as file:
            file.seek(100)
            file.write(b"\xff" * (len(whole) - 100))
        recorder.close_part(_closed(_opened(recorder, 1)))
        _until(lambda: recorder.problem is not None)
        assert "damaged" in str(recorder.problem)
        with home.database_path.open("r+b") as file:
            file.write(whole)
        _until(lambda: recorder.problem is None)
    assert content[:16] == whole[:16]
    assert _rows(database)[1].verdict is Verdict.REJECT


def test_another_file_in_the_databases_place_is_a_problem(home: Home, database: Database) -> None:
    recorder = _recorder(database)
    recorder.wait_ready(TIMEOUT_S)
    recorder.close_part(_closed(_opened(recorder, 1)))
    _until(lambda: 1 in _rows(database))
    shutil.copy(home.database_path, home.path / "backup.db")
    (home.path / "backup.db").replace(home.database_path)
    part = _closed(_opened(recorder, 2), Verdict.ACCEPT)
    recorder.note_verdict(part)
    recorder.close_part(part)
    _until(lambda: recorder.problem is not None)
    assert "another file was put in the database's place" in str(recorder.problem)
    with pytest.raises(RecordingFailed):
        recorder.close(timeout_s=1)
    with Database.open(home) as restored:  # what was not in the backup's time is in the journal
        assert _rows(restored)[2].verdict is Verdict.ACCEPT


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
