"""The recorder's process, the line, or both are killed (robustness F19): no acknowledged part is lost."""

import subprocess
import sys
import uuid
from pathlib import Path

import pysqlite3.dbapi2 as sqlite
import pytest
from sqlmodel import select

from partgate.records import Database, Frame, Home, ImageState, ImageStore, Part, balance
from partgate.records._journal import recorder_lock
from partgate_station import Verdict

WRITERS = Path(__file__).parents[1] / "unit" / "records" / "writers.py"
ROUNDS = 2


def _killed(home: Home, acknowledged: Path, victims: str) -> list[uuid.UUID]:
    """Run lines that are killed; return the parts whose row was promised."""
    done = subprocess.run(
        [sys.executable, str(WRITERS), "processes", str(home.path), str(acknowledged), str(ROUNDS), victims],
        timeout=55,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with home.lock(recorder_lock("one"), timeout_s=30):  # the last one writes what it had received
        return [uuid.UUID(hex=line.split()[0]) for line in acknowledged.read_text().splitlines()]


@pytest.mark.parametrize("victims", ["line", "recorder", "both"])
def test_no_acknowledged_part_is_lost_to_kill_9(tmp_path: Path, victims: str) -> None:
    home = Home.open(tmp_path / "home")
    promised = _killed(home, tmp_path / "acknowledged", victims)
    assert len(promised) == len(set(promised)) >= ROUNDS

    with Database.open(home) as database, database.read() as session:
        rows = {part.id: part for part in session.exec(select(Part)).all()}
        assert set(promised) <= set(rows)
        found = balance(session)
        # Every trigger has one row, closed or still open: nothing is counted twice, nothing is missing.
        assert found.triggers == len(rows) == found.reject + found.undecided + found.open
        # What a verdict was promised as, it is: the gate was told so.
        assert {rows[part_id].verdict for part_id in promised} == {Verdict.REJECT}
        frames = session.exec(select(Frame)).all()
        closed = {part.id for part in rows.values() if part.verdict is Verdict.REJECT}
        assert {frame.part_id for frame in frames} <= closed  # some by the journal alone: without their image
        for frame in frames:
            assert frame.image_state is ImageState.KEPT
            assert frame.image_sha256 is not None
            assert ImageStore(home).get(frame.image_sha256).shape == (64, 64)
    connection = sqlite.connect(str(home.database_path))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
