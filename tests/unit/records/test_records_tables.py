"""What the tables themselves refuse, whoever writes: a plain SQLite connection is used throughout."""

from collections.abc import Iterator
from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest

from partgate.records import Database, Home, audit

NOW = "'2026-01-01 00:00:00.000000'"
PART = "INSERT INTO part (id, station_id, trigger_id, triggered_at, verdict, reason, closed_at) VALUES "
FRAME = (
    "INSERT INTO frame (id, part_id, camera_id, frame_id, received_at, height_px, width_px, channels,"
    f" image_state, image_sha256) VALUES ('f1', 'open', 'c', 1, {NOW}, 1, 1, 1, "
)


@pytest.fixture
def raw(home: Home) -> Iterator[Any]:
    with Database.open(home) as database:
        database.write(lambda session: audit.append(session, who="a", what="b.c", subject="d")).result(10)
    connection = sqlite.connect(str(home.database_path), isolation_level=None)
    connection.execute("PRAGMA foreign_keys=ON")
    for statement in (
        f"INSERT INTO station VALUES ('s', 'S', {NOW})",
        f"INSERT INTO user VALUES (1, 'vera', 'x', {NOW}, NULL)",
        f"INSERT INTO model VALUES ('m', 'brick', 'patchcore', NULL, '{{}}', {NOW}, 'vera')",
        f"INSERT INTO recipe VALUES (1, 'brick', 1, 'm', '{{}}', 'h', {NOW}, 'vera', '')",
        f"INSERT INTO activation VALUES (1, 'brick', 1, {NOW}, 'vera', '')",
        f"{PART} ('open', 's', 1, {NOW}, NULL, NULL, NULL)",
        f"{PART} ('closed', 's', 2, {NOW}, 'REJECT', NULL, {NOW})",
        f"INSERT INTO review VALUES ('r', 'open', 'GOOD', '', 1, {NOW})",
    ):
        connection.execute(statement)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        pytest.param(f"{PART} ('x', 's', 3, {NOW}, 'MAYBE', NULL, {NOW})", "ck_part_verdict", id="verdict"),
        pytest.param(
            f"{PART} ('x', 's', 3, {NOW}, 'ACCEPT', NULL, NULL)",
            "closed_with_verdict",
            id="verdict-not-closed",
        ),
        pytest.param(
            f"{PART} ('x', 's', 3, {NOW}, NULL, NULL, {NOW})", "closed_with_verdict", id="closed-no-verdict"
        ),
        pytest.param(
            f"{PART} ('x', 's', 3, {NOW}, 'UNDECIDED', NULL, {NOW})", "undecided_says_why", id="undecided-why"
        ),
        pytest.param(f"{PART} ('x', 's', 1, {NOW}, NULL, NULL, NULL)", "UNIQUE", id="trigger-twice"),
        pytest.param(f"{PART} ('x', 'none', 3, {NOW}, NULL, NULL, NULL)", "FOREIGN KEY", id="no-station"),
        pytest.param(f"{FRAME} 'KEPT', NULL)", "kept_has_hash", id="kept-without-hash"),
        pytest.param(f"{FRAME} 'LOST', 'h')", "kept_has_hash", id="lost-with-hash"),
        pytest.param(f"{FRAME} 'GONE', NULL)", "ck_frame_image_state", id="image-state"),
        pytest.param(
            f"INSERT INTO review VALUES ('x', 'open', 'SO-SO', '', 1, {NOW})", "finding", id="finding"
        ),
        pytest.param(f"INSERT INTO user VALUES (2, 'vera', 'x', {NOW}, NULL)", "UNIQUE", id="user-twice"),
        pytest.param(
            "UPDATE part SET verdict = 'ACCEPT' WHERE id = 'closed'", "closed part is never", id="reclosed"
        ),
        pytest.param(
            "UPDATE part SET verdict = NULL, closed_at = NULL WHERE id = 'closed'", "never", id="reopened"
        ),
        pytest.param("DELETE FROM part WHERE id = 'open'", "ledger would not balance", id="part-deleted"),
        *(
            pytest.param(f"UPDATE {table} SET {column} = {column}", "never changed", id=f"{table}-update")
            for table, column in (
                ("audit", "who"),
                ("review", "note"),
                ("recipe", "reason"),
                ("activation", "by"),
            )
        ),
        *(
            pytest.param(f"DELETE FROM {table}", "never deleted", id=f"{table}-delete")
            for table in ("audit", "review", "recipe", "activation")
        ),
    ],
)
def test_the_database_itself_refuses(raw: Any, statement: str, text: str) -> None:
    with pytest.raises(sqlite.IntegrityError, match=text):
        raw.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(
            f"UPDATE part SET verdict = 'ACCEPT', closed_at = {NOW} WHERE id = 'open'", id="closing"
        ),
        pytest.param(
            f"UPDATE part SET verdict = 'UNDECIDED', reason = 'X: y', closed_at = {NOW} WHERE id = 'open'",
            id="declaring",
        ),
        pytest.param(f"{FRAME} 'KEPT', 'h')", id="kept"),
        pytest.param(f"{FRAME} 'LOST', NULL)", id="lost"),
    ],
)
def test_the_database_itself_allows(raw: Any, statement: str) -> None:
    assert raw.execute(statement).rowcount == 1
