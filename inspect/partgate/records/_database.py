"""One database, one writing thread.

Every change is an act: a function of a session, queued to the one thread of this process that writes.
Acts that wait at the same moment share a transaction, each in a savepoint of its own, so that one
fsync serves them all; docs/decisions/0004 says why and what it brings.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from partgate.records._boundary import mapped, store_error
from partgate.records._errors import StoreBusy, StoreClosed, StoreMissing
from partgate.records._home import Home
from partgate.records._journal import fold_left_behind
from partgate.records._migrate import prepare
from partgate.records._queue import BoundedQueue, QueueClosed, QueueFull
from partgate.records._sqlite import read_database, write_database

T = TypeVar("T")

BUSY_TIMEOUT_S = 10.0
QUEUE_TIMEOUT_S = 30.0
BATCH_ACTS = 64

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """An act on its way to the writing thread."""

    act: Callable[[Session], Any]
    future: Future[Any] = field(default_factory=Future)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What an act gave: a result, or the error that undid it. Promised only after the commit."""

    result: Any = None
    error: Exception | None = None


class Database:
    """The records of a home. Reading: any thread. Writing: acts, by the one thread in here.

    Args:
        home: its database must be prepared; `Database.open` sees to that.
        queue_acts: acts that may wait; when they do, `write` BLOCKS, up to half a minute.
        busy_timeout_s: how long another process's transaction is waited for.
    """

    def __init__(self, home: Home, *, queue_acts: int = 256, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.home = home
        self._queue: BoundedQueue[_Job] = BoundedQueue(queue_acts, overflow="block")
        self._reader = read_database(home.database_path, busy_timeout_s=busy_timeout_s)
        self._writer = write_database(home.database_path, busy_timeout_s=busy_timeout_s)
        self._connection: Connection | None = None
        self._file: tuple[int, int] | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="partgate-database", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, home: Home, *, queue_acts: int = 256, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Self:
        """Open a home's database: made if the home is new, brought to this schema if it is older.

        Triggers that a killed station left in its journal are put into the ledger first.

        Raises:
            StoreError: damaged, empty, foreign, of a newer schema, gone, or on a network's disk;
                nothing was changed.
            SqliteAffected: the SQLite found here is not safe.
        """
        prepare(home)
        database = cls(home, queue_acts=queue_acts, busy_timeout_s=busy_timeout_s)
        fold_left_behind(database)
        return database

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that sees one snapshot and can change nothing.

        Raises:
            StoreClosed: the database is closed.
        """
        if self._closed:
            raise StoreClosed("the database is closed")
        with mapped(), Session(self._reader) as session:
            yield session

    def write(self, act: Callable[[Session], T]) -> Future[T]:
        """Queue an act; its future resolves once the act is on disk.

        The act runs in the writing thread, once, in a transaction. An exception undoes all of it
        and is what the future carries; what SQLAlchemy raised becomes a `StoreError`. Rows it
        returns stay readable. It must not wait for another act.

        Raises:
            StoreClosed: the database is closed.
            StoreBusy: the queue had no place for half a minute.
        """
        job = _Job(act=act)
        try:
            self._queue.put(job, timeout_s=QUEUE_TIMEOUT_S)
        except QueueClosed:
            raise StoreClosed("the database is closed") from None
        except QueueFull:
            raise StoreBusy(
                f"database: {len(self._queue)} acts have waited for {QUEUE_TIMEOUT_S:g} s"
            ) from None
        return cast("Future[T]", job.future)

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what is queued, then let go of the files; a second call does nothing.

        Raises:
            StoreBusy: the writing thread did not finish in time; its acts may still be written.
        """
        self._queue.close()
        self._closed = True
        self._thread.join(timeout_s)
        self._reader.dispose()
        if self._thread.is_alive():
            raise StoreBusy(f"database: {len(self._queue)} acts were not written within {timeout_s:g} s")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while jobs := self._queue.take(BATCH_ACTS):
            self._commit([job for job in jobs if job.future.set_running_or_notify_cancel()])
        self._let_go()

    def _commit(self, jobs: Sequence[_Job]) -> None:
        """Run acts in one transaction and keep the promises to those who wait."""
        outcomes: list[_Outcome] = []
        try:
            self._require_same_file()  # before a connection is made: that would make an empty file
            connection = self._connected()
            with connection.begin():
                outcomes.extend(_attempt(job, connection) for job in jobs)
        except Exception as error:  # noqa: BLE001 - the top of the thread: the futures carry it
            # After a failed commit or fsync nothing is known of this connection's state.
            self._let_go()
            outcomes = [_Outcome(error=_failure(error))] * len(jobs)
        for job, outcome in zip(jobs, outcomes, strict=True):
            _resolve(job.future, outcome)

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._writer.connect()
        return self._connection

    def _require_same_file(self) -> None:
        """Go on only if the file at the database's place is still the one that was opened first.

        A file that was moved away, deleted or replaced takes rows for as long as somebody has it open, and
        nobody finds them there afterwards.

        Raises:
            StoreMissing: it is another one, or none.
        """
        path = self.home.database_path
        try:
            status = path.stat()
        except OSError as error:
            raise StoreMissing(
                f"{path}: the database is gone while this program writes ({error.strerror}); put it back"
            ) from error
        found = (status.st_dev, status.st_ino)
        self._file = self._file or found
        if found != self._file:
            raise StoreMissing(
                f"{path}: another file was put in the database's place while this program writes; stop every"
                " program of this home, see which of the two files it is to be, and start again"
            )

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.close()
        except SQLAlchemyError as error:
            log.warning("the database's connection could not be closed", error=str(error))


def _attempt(job: _Job, connection: Connection) -> _Outcome:
    """Run one act in a savepoint of the open transaction.

    Raises:
        StoreError: SQLite gave up the whole transaction, and with it the acts before this one.
    """
    session = Session(bind=connection, join_transaction_mode="create_savepoint", expire_on_commit=False)
    try:
        result = job.act(session)
        session.commit()
    except Exception as error:
        # On a full or failing disk SQLite rolls the whole transaction back by itself.
        if not _in_transaction(connection):
            session.invalidate()
            raise _first(error) from error
        session.rollback()
        return _Outcome(error=_failure(error))
    finally:
        session.close()
    return _Outcome(result=result)


def _in_transaction(connection: Connection) -> bool:
    driver = connection.connection.dbapi_connection
    return driver is not None and bool(driver.in_transaction)


def _first(error: Exception) -> Exception:
    """Return what came before: after a lost transaction, undoing its savepoint fails as well."""
    while isinstance(error.__context__, SQLAlchemyError):
        error = error.__context__
    return error


def _failure(error: Exception) -> Exception:
    """Return what a future carries for an error: SQLAlchemy's as partgate's, others as they are."""
    if not isinstance(error, SQLAlchemyError):
        return error
    failure = store_error(error)
    failure.__cause__ = error
    return failure


def _resolve(future: Future[Any], outcome: _Outcome) -> None:
    if outcome.error is None:
        future.set_result(outcome.result)
    else:
        future.set_exception(outcome.error)
