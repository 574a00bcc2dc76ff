import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

import partgate.records
from partgate.records import (
    Database,
    Home,
    Station,
    StoreDamaged,
    StoreForeign,
    StoreMissing,
    StoreNewer,
    metadata,
)
from partgate.records import _migrate as migrate
from partgate.records._sqlite import read_database, write_database

PACKAGED = Path(partgate.records.__file__).parent / "migrations"
NOW, NEXT = migrate.PACKAGED.head, migrate.PACKAGED.head + 1
SECOND = """
import os, signal
import sqlalchemy as sa
from alembic import op

revision = "{new:04}"
down_revision = "{old:04}"

def upgrade() -> None:
    with op.batch_alter_table("station") as table:
        table.add_column(sa.Column("place", sa.String(), nullable=False, server_default="hall 1"))
    {end}
"""


def _query(path: Path, statement: str) -> list[Any]:
    connection = sqlite.connect(str(path), isolation_level=None)
    try:
        rows: list[Any] = connection.execute(statement).fetchall()
        return rows
    finally:
        connection.close()


@pytest.fixture
def used(home: Home) -> Home:
    """A home whose database has a row."""
    with Database.open(home) as database:
        database.write(lambda session: session.add(Station(id="one", name="One"))).result(10)
    return home


def _second_schema(tmp_path: Path, end: str = "pass") -> migrate.Migrations:
    folder = tmp_path / "migrations"
    shutil.copytree(PACKAGED, folder, dirs_exist_ok=True)
    (folder / "versions" / f"{NEXT:04}_place.py").write_text(SECOND.format(end=end, old=NOW, new=NEXT))
    return migrate.Migrations(location=str(folder), head=NEXT)


def test_the_migrations_make_the_tables_exactly(used: Home) -> None:
    database = write_database(used.database_path, busy_timeout_s=5)
    with database.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
    database.dispose()


def test_the_migrations_make_the_constraints_exactly(used: Home, tmp_path: Path) -> None:
    # What Alembic compares does not include CHECKs; the texts of the tables do.
    direct = create_engine(f"sqlite:///{tmp_path / 'direct.db'}", module=sqlite)
    metadata.create_all(direct)
    direct.dispose()
    assert _definitions(used.database_path) == _definitions(tmp_path / "direct.db")


def _definitions(path: Path) -> dict[str, list[str]]:
    """Return what every table and index is made of, in no order: constraints are written in any.

    A table that was rebuilt has its name in quotes; a column that was added comes after the constraints.
    """
    rows = _query(path, "SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index')")
    return {
        name: sorted(_clauses((sql or "").replace('"', "")))
        for name, sql in rows
        if "alembic_version" not in name
    }


def _clauses(sql: str) -> list[str]:
    """Return what comes before the outer brackets of a statement, and what is between its outer commas."""
    before, _, inside = sql.rpartition(")")[0].partition("(")
    clauses, depth = [before, ""], 0
    for letter in inside:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            clauses.append("")
        else:
            clauses[-1] += letter
    return [" ".join(clause.split()) for clause in clauses]


def test_the_pragmas_of_a_database_in_use(used: Home) -> None:
    assert _query(used.database_path, "PRAGMA application_id") == [(migrate.APPLICATION_ID,)]
    assert _query(used.database_path, "PRAGMA user_version") == [(migrate.PACKAGED.head,)]
    with write_database(used.database_path, busy_timeout_s=5).connect() as writer:
        settings = {
            name: writer.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
    with read_database(used.database_path, busy_timeout_s=5).connect() as reader:
        assert reader.exec_driver_sql("PRAGMA query_only").scalar() == 1


def test_the_packaged_head_is_the_last_revision() -> None:
    last = max(path.name[:4] for path in (PACKAGED / "versions").glob("[0-9]*.py"))
    assert int(last) == migrate.PACKAGED.head


def _zero_bytes(path: Path) -> None:
    path.write_bytes(b"")


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def _half_missing(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _pages_overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


def _schema_zero(path: Path) -> None:
    _query(path, "PRAGMA user_version=0")


def _not_a_database(path: Path) -> None:
    path.write_text("these are not the records you are looking for" * 10)


def _somebody_elses(path: Path) -> None:
    path.unlink()
    connection = sqlite.connect(str(path))
    connection.execute("CREATE TABLE contacts (name)")
    connection.close()


def _newer(path: Path) -> None:
    _query(path, "PRAGMA user_version=7")


def _gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("spoil", "error", "text"),
    [
        pytest.param(_zero_bytes, StoreDamaged, "empty", id="zero-bytes"),
        pytest.param(_cut_short, StoreDamaged, "ends after 60 bytes", id="cut-short"),
        pytest.param(_half_missing, StoreDamaged, "is damaged", id="half-missing"),
        pytest.param(_pages_overwritten, StoreDamaged, "is damaged", id="pages-overwritten"),
        pytest.param(_schema_zero, StoreDamaged, "says schema 0", id="no-schema"),
        pytest.param(_not_a_database, StoreForeign, "not an SQLite database", id="text"),
        pytest.param(_somebody_elses, StoreForeign, "another program", id="foreign"),
        pytest.param(_newer, StoreNewer, "schema 7 is newer than this program", id="newer"),
        pytest.param(_gone, StoreMissing, "is gone", id="gone"),
    ],
)
def test_what_is_not_ours_or_not_whole_is_refused_untouched(
    used: Home, spoil: Any, error: Any, text: str
) -> None:
    spoil(used.database_path)
    before = used.database_path.read_bytes() if used.database_path.exists() else None
    with pytest.raises(error, match=text) as caught:
        Database.open(used)
    assert caught.value.exit_code in (65, 66)
    after = used.database_path.read_bytes() if used.database_path.exists() else None
    assert after == before


def test_a_ledger_is_begun_anew_only_when_told_to(used: Home) -> None:
    used.database_path.unlink()
    used.marker_path.unlink()
    with Database.open(used) as database, database.read() as session:
        assert session.get(Station, "one") is None


def test_what_a_killed_first_start_left_is_no_obstacle(new_home: Home) -> None:
    for name in ("partgate.db.new", "partgate.db.new-journal"):
        (new_home.path / name).write_bytes(b"half a database")
    Database.open(new_home).close()
    assert sorted(path.name for path in new_home.path.glob("partgate.db*")) == ["partgate.db"]


def test_rows_of_schema_2_are_kept_and_say_nothing_of_signals(new_home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    shutil.copytree(PACKAGED, folder)
    for later in [path for path in (folder / "versions").glob("[0-9]*.py") if path.name[:4] > "0002"]:
        later.unlink()
    migrate.prepare(new_home, migrate.Migrations(location=str(folder), head=2))
    _query(new_home.database_path, "INSERT INTO station VALUES ('one', 'One', '2026-01-01')")
    columns = "id, station_id, trigger_id, triggered_at, verdict, closed_at"
    for number in (1, 2):
        row = f"'{number:032}', 'one', {number}, '2026-01-01', 'ACCEPT', '2026-01-01'"
        _query(new_home.database_path, f"INSERT INTO part ({columns}) VALUES ({row})")
    frame = f"'f', '{1:032}', 'top', 1, '2026-01-01', 2, 2, 1, 'NOT_KEPT'"
    names = "id, part_id, camera_id, frame_id, received_at, height_px, width_px, channels, image_state"
    _query(new_home.database_path, f"INSERT INTO frame ({names}) VALUES ({frame})")
    migrate.prepare(new_home)
    found = _query(new_home.database_path, "SELECT trigger_id, verdict, signal_state FROM part ORDER BY 1")
    assert found == [(1, "ACCEPT", None), (2, "ACCEPT", None)]
    joined = "SELECT count(*) FROM frame JOIN part ON part.id = part_id"
    assert _query(new_home.database_path, joined) == [(1,)]
    assert _query(new_home.database_path, "SELECT map_box FROM frame") == [(None,)]
    assert _query(new_home.database_path, "PRAGMA foreign_key_check") == []
    with pytest.raises(sqlite.IntegrityError, match="a closed part is never changed"):
        _query(new_home.database_path, "UPDATE part SET signal_state = 'CONFIRMED'")
    open_part = f"('{3:032}', 'one', 3, '2026-01-01', NULL, NULL, 'MAYBE')"
    with pytest.raises(sqlite.IntegrityError, match="ck_part_signal_state"):
        _query(new_home.database_path, f"INSERT INTO part ({columns}, signal_state) VALUES {open_part}")


def test_an_older_schema_is_copied_and_brought_up(used: Home, tmp_path: Path) -> None:
    migrate.prepare(used, _second_schema(tmp_path))
    assert _query(used.database_path, "SELECT id, place FROM station") == [("one", "hall 1")]
    assert _query(used.database_path, "PRAGMA user_version") == [(NEXT,)]
    (copy,) = used.path.glob(f"partgate.db.schema-{NOW}-*")
    assert _query(copy, "SELECT * FROM station WHERE id = 'one'") != []
    assert _query(copy, "PRAGMA user_version") == [(NOW,)]


def test_a_failing_migration_changes_nothing(used: Home, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        migrate.prepare(used, _second_schema(tmp_path, end="1 / 0"))
    assert _query(used.database_path, "PRAGMA user_version") == [(NOW,)]
    with Database.open(used) as database, database.read() as session:
        assert session.get(Station, "one") is not None


def test_a_migration_killed_half_way_leaves_the_old_schema(used: Home, tmp_path: Path) -> None:
    killed = _second_schema(tmp_path, end="os.kill(os.getpid(), signal.SIGKILL)")
    script = (
        "import sys; from pathlib import Path; from partgate.records import Home, _migrate\n"
        "second = _migrate.Migrations(location=sys.argv[2], head=int(sys.argv[3]))\n"
        "_migrate.prepare(Home.open(Path(sys.argv[1])), second)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(used.path), killed.location, str(NEXT)], timeout=50, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert _query(used.database_path, "PRAGMA integrity_check") == [("ok",)]
    assert _query(used.database_path, "PRAGMA user_version") == [(NOW,)]
    migrate.prepare(used, _second_schema(tmp_path))
    assert _query(used.database_path, "SELECT place FROM station") == [("hall 1",)]


def test_an_endless_check_does_not_hold_up_the_start(used: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "CHECK_LIMIT_S", -1.0)
    connection = sqlite.connect(str(used.database_path), isolation_level=None)
    connection.execute(
        "CREATE TABLE filler AS WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n LIMIT 200000)"
        " SELECT i, 'x' || i AS t FROM n"
    )
    connection.execute("CREATE INDEX filler_t ON filler(t)")
    connection.close()
    Database.open(used).close()
