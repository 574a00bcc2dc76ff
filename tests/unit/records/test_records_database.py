import sqlite3
import threading
from concurrent.futures import Future
from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest
from sqlalchemy import event
from sqlmodel import Session, select

from partgate.records import (
    ConstraintViolated,
    Database,
    Home,
    Station,
    StoreBusy,
    StoreClosed,
    StoreUnwritable,
    User,
)
from partgate.records._queue import BoundedQueue, QueueClosed, QueueFull

TIMEOUT_S = 10


def _add(name: str) -> Any:
    def act(session: Session) -> str:
        session.add(Station(id=name, name=name))
        session.flush()
        return name

    return act


def _fail(session: Session) -> None:
    session.add(Station(id="half done", name=""))
    session.flush()
    raise KeyError("the act's own mistake")


def _violate(session: Session) -> None:
    session.add(Station(id="first", name="again"))


def _names(database: Database) -> list[str]:
    with database.read() as session:
        return sorted(station.id for station in session.exec(select(Station)))


class _Held:
    """The writing thread, held in an act until the block ends: what is queued meanwhile shares a batch."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._running, self._release = threading.Event(), threading.Event()

    def __enter__(self) -> None:
        self._future = self._database.write(self._act)
        assert self._running.wait(TIMEOUT_S)

    def __exit__(self, *_: object) -> None:
        self._release.set()
        self._future.result(TIMEOUT_S)

    def _act(self, session: Session) -> None:
        self._running.set()
        assert self._release.wait(TIMEOUT_S)


def test_an_act_is_written_and_its_row_stays_readable(database: Database) -> None:
    def act(session: Session) -> User:
        user = User(name="vera", password_hash="x")
        session.add(user)
        return user

    user = database.write(act).result(TIMEOUT_S)
    assert (user.id, user.name) == (1, "vera")


def test_one_thread_runs_all_acts(database: Database) -> None:
    names = {
        database.write(lambda session: threading.current_thread().name).result(TIMEOUT_S) for _ in range(5)
    }
    assert names == {"partgate-database"}


def test_a_resolved_future_means_another_connection_sees_it(home: Home, database: Database) -> None:
    other = sqlite.connect(str(home.database_path))
    for number in range(20):
        database.write(_add(f"s{number}")).result(TIMEOUT_S)
        assert other.execute("SELECT count(*) FROM station").fetchone() == (number + 1,)
    other.close()


def test_acts_that_wait_share_a_transaction(database: Database) -> None:
    commits = []
    event.listen(database._writer, "commit", lambda connection: commits.append(1))
    with _Held(database):
        futures = [database.write(_add(f"s{number}")) for number in range(20)]
    assert [future.result(TIMEOUT_S) for future in futures] == [f"s{number}" for number in range(20)]
    assert len(commits) == 2  # the act that held the thread, and the twenty


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        pytest.param(_fail, KeyError, id="raises"),
        pytest.param(_violate, ConstraintViolated, id="breaks-a-rule"),
    ],
)
def test_a_failing_act_undoes_itself_alone(database: Database, bad: Any, error: type[Exception]) -> None:
    with _Held(database):
        before, failing, after = (
            database.write(_add("first")),
            database.write(bad),
            database.write(_add("last")),
        )
    assert before.result(TIMEOUT_S) == "first"
    with pytest.raises(error):
        failing.result(TIMEOUT_S)
    assert after.result(TIMEOUT_S) == "last"
    assert _names(database) == ["first", "last"]


def test_an_act_that_rolls_back_undoes_itself_alone(database: Database) -> None:
    def gives_up(session: Session) -> str:
        session.add(Station(id="given up", name=""))
        session.flush()
        session.rollback()
        return "gave up"

    with _Held(database):
        futures = [database.write(_add("first")), database.write(gives_up), database.write(_add("last"))]
    assert [future.result(TIMEOUT_S) for future in futures] == ["first", "gave up", "last"]
    assert _names(database) == ["first", "last"]


def test_a_failing_commit_fails_all_that_shared_it_and_nothing_later(database: Database) -> None:
    def fails_at_commit(session: Session) -> None:
        connection = session.connection()
        connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        connection.exec_driver_sql(
            "INSERT INTO activation (product, recipe_id, at, by, reason)"
            " VALUES ('p', 99, '2026-01-01', 'x', 'x')"
        )

    with _Held(database):
        futures: list[Future[Any]] = [database.write(_add("first")), database.write(fails_at_commit)]
    for future in futures:
        with pytest.raises(ConstraintViolated, match="FOREIGN KEY"):
            future.result(TIMEOUT_S)
    database.write(_add("later")).result(TIMEOUT_S)
    assert _names(database) == ["later"]


def test_a_full_disk_is_said_and_leaves_no_half_act(database: Database) -> None:
    def fills(session: Session) -> None:
        session.add(Station(id="too much", name=""))
        session.flush()
        session.connection().exec_driver_sql("PRAGMA max_page_count=1")  # SQLite's own "disk full"
        session.add(Station(id="more", name="x" * 100_000))
        session.flush()

    with pytest.raises(StoreUnwritable, match="the disk is full"):
        database.write(fills).result(TIMEOUT_S)
    database.write(
        lambda session: session.connection().exec_driver_sql("PRAGMA max_page_count=1000000")
    ).result(TIMEOUT_S)
    database.write(_add("after")).result(TIMEOUT_S)
    assert _names(database) == ["after"]


def test_when_sqlite_gives_up_the_transaction_nobody_is_told_otherwise(database: Database) -> None:
    def loses_it(session: Session) -> None:
        # What SQLite does by itself on some I/O errors
        session.connection().exec_driver_sql("ROLLBACK")
        raise OSError("the disk is gone")

    with _Held(database):
        futures: list[Future[Any]] = [
            database.write(_add("first")),
            database.write(loses_it),
            database.write(_add("x")),
        ]
    for future in futures:
        with pytest.raises(OSError, match="the disk is gone"):
            future.result(TIMEOUT_S)
    database.write(_add("later")).result(TIMEOUT_S)
    assert _names(database) == ["later"]


def test_a_cancelled_act_is_not_run(database: Database) -> None:
    with _Held(database):
        cancelled = database.write(_add("cancelled"))
        assert cancelled.cancel()
    database.write(_add("kept")).result(TIMEOUT_S)
    assert _names(database) == ["kept"]


def test_readers_see_a_snapshot_and_can_change_nothing(database: Database) -> None:
    with database.read() as session:
        assert session.exec(select(Station)).all() == []
        database.write(_add("new")).result(TIMEOUT_S)
        assert session.exec(select(Station)).all() == []
        session.add(Station(id="from a reader", name=""))
        with pytest.raises(Exception, match="readonly"):
            session.flush()
        session.rollback()
    assert _names(database) == ["new"]


def test_many_threads_read_while_one_writes(database: Database) -> None:
    seen: list[int] = []

    def read() -> None:
        seen.extend(len(_names(database)) for _ in range(20))

    readers = [threading.Thread(target=read) for _ in range(8)]
    for reader in readers:
        reader.start()
    for number in range(20):
        database.write(_add(f"s{number}")).result(TIMEOUT_S)
    for reader in readers:
        reader.join(TIMEOUT_S)
    assert len(seen) == 160
    assert set(seen) <= set(range(21))


def test_a_lock_of_another_program_is_waited_for_and_said(home: Home) -> None:
    with Database.open(home, busy_timeout_s=0.2) as database:
        other = sqlite.connect(str(home.database_path), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="another program keeps it locked"):
            database.write(_add("one")).result(TIMEOUT_S)
        other.execute("ROLLBACK")
        other.close()
        database.write(_add("two")).result(TIMEOUT_S)
        assert _names(database) == ["two"]


def test_close_writes_what_waits_and_ends_all_use(home: Home) -> None:
    database = Database.open(home)
    with _Held(database):
        futures = [database.write(_add(f"s{number}")) for number in range(10)]
    database.close()
    assert all(future.done() and future.exception() is None for future in futures)
    database.close()
    with pytest.raises(StoreClosed):
        database.write(_add("late"))
    with pytest.raises(StoreClosed), database.read():
        pass
    with sqlite3.connect(home.database_path) as file:
        assert file.execute("SELECT count(*) FROM station").fetchone() == (10,)
    file.close()
    assert not home.database_path.with_name("partgate.db-wal").exists()


def test_a_close_that_takes_too_long_says_so(home: Home) -> None:
    database = Database.open(home)
    with _Held(database), pytest.raises(StoreBusy, match=r"not written within 0\.05 s"):
        database.close(timeout_s=0.05)
    database.close()


def test_a_full_queue_makes_its_writer_wait_and_then_says_so(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partgate.records._database.QUEUE_TIMEOUT_S", 0.05)
    with Database.open(home, queue_acts=2) as database:
        with _Held(database):
            waiting = [database.write(_add("a")), database.write(_add("b"))]
            with pytest.raises(StoreBusy, match="2 acts have waited"):
                database.write(_add("c"))
        assert [future.result(TIMEOUT_S) for future in waiting] == ["a", "b"]


def test_the_queue_keeps_order_takes_in_batches_and_drains_after_close() -> None:
    queue: BoundedQueue[int] = BoundedQueue(3, overflow="block")
    for number in range(3):
        queue.put(number, timeout_s=0)
    with pytest.raises(QueueFull):
        queue.put(3, timeout_s=0.01)
    assert queue.take(2) == [0, 1]
    queue.put(3, timeout_s=0)
    queue.close()
    with pytest.raises(QueueClosed):
        queue.put(4, timeout_s=0)
    assert (queue.take(10), queue.take(10)) == ([2, 3], [])


def test_a_writer_waiting_for_a_place_is_let_go_by_close() -> None:
    queue: BoundedQueue[int] = BoundedQueue(1, overflow="block")
    queue.put(0, timeout_s=0)
    closed: list[bool] = []

    def put() -> None:
        try:
            queue.put(1, timeout_s=TIMEOUT_S)
        except QueueClosed:
            closed.append(True)

    writer = threading.Thread(target=put)
    writer.start()
    queue.close()
    writer.join(TIMEOUT_S)
    assert closed == [True]
