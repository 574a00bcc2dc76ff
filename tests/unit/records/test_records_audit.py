from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import Session

from partgate.records import Audit, Database, Home, audit, verify_audit
from partgate.records._canonical import canonical, sha256

ROWS = 6


def _fill(database: Database) -> None:
    def act(session: Session) -> None:
        for number in range(ROWS):
            audit.append(
                session,
                who="vera",
                what="recipe.activate",
                subject=f"recipe:{number}",
                before=None if number == 0 else {"recipe_id": number - 1},
                after={
                    "recipe_id": number,
                    "thresholds": [0.1, 1e-9],
                    "keys": {3: "a number"},
                    "name": "Größe",
                },
                why="test",
            )

    database.write(act).result(10)


def _verified(home: Home) -> int | None:
    with Database.open(home) as database, database.read() as session:
        return verify_audit(session)


def test_a_whole_chain_is_whole(home: Home) -> None:
    assert _verified(home) is None
    with Database.open(home) as database:
        _fill(database)
    assert _verified(home) is None


def test_a_long_chain_is_followed_page_by_page(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "PAGE_ROWS", 4)
    _fill(database)
    seen: list[tuple[int, int]] = []
    with database.read() as session:
        chain = audit.check(session, lambda done, total: seen.append((done, total)))
        last = session.get_one(Audit, ROWS).sha256
    assert seen == [(4, ROWS), (ROWS, ROWS)]
    assert chain == audit.Chain(entries=ROWS, last_sha256=last)


def test_several_rows_of_one_act_are_chained(home: Home, database: Database) -> None:
    def act(session: Any) -> list[int | None]:
        return [audit.append(session, who="a", what="b.c", subject="d").seq for _ in range(3)]

    assert database.write(act).result(10) == [1, 2, 3]
    with database.read() as session:
        assert verify_audit(session) is None


@pytest.mark.parametrize(
    ("statement", "first_broken"),
    [
        pytest.param("UPDATE audit SET who = 'mallory' WHERE seq = 3", 3, id="who"),
        pytest.param("UPDATE audit SET at = '2020-01-01 00:00:00.000000' WHERE seq = 3", 3, id="when"),
        pytest.param("""UPDATE audit SET after = '{"recipe_id": 9}' WHERE seq = 1""", 1, id="after"),
        pytest.param("""UPDATE audit SET before = '{}' WHERE seq = 1""", 1, id="before"),
        pytest.param("UPDATE audit SET why = '' WHERE seq = 6", 6, id="why-of-the-last"),
        pytest.param("UPDATE audit SET at = 'noon' WHERE seq = 5", 5, id="a-time-that-is-none"),
        pytest.param("UPDATE audit SET before = '{' WHERE seq = 6", 6, id="text-that-is-no-json"),
        pytest.param("DELETE FROM audit WHERE seq = 4", 4, id="one-taken-out"),
        pytest.param("DELETE FROM audit WHERE seq = 1", 1, id="the-first-taken-out"),
        pytest.param(
            "UPDATE audit SET sha256 = substr(sha256, 2) || substr(sha256, 1, 1) WHERE seq = 2",
            2,
            id="its-hash",
        ),
        pytest.param(f"UPDATE audit SET previous_sha256 = '{'0' * 64}' WHERE seq = 5", 5, id="its-link"),
    ],
)
def test_an_edit_with_another_tool_breaks_the_chain_where_it_was(
    home: Home, statement: str, first_broken: int
) -> None:
    with Database.open(home) as database:
        _fill(database)
    other = sqlite.connect(str(home.database_path), isolation_level=None)
    for act in ("update", "delete"):
        other.execute(f"DROP TRIGGER audit_refuses_{act}")
    assert other.execute(statement).rowcount == 1
    other.close()
    assert _verified(home) == first_broken


def test_the_row_is_what_was_said(database: Database) -> None:
    _fill(database)
    with database.read() as session:
        row = session.get(Audit, 2)
        assert row is not None
        assert (row.who, row.what, row.subject, row.why) == ("vera", "recipe.activate", "recipe:1", "test")
        assert row.before == {"recipe_id": 0}
        assert row.after == {
            "recipe_id": 1,
            "thresholds": [0.1, 1e-9],
            "keys": {"3": "a number"},
            "name": "Größe",
        }


def test_numbers_that_json_does_not_have_are_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        database.write(
            lambda session: audit.append(session, who="a", what="b.c", subject="d", after={"x": float("nan")})
        ).result(10)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(_json)
def test_a_values_hash_survives_the_way_through_json(value: Any) -> None:
    plain, _ = canonical(value)
    assert sha256(plain) == sha256(value)


@given(st.dictionaries(st.text(), st.integers()))
def test_a_values_hash_does_not_know_its_order(value: dict[str, int]) -> None:
    assert sha256(dict(reversed(value.items()))) == sha256(value)
