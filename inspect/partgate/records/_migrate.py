"""Bringing a home's database to this program's schema, and refusing what is not one of ours.

A new database is built beside its place and moved there whole. An older one is copied, then changed
in one transaction: a kill leaves the old schema or the new one, never something between.
"""

import io
import os
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from partgate.records._boundary import mapped
from partgate.records._errors import StoreDamaged, StoreForeign, StoreMissing, StoreNewer, StoreNotLocal
from partgate.records._home import Home
from partgate.records._mounts import refuse_network_disk
from partgate.records._sqlite import library
from partgate_station import CannotWrite

APPLICATION_ID = 0x50476174  # "PGat"; SQLite keeps it in the file's header
LOCK_TIMEOUT_S = 60.0
BUSY_TIMEOUT_S = 10.0
CHECK_LIMIT_S = 2.0
HEADER_BYTES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrations:
    """A folder of Alembic revisions, numbered 0001, 0002, ...; the number is the schema's."""

    location: str
    head: int


PACKAGED = Migrations(location="partgate.records:migrations", head=6)


def prepare(home: Home, migrations: Migrations = PACKAGED) -> None:
    """Make sure that a home's database is there, whole, ours, and of this schema.

    Raises:
        StoreError: it is not, and nothing was changed; the text says what to do.
        CannotWrite: the home cannot be written.
    """
    refuse_network_disk(home.path)
    library()
    with home.lock("schema", timeout_s=LOCK_TIMEOUT_S):
        if home.database_path.exists():
            _bring_up(home, migrations)
        elif home.marker_path.exists():
            raise StoreMissing(
                f"{home.database_path}: the database of this home is gone; restore it from a backup,"
                f" or delete {home.marker_path} to begin an empty ledger"
            )
        else:
            _create(home, migrations)
        with mapped(library().Error):
            _set_wal(home.database_path)
        _mark(home)


def _mark(home: Home) -> None:
    if home.marker_path.exists():
        return
    try:
        home.marker_path.write_text(
            "This folder is a partgate home; partgate.db holds its records.\n", encoding="utf-8"
        )
    except OSError as error:
        raise CannotWrite(f"{home.marker_path}: cannot be written ({error.strerror})") from error


def _create(home: Home, migrations: Migrations) -> None:
    unfinished = home.path / "partgate.db.new"
    try:
        # What a killed start left behind has no rows yet.
        for leftover in home.path.glob(f"{unfinished.name}*"):
            leftover.unlink()
        with mapped(library().Error):
            _upgrade(unfinished, migrations, set_identity=True)
        unfinished.rename(home.database_path)
        _sync_folder(home.path)
    except OSError as error:
        raise CannotWrite(f"{home.database_path}: cannot be made ({error.strerror})") from error


def _bring_up(home: Home, migrations: Migrations) -> None:
    path = home.database_path
    _check_header(path)
    with mapped(library().Error):
        found = _inspect(path)
        if found > migrations.head:
            raise StoreNewer(
                f"{path}: schema {found} is newer than this program ({migrations.head}); update partgate"
            )
        if found < migrations.head:
            _copy(path, path.with_name(f"partgate.db.schema-{found}-{datetime.now(UTC):%Y%m%dT%H%M%S}"))
            _upgrade(path, migrations, set_identity=False)


def _check_header(path: Path) -> None:
    """Refuse what is not an SQLite file of ours, from its first bytes: nothing is opened or recovered.

    Source: the database header, https://sqlite.org/fileformat.html.
    """
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except OSError as error:
        raise CannotWrite(f"{path}: cannot be read ({error.strerror})") from error
    if not header:
        raise StoreDamaged(f"{path}: the database is empty (0 bytes); restore it from a backup")
    if not header.startswith(b"SQLite format 3\0"[: len(header)]):
        raise StoreForeign(f"{path}: this is not an SQLite database; move it away, or choose another --home")
    if len(header) < HEADER_BYTES:
        raise StoreDamaged(f"{path}: the database ends after {len(header)} bytes; restore it from a backup")
    found = int.from_bytes(header[68:72], "big")
    if found != APPLICATION_ID:
        raise StoreForeign(
            f"{path}: this database was made by another program (application id {found:#x}, expected"
            f" {APPLICATION_ID:#x}); move it away, or choose another --home"
        )


def _inspect(path: Path) -> int:
    """Return the schema number of one of our databases, after looking for damage."""
    with closing(_connect(path)) as connection:
        _check_pages(path, connection)
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        if number < 1:
            raise StoreDamaged(
                f"{path}: the database says schema {number}, and there is none; restore a backup"
            )
        return int(number)


def _check_pages(path: Path, connection: Any) -> None:
    """Run SQLite's quick check, for a bounded time: a start must not wait for a year's records."""
    deadline = time.monotonic() + CHECK_LIMIT_S
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
    try:
        rows = connection.execute("PRAGMA quick_check(1)").fetchall()
    except library().OperationalError as error:
        if error.sqlite_errorname != "SQLITE_INTERRUPT":
            raise
        return
    except library().DatabaseError as error:
        raise _damaged(path, str(error)) from error
    finally:
        connection.set_progress_handler(None, 0)
    if rows != [("ok",)]:
        raise _damaged(path, str(rows[0][0]))


def _damaged(path: Path, how: str) -> StoreDamaged:
    return StoreDamaged(
        f"{path.name} is damaged ({how}); keep {path} as it is, and restore a backup into its place"
        f" or recover what can be read with `sqlite3 {path} .recover`"
    )


def _connect(path: Path) -> Any:
    return library().connect(str(path), isolation_level=None, timeout=BUSY_TIMEOUT_S)


def _set_wal(path: Path) -> None:
    """Turn write-ahead logging on, once per file: later it would wait for every reader to end."""
    with closing(_connect(path)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise StoreNotLocal(f"{path}: this disk allows no write-ahead logging; choose another --home")


def _copy(source: Path, target: Path) -> None:
    """Copy a database while it may be in use, whole and on disk before the name is there."""
    unfinished = target.with_name(target.name + ".new")
    with closing(_connect(source)) as connection, closing(_connect(unfinished)) as copy:
        connection.backup(copy)
    unfinished.rename(target)
    _sync_folder(target.parent)


def _upgrade(path: Path, migrations: Migrations, *, set_identity: bool) -> None:
    """Run the missing migrations in one transaction."""
    from alembic import command
    from alembic.config import Config

    # Alembic rebuilds tables to change them; with foreign keys on, that would delete what refers to them.
    database = create_engine(
        "sqlite+pysqlite://", module=library(), creator=lambda: _connect(path), poolclass=NullPool
    )
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", migrations.location.replace("%", "%%"))
    with database.connect() as connection:
        connection.exec_driver_sql("PRAGMA synchronous=FULL")
        connection.commit()
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall():
            raise StoreDamaged(
                f"{path}: rows that refer to nothing: {broken[:3]}; the schema was left as it was"
            )
        if set_identity:
            connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version={migrations.head}")
        connection.commit()


def _sync_folder(folder: Path) -> None:
    """Make names in a folder durable: a file's fsync does not cover its name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
