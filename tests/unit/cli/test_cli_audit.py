"""`partgate audit` shows the trail, and says whether it is as it was written."""

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import Session

from commands import in_process, opened
from partgate.records import Database, Home, audit

ACTS = [
    ("recipe.activate", "product:brick"),
    ("part.suspect", "station:one"),
    ("recipe.threshold", "product:tile"),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = Home.open(tmp_path / "line")
    with contextlib.closing(Database.open(place)) as database:
        for number, (what, subject) in enumerate(ACTS):

            def add(session, what=what, subject=subject, number=number):  # type: ignore[no-untyped-def]
                audit.append(
                    session, who="cli:vera", what=what, subject=subject, after={}, why=f"reason {number}"
                )

            database.write(add).result(timeout=10)
    return place.path


def test_the_newest_entries_come_first(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = in_process("audit", home=home, capsys=capsys)
    assert done.returncode == 0
    shown = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [(row[0], row[3], row[4]) for row in shown] == [
        ("3", "recipe.threshold", "product:tile"),
        ("2", "part.suspect", "station:one"),
        ("1", "recipe.activate", "product:brick"),
    ]
    assert "reason 2" in done.stdout


@pytest.mark.parametrize(
    ("choice", "entries"),
    [
        (["--limit", "2"], [3, 2]),
        (["--what", "recipe"], [3, 1]),
        (["--what", "recipe.activate"], [1]),
        (["--subject", "product:tile"], [3]),
        (["--subject", "product"], [3, 1]),
        (["--subject", "nothing"], []),
    ],
)
def test_entries_are_chosen_by_act_and_subject(
    home: Path, choice: list[str], entries: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    done = in_process("audit", "--json", *choice, home=home, capsys=capsys)
    assert [row["entry"] for row in json.loads(done.stdout)] == entries


def test_a_whole_chain_is_said_with_its_last_hash(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(in_process("audit", "--verify", "--json", home=home, capsys=capsys).stdout)
    assert (told["whole"], told["entries"], told["first_broken"]) == (True, 3, None)
    done = in_process("audit", "--verify", home=home, capsys=capsys)
    assert done.stdout == f"3 entries, chain whole, last hash {told['last_sha256']}\n"


def change(home: Path, statement: str) -> None:
    """Change the trail with another tool."""
    with contextlib.closing(sqlite3.connect(home / "partgate.db")) as foreign:
        for (name,) in foreign.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            foreign.execute(f'DROP TRIGGER "{name}"')
        assert foreign.execute(statement).rowcount == 1
        foreign.commit()


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        pytest.param(
            "UPDATE audit SET why = 'another' WHERE seq = 2", "2 is not as it was written", id="why"
        ),
        pytest.param("DELETE FROM audit WHERE seq = 2", "entry 2 is missing", id="taken out"),
        pytest.param(
            "UPDATE audit SET at = 'noon' WHERE seq = 2", "2 is not as it was written", id="no time"
        ),
        pytest.param(
            "UPDATE audit SET after = '{' WHERE seq = 2", "2 is not as it was written", id="no JSON"
        ),
        pytest.param("UPDATE audit SET who = x'ff' WHERE seq = 2", "2 is not as it was written", id="bytes"),
    ],
)
def test_an_entry_that_was_changed_is_named(
    home: Path, statement: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(home, statement)
    done = in_process("audit", "--verify", home=home, capsys=capsys)
    assert done.returncode == 65
    assert "CHAIN BROKEN: entry" in done.stdout
    assert says in done.stdout
    told = in_process("audit", "--verify", "--json", home=home, capsys=capsys)
    assert (told.returncode, json.loads(told.stdout)["first_broken"]) == (65, 2)


def test_a_trail_that_cannot_be_read_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(home, "UPDATE audit SET after = '{' WHERE seq = 2")
    done = in_process("audit", home=home, capsys=capsys)
    assert done.returncode == 65
    assert "`partgate audit --verify` names it" in done.stderr


def test_a_reason_is_shown_as_it_was_given(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(home) as database:
        reason = "see [/ticket] and [red]"
        database.write(
            lambda session: audit.append(session, who="a", what="b.c", subject="d", why=reason)
        ).result(timeout=10)
    assert reason in in_process("audit", home=home, capsys=capsys).stdout


def test_the_chain_is_followed_while_a_station_writes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(home) as database, begun(database):
        done = in_process("audit", "--verify", home=home, capsys=capsys)
        assert done.stdout.startswith("3 entries, chain whole")
    assert in_process("audit", "--verify", home=home, capsys=capsys).stdout.startswith("4 entries")


@contextlib.contextmanager
def begun(database: Database) -> Iterator[None]:
    """Hold a transaction that writes the trail open."""
    inside, go_on = threading.Event(), threading.Event()

    def act(session: Session) -> None:
        audit.append(session, who="a", what="b.c", subject="d")
        inside.set()
        assert go_on.wait(30)

    written = database.write(act)
    assert inside.wait(10)
    try:
        yield
    finally:
        go_on.set()
        written.result(timeout=10)


@pytest.mark.parametrize("wrong", [["--limit", "1", "--all"], ["--verify", "--limit", "1"]])
def test_choices_that_do_not_go_together_are_refused(
    home: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_process("audit", *wrong, home=home, capsys=capsys).returncode == 2
