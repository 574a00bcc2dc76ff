"""Which SQLite, and how connections to it are made."""

from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

from partgate.records._errors import SqliteAffected

# A reset of the write-ahead log could lose committed rows: https://sqlite.org/wal.html, "the WAL-reset
# bug", mended in 3.51.3 and in these two older branches.
FIXED = (3, 51, 3)
FIXED_BRANCHES = ((3, 50, 7), (3, 44, 6))


def library() -> ModuleType:
    """Return the DBAPI module of an SQLite that keeps what it committed.

    Raises:
        SqliteAffected: the one found is affected by the WAL-reset bug.
    """
    module = _import()
    refuse_affected(module.sqlite_version_info)
    return module


def sqlite_version() -> str:
    """Return the version of the SQLite that records are kept with.

    Raises:
        SqliteAffected: the one found is affected by the WAL-reset bug.
    """
    return str(library().sqlite_version)


def refuse_affected(version: tuple[int, ...]) -> None:
    """Refuse an SQLite with the WAL-reset bug.

    Raises:
        SqliteAffected: names the version found and the ones that are not affected.
    """
    branch_is_fixed = any(version[:2] == fixed[:2] and version >= fixed for fixed in FIXED_BRANCHES)
    if version < FIXED and not branch_is_fixed:
        found = ".".join(str(number) for number in version)
        raise SqliteAffected(
            f"SQLite {found} is affected by the WAL-reset bug; use ≥3.51.3, 3.50.7 or 3.44.6"
            " (`pip install pysqlite3` brings one)"
        )


def _import() -> ModuleType:
    try:
        import pysqlite3.dbapi2 as module
    except ImportError:
        import sqlite3.dbapi2 as module
    return module  # type: ignore[no-any-return] # pysqlite3 has no annotations


def write_database(path: Path, *, busy_timeout_s: float) -> Engine:
    """Return the SQLAlchemy object of the writing thread: durable, one transaction at a time."""
    database = create_engine(
        _url(path), module=library(), poolclass=NullPool, connect_args=_arguments(busy_timeout_s)
    )
    # Write-ahead logging is a property of the file; `_migrate.py` has set it.
    _on_connect(database, ("synchronous=FULL", "foreign_keys=ON"))
    # Taking the write lock at once: a transaction that reads first and writes later fails at once
    # with SQLITE_BUSY if another process wrote in between, whatever the timeout.
    _on_begin(database, "BEGIN IMMEDIATE")
    return database


def read_database(path: Path, *, busy_timeout_s: float) -> Engine:
    """Return the SQLAlchemy object of everybody else: snapshots, never a change."""
    database = create_engine(
        _url(path),
        module=library(),
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=40,
        pool_timeout=busy_timeout_s,
        connect_args={**_arguments(busy_timeout_s), "check_same_thread": False},
    )
    _on_connect(database, ("query_only=ON",))
    _on_begin(database, "BEGIN")
    return database


def _url(path: Path) -> Any:
    from sqlalchemy import URL

    return URL.create("sqlite+pysqlite", database=str(path))


def _arguments(busy_timeout_s: float) -> dict[str, Any]:
    # isolation_level None: the module begins nothing by itself, `_on_begin` does.
    return {"isolation_level": None, "timeout": busy_timeout_s}


def _on_connect(database: Engine, pragmas: tuple[str, ...]) -> None:
    @event.listens_for(database, "connect")
    def connect(connection: Any, _record: Any) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")


def _on_begin(database: Engine, statement: str) -> None:
    @event.listens_for(database, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)
