"""Whose bundles may judge parts: listed, trusted and revoked on the command line."""

import json
from pathlib import Path

import pytest

from commands import in_process, opened
from partgate.records import Audit, Database, Home, Keys
from partgate_engines import Signer


@pytest.fixture
def known_home(tmp_path: Path) -> Path:
    home = Home.open(tmp_path / "known")
    Database.open(home).close()
    Keys(home).signer()
    return home.path


def listed(home: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    done = in_process("keys", "list", "--json", home=home, capsys=capsys)
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def test_a_signer_is_trusted_listed_and_revoked(
    known_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = Signer.new(name="lab")
    (tmp_path / "lab.pub").write_bytes(lab.public.pem())
    (own,) = listed(known_home, capsys)
    assert own["own"] is True
    assert Path(str(own["file"])).read_bytes().startswith(b"-----BEGIN PUBLIC KEY-----")
    assert in_process("keys", "trust", tmp_path / "lab.pub", home=known_home, capsys=capsys).returncode == 0
    by_name = {row["name"]: row for row in listed(known_home, capsys)}
    assert by_name["lab"]["key"] == lab.public.fingerprint
    assert by_name["lab"]["own"] is False
    shown = in_process("keys", "list", home=known_home, capsys=capsys).stdout
    assert lab.public.fingerprint[:12] in shown
    done = in_process("keys", "revoke", "lab", "--reason", "lost", home=known_home, capsys=capsys)
    assert done.returncode == 0
    assert listed(known_home, capsys) == [own]
    with opened(known_home) as database, database.read() as session:
        acts = [session.get_one(Audit, seq) for seq in (1, 2)]
        assert [act.what for act in acts] == ["key.trust", "key.revoke"]
        assert all(act.who.startswith("cli:") for act in acts)


def test_a_name_may_be_given(known_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Key From Mail.pub").write_bytes(Signer.new(name="x").public.pem())
    path = tmp_path / "Key From Mail.pub"
    refused = in_process("keys", "trust", path, home=known_home, capsys=capsys)
    assert refused.returncode == 78
    done = in_process("keys", "trust", path, "--name", "trainer-3", home=known_home, capsys=capsys)
    assert done.returncode == 0
    assert "trainer-3" in {row["name"] for row in listed(known_home, capsys)}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        pytest.param(["trust", "{folder}/none.pub"], 66, "no such file", id="missing"),
        pytest.param(["trust", "{folder}/text.pub"], 65, "not a public key", id="text"),
        pytest.param(["revoke", "nobody"], 66, "'nobody' is not trusted", id="unknown"),
    ],
)
def test_a_mistake_gets_a_sentence(
    arguments: list[str],
    code: int,
    says: str,
    known_home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.pub").write_text("hello")
    filled = [argument.format(folder=tmp_path) for argument in arguments]
    done = in_process("keys", *filled, home=known_home, capsys=capsys)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_revoking_the_own_key_says_what_follows(known_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own,) = listed(known_home, capsys)
    done = in_process("keys", "revoke", str(own["name"]), home=known_home, capsys=capsys)
    assert "makes a new one" in done.stdout
    assert listed(known_home, capsys) == []
    assert "No signer is trusted yet" in in_process("keys", "list", home=known_home, capsys=capsys).stdout
