"""The home's own key, and the signers that are trusted here."""

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from partgate.records import Audit, Database, Home, Keys, verify_audit
from partgate_engines import KeyRefused, Signer
from partgate_station import CannotWrite, ConfigError, MissingInput
from unreadable import unreadable


@pytest.fixture
def opened(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "a-home")


@pytest.fixture
def database(opened: Home) -> Iterator[Database]:
    with contextlib.closing(Database.open(opened)) as database:
        yield database


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    path = tmp_path / "lab.pub"
    path.write_bytes(Signer.new(name="lab").public.pem())
    return path


def trust(opened: Home, database: Database, path: Path, name: str = "lab") -> None:
    database.write(lambda session: Keys(opened).trust(session, path, name=name, by="test")).result(10)


def revoke(opened: Home, database: Database, name: str) -> None:
    database.write(lambda session: Keys(opened).revoke(session, name, by="test", reason="lost")).result(10)


def test_a_home_makes_one_key_and_trusts_it(opened: Home) -> None:
    keys = Keys(opened)
    assert keys.known() == []
    signer = keys.signer()
    assert Keys(opened).signer() == signer
    (own,) = keys.known()
    assert own.is_own
    assert own.name == signer.name == f"home-{signer.public.fingerprint[:8]}"
    assert keys.trusted().keys == {signer.name: signer.public}


def test_the_signing_key_is_its_owners_alone(opened: Home) -> None:
    Keys(opened).signer()
    path = opened.keys_path / "signing.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with pytest.raises(KeyRefused, match=r"its mode is 0640.*chmod 600"):
        Keys(opened).signer()


def test_a_damaged_signing_key_is_named_and_kept(opened: Home) -> None:
    Keys(opened).signer()
    path = opened.keys_path / "signing.pem"
    path.write_text("hello")
    with pytest.raises(KeyRefused, match=r"signing\.pem: not a signing key"):
        Keys(opened).signer()
    assert path.read_text() == "hello"


@pytest.mark.parametrize(
    ("where", "named"),
    [
        (".", "trusted"),
        ("trusted", "trusted"),
        ("signing.pem", r"signing\.pem"),
    ],
)
def test_keys_that_may_not_be_read_are_not_taken_for_none(where: str, named: str, opened: Home) -> None:
    Keys(opened).signer()
    with (
        unreadable(opened.keys_path / where),
        pytest.raises(KeyRefused, match=rf"keys/{named}: cannot be read \(Permission denied\)") as refused,
    ):
        Keys(opened).trusted()
    assert refused.value.exit_code == 65
    assert len(Keys(opened).known()) == 1


def test_a_folder_of_keys_that_may_not_be_entered_has_no_key_made_in_it(opened: Home) -> None:
    Keys(opened).signer()
    with unreadable(opened.keys_path), pytest.raises(KeyRefused, match=r"signing\.pem: cannot be read"):
        Keys(opened).signer()


def test_a_key_that_cannot_be_made_is_an_error_with_a_sentence(opened: Home) -> None:
    opened.keys_path.write_text("a file")
    with pytest.raises(CannotWrite, match="cannot be written"):
        Keys(opened).signer()


def test_trusting_and_revoking_are_audited(opened: Home, database: Database, stranger: Path) -> None:
    Keys(opened).signer()
    trust(opened, database, stranger)
    assert [(key.name, key.is_own) for key in Keys(opened).known()][1] == ("lab", False)
    revoke(opened, database, "lab")
    assert [key.is_own for key in Keys(opened).known()] == [True]
    with database.read() as session:
        rows = session.exec(select(Audit)).all()
        assert [(row.what, row.subject, row.why) for row in rows] == [
            ("key.trust", "key:lab", ""), ("key.revoke", "key:lab", "lost"),
        ]  # fmt: skip
        assert verify_audit(session) is None


def test_what_cannot_be_trusted_changes_nothing(
    opened: Home, database: Database, stranger: Path, tmp_path: Path
) -> None:
    trust(opened, database, stranger)
    other = tmp_path / "other.pub"
    other.write_bytes(Signer.new(name="other").public.pem())
    text = tmp_path / "text.pub"
    text.write_text("hello")
    with pytest.raises(KeyRefused, match="trusted already, as 'lab'"):
        trust(opened, database, stranger, name="again")
    with pytest.raises(KeyRefused, match="partgate keys revoke lab"):
        trust(opened, database, other)
    with pytest.raises(KeyRefused, match=r"text\.pub: not a public key"):
        trust(opened, database, text, name="text")
    with pytest.raises(MissingInput, match="no such file"):
        trust(opened, database, tmp_path / "none.pub", name="none")
    with pytest.raises(ConfigError, match=r"signer: got '\.\./x'"):
        trust(opened, database, other, name="../x")
    assert [key.name for key in Keys(opened).known()] == ["lab"]
    with database.read() as session:
        assert len(session.exec(select(Audit)).all()) == 1


def test_revoking_the_own_key_begins_a_new_one(opened: Home, database: Database) -> None:
    first = Keys(opened).signer()
    revoke(opened, database, first.name)
    assert Keys(opened).trusted().keys == {}
    second = Keys(opened).signer()
    assert second != first
    assert list(Keys(opened).trusted().keys) == [second.name]


def test_revoking_nobody_names_who_is_trusted(opened: Home, database: Database, stranger: Path) -> None:
    trust(opened, database, stranger)
    with pytest.raises(MissingInput, match=r"'nobody' is not trusted in .*; trusted: lab"):
        revoke(opened, database, "nobody")


def test_a_file_among_the_trusted_that_is_no_key_is_named(opened: Home) -> None:
    Keys(opened).signer()
    (opened.keys_path / "trusted" / "odd.pub").write_text("hello")
    with pytest.raises(KeyRefused, match=r"odd\.pub: not a public key"):
        Keys(opened).trusted()
