"""Who may log in is listed, and one who forgot the password gets a new one on the machine itself."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlmodel import Session, col, select

from commands import Done, in_process, opened
from partgate.records import Audit, Database, Home, LoginSession, User, utc_now, verify_audit
from partgate.review import Passwords

OLD, NEW = "a few words of mine", "other words of mine"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    old = Passwords().hash(OLD)

    def act(session: Session) -> None:
        mara = User(name="Mara", password_hash=old)
        session.add_all([mara, User(name="Ines [x]", password_hash=old, disabled_at=utc_now())])
        session.flush()
        session.add_all(LoginSession(token_sha256=str(n), user_id=mara.id or 0) for n in range(2))
        session.add(LoginSession(token_sha256="of another", user_id=99))

    place = Home.open(tmp_path / "line")
    with Database.open(place) as database:
        database.write(lambda session: session.add(User(id=99, name="Uwe", password_hash=old))).result(10)
        database.write(act).result(10)
    return place.path


@pytest.fixture
def reset(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    def run(*arguments: str, typed: bytes = NEW.encode() + b"\n") -> Done:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed), encoding="utf-8"))
        return in_process("people", "reset", *arguments, home=home, capsys=capsys)

    return run


def logs_in(home: Path, name: str, password: str) -> bool:
    with opened(home) as database, database.read() as session:
        user = session.exec(select(User).where(User.name == name)).one()
        return user.disabled_at is None and Passwords().check(password, user.password_hash).right


def logins(home: Path) -> list[str]:
    with opened(home) as database, database.read() as session:
        return list(session.exec(select(LoginSession.token_sha256)).all())


def trail(home: Path) -> list[Audit]:
    with opened(home) as database, database.read() as session:
        assert verify_audit(session) is None
        return list(session.exec(select(Audit).order_by(col(Audit.seq))).all())


def test_people_are_listed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(in_process("people", "list", "--json", home=home, capsys=capsys).stdout)
    assert [(row["name"], row["disabled_at"] is None) for row in rows] == [
        ("Ines [x]", False),
        ("Mara", True),
        ("Uwe", True),
    ]
    shown = in_process("people", "list", home=home, capsys=capsys).stdout
    assert "Ines [x]" in shown
    assert "hash" not in shown


def test_nobody_is_listed_before_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Database.open(Home.open(tmp_path / "new")).close()
    assert (
        "Nobody may log in yet" in in_process("people", "list", home=tmp_path / "new", capsys=capsys).stdout
    )


def test_a_new_password_counts_and_earlier_logins_end(home: Path, reset: Callable[..., Done]) -> None:
    assert logs_in(home, "Mara", OLD)
    done = reset("Mara", "--reason", "on leave")
    assert done.returncode == 0
    assert NEW not in done.stdout + done.stderr
    assert (logs_in(home, "Mara", OLD), logs_in(home, "Mara", NEW)) == (False, True)
    assert logins(home) == ["of another"]
    (act,) = trail(home)
    assert (act.what, act.why, act.who.startswith("cli:")) == ("user.reset", "on leave", True)
    assert act.after == {"name": "Mara", "disabled": False}


def test_who_was_disabled_is_let_in_again_on_request_alone(home: Path, reset: Callable[..., Done]) -> None:
    refused = reset("Ines [x]")
    assert refused.returncode == 2
    assert "--enable" in refused.stderr
    assert not trail(home)
    assert reset("Ines [x]", "--enable").returncode == 0
    assert logs_in(home, "Ines [x]", NEW)
    (act,) = trail(home)
    assert act.before == {"name": "Ines [x]", "disabled": True}


@pytest.mark.parametrize(
    ("name", "typed", "code", "says"),
    [
        pytest.param("Nobody", NEW.encode(), 66, "nobody is called 'Nobody'", id="unknown"),
        pytest.param("Mara", b"short\n", 65, "8 to 128 characters", id="short"),
        pytest.param("Mara", b"", 65, "this one has 0", id="nothing"),
        pytest.param("Mara", b"\xff\xfe\xfd words of mine\n", 65, "not text in UTF-8", id="no text"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(
    name: str, typed: bytes, code: int, says: str, home: Path, reset: Callable[..., Done]
) -> None:
    done = reset(name, typed=typed)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert logs_in(home, "Mara", OLD)
    assert len(logins(home)) == 3
    assert not trail(home)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("again", "code"), [(NEW, 0), ("another", 65)])
def test_a_person_at_a_terminal_is_asked_twice(
    again: str, code: int, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers, asked = [NEW, again], list[str]()

    def answer(question: str) -> str:
        asked.append(question)
        return answers.pop(0)

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", answer)
    done = in_process("people", "reset", "Mara", home=home, capsys=capsys)
    assert done.returncode == code
    assert asked == ["New password of Mara: ", "The same again: "]
    assert logs_in(home, "Mara", NEW if code == 0 else OLD)
