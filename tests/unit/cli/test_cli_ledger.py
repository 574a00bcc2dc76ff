"""`partgate ledger` counts the frames that were given to no part."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from commands import in_process, last_json
from partgate.records import Database, Home, ImageStore, OrphanRecorder, RecordedOrphan, add_station


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
