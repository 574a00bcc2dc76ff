"""`partgate ledger` counts the frames that were given to no part."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import Session

from commands import in_process, last_json
from partgate.records import Database, Home, ImageStore, OrphanRecorder, Part, RecordedOrphan, add_station


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = Home.open(tmp_path / "line")
    with Database.open(place) as database:
        recorder = OrphanRecorder(database, ImageStore(place), station_id="one")
        for number in range(3):
            recorder.record(
                RecordedOrphan(
                    camera_id="top",
                    frame_id=number,
                    camera_timestamp_ns=None,
                    received_at=datetime.now(UTC),
                    reason="LATE: its part had been given up",
                )
            )
        recorder.close()
        database.write(lambda session: add_station(session, station_id="two", name="Two")).result()
    return place.path


@pytest.mark.parametrize(
    ("station", "orphans"), [([], 3), (["--station", "one"], 3), (["--station", "two"], 0)]
)
def test_orphan_frames_are_counted(
    home: Path, station: list[str], orphans: int, capsys: pytest.CaptureFixture[str]
) -> None:
    told = last_json(in_process("ledger", "--json", *station, home=home, capsys=capsys))
    assert told["orphan_frames"] == orphans
    assert told["balanced"]
    done = in_process("ledger", *station, home=home, capsys=capsys)
    assert f"orphan frames: {orphans}" in done.stdout.splitlines()


def test_a_station_that_never_ran_here_is_no_empty_ledger(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = in_process("ledger", "--station", "onn", home=home, capsys=capsys)
    assert done.returncode == 66
    assert done.stderr == "partgate: no station 'onn' has run in this home (did you mean one?)\n"


def test_parts_in_work_are_no_fault_of_the_ledger(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three at once since the next part is taken in while one is judged; more where a gate confirms."""

    def parts(session: Session) -> None:
        now = datetime.now(UTC)
        session.add_all(Part(station_id="two", trigger_id=number, triggered_at=now) for number in (1, 2, 3))

    opened = Home.open(home)
    with Database.open(opened) as database:
        database.write(parts).result()
    with opened.lock("station-two"):
        done = in_process("ledger", home=home, capsys=capsys)
        assert done.returncode == 0
        assert "0 undecided: balanced, 3 more in work" in done.stdout
        told = last_json(in_process("ledger", "--json", home=home, capsys=capsys))
        assert (told["open"], told["in_work"], told["balanced"]) == (3, 3, False)
    with opened.lock("station-one"):  # of another station: nobody works on these
        done = in_process("ledger", home=home, capsys=capsys)
    assert done.returncode == 1
    assert "3 open: NOT BALANCED" in done.stdout


def test_a_trigger_without_a_row_is_a_fault_whoever_runs(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def parts(session: Session) -> None:
        now = datetime.now(UTC)
        session.add_all(Part(station_id="two", trigger_id=number, triggered_at=now) for number in (1, 3))

    opened = Home.open(home)
    with Database.open(opened) as database:
        database.write(parts).result()
    with opened.lock("station-two"):
        assert in_process("ledger", home=home, capsys=capsys).returncode == 1
