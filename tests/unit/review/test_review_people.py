import io
from typing import Any

import pytest
from sqlmodel import col, select

from commands import in_process
from partgate.records import Audit, User

WORDS = "other words of mine"


def _add(visitor: Any, name: str, password: str = WORDS, again: str | None = None) -> Any:
    return visitor.post(
        "/people", {"name": name, "password": password, "again": again or password}, form="/people"
    )


def _id_of(line: Any, name: str) -> int:
    found: int = line.read(lambda session: session.exec(select(User.id).where(User.name == name)).one())
    return found


def _acts(line: Any) -> list[tuple[str, str]]:
    query = select(Audit).where(col(Audit.what).startswith("user.")).order_by(col(Audit.seq))
    return [(row.who, row.what) for row in line.read(lambda session: session.exec(query).all())]


def test_a_person_who_was_added_can_log_in_and_review(reviewer: Any, line: Any) -> None:
    assert _add(reviewer, "Ines").status_code == 303
    assert "Ines" in reviewer.get("/people").text
    reviewer.client.cookies.clear()
    assert reviewer.log_in("Ines", WORDS).status_code == 303
    part = line.part()
    reviewer.decide(part, "GOOD")
    assert "<bdi>Ines</bdi>" in reviewer.get(f"/parts/{part}").text
    assert _acts(line) == [("Mara", "user.create"), ("Mara", "user.create")]


@pytest.mark.parametrize(
    ("name", "password", "again", "problem"),
    [
        pytest.param("Mara", WORDS, WORDS, "has or had this name", id="taken"),
        pytest.param("Ines", "short", "short", "8 to 128", id="too short"),
        pytest.param("Ines", WORDS, "different words", "differ", id="not the same"),
    ],
)
def test_adding_is_refused_with_the_reason(
    name: str, password: str, again: str, problem: str, reviewer: Any, line: Any
) -> None:
    answer = _add(reviewer, name, password, again)
    assert answer.status_code == 422
    assert problem in answer.text
    assert len(line.read(lambda session: session.exec(select(User)).all())) == 1


def test_a_disabled_person_is_out_at_once_and_what_they_decided_stays(reviewer: Any, line: Any) -> None:
    _add(reviewer, "Ines")
    part = line.part()
    mara = dict(reviewer.client.cookies)
    reviewer.client.cookies.clear()
    reviewer.log_in("Ines", WORDS)
    reviewer.decide(part, "DEFECTIVE")
    ines = dict(reviewer.client.cookies)
    reviewer.client.cookies.clear()
    reviewer.client.cookies.update(mara)
    path = f"/people/{_id_of(line, 'Ines')}/disable"
    assert [reviewer.post(path, {}, form="/people").status_code for _ in range(2)] == [303, 303]
    assert "<bdi>Ines</bdi>" in reviewer.get(f"/parts/{part}").text
    assert _acts(line)[-1] == ("Mara", "user.disable")
    assert len(_acts(line)) == 3, "disabling twice is one act"
    reviewer.client.cookies.clear()
    reviewer.client.cookies.update(ines)
    assert reviewer.get("/").status_code == 303
    assert reviewer.log_in("Ines", WORDS).status_code == 401


def test_nobody_disables_themselves(reviewer: Any, line: Any) -> None:
    answer = reviewer.post(f"/people/{_id_of(line, 'Mara')}/disable", {}, form="/people")
    assert answer.status_code == 409
    assert reviewer.get("/").status_code == 200


@pytest.mark.parametrize(
    ("user_id", "status"), [("999", 404), ("0", 422), ("-1", 422), ("9223372036854775808", 422)]
)
def test_people_who_are_not_there(user_id: str, status: int, reviewer: Any) -> None:
    assert reviewer.post(f"/people/{user_id}/disable", {}, form="/people").status_code == status


def test_a_new_password_from_the_command_line_counts_on_a_site_that_runs(
    reviewer: Any, line: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reviewer.get("/").status_code == 200
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{WORDS}\n"))
    assert in_process("people", "reset", "Mara", home=line.home.path, capsys=capsys).returncode == 0
    assert reviewer.get("/").headers["location"].startswith("/login")
    assert reviewer.log_in("Mara").status_code == 401
    assert reviewer.log_in("Mara", WORDS).status_code == 303
