"""Processes that are killed while they write, and processes that write side by side."""

import subprocess
import sys
import uuid
from pathlib import Path

import pysqlite3.dbapi2 as sqlite
from sqlmodel import func, select

from partgate.records import (
    Database,
    Frame,
    Home,
    ImageState,
    ImageStore,
    Part,
    Recorder,
    Station,
    balance,
    verify_audit,
)
from partgate_station import Verdict

ROUNDS = 12
CLERKS, ROWS = 2, 60
WRITERS = Path(__file__).with_name("writers.py")


def _run(*arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, str(WRITERS), *map(str, arguments)],
        timeout=55,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_no_acknowledged_part_is_lost_to_kill_9(home: Home, tmp_path: Path) -> None:
    acknowledged = tmp_path / "acknowledged"
    _run("lines", home.path, acknowledged, ROUNDS)
    promised = {uuid.UUID(hex=line) for line in acknowledged.read_text().split()}
    assert len(promised) >= ROUNDS

    connection = sqlite.connect(str(home.database_path))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()

    images = ImageStore(home)
    with Database.open(home) as database:
        with Recorder(database, images, station_id="one", keep="all") as recorder:
            recorder.recover()
        with database.read() as session:
            rows = session.exec(select(Part)).all()
            assert promised <= {part.id for part in rows}
            assert {part.verdict for part in rows} <= {Verdict.REJECT, Verdict.UNDECIDED}
            assert all(
                (part.reason or "").startswith("INTERRUPTED")
                for part in rows
                if part.verdict is Verdict.UNDECIDED
            )
            assert balance(session).balanced
            assert balance(session).triggers == len(rows)
            for frame in session.exec(select(Frame)):
                assert frame.image_state is ImageState.KEPT
                assert frame.image_sha256 is not None
                assert images.get(frame.image_sha256).shape == (64, 64)
            frames = session.exec(select(func.count()).select_from(Frame)).one()
            assert frames == sum(part.verdict is Verdict.REJECT for part in rows)


def test_processes_write_side_by_side(new_home: Home) -> None:
    _run("clerks", new_home.path, CLERKS, ROWS)
    with Database.open(new_home) as database, database.read() as session:
        assert session.exec(select(func.count()).select_from(Station)).one() == CLERKS * ROWS
        assert verify_audit(session) is None
