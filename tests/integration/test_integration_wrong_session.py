"""Defects that a session of reviews called good: told of, and not in force without a word."""

import json
from html import unescape
from pathlib import Path

import pytest

from commands import Done, in_process, opened, review_rejected
from partgate.records import Finding, active

pytestmark = pytest.mark.timeout(300)


def test_a_wrong_session_of_reviews_is_told_of_before_it_counts(
    copied_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str | Path) -> Done:
        return in_process(*arguments, home=copied_home, capsys=capsys)

    parts = review_rejected(copied_home, [Finding.GOOD] * 7 + [Finding.DEFECTIVE] * 3)
    told = run("retrain", "brick").stdout
    lost, rises, odd, *_ = told.splitlines()
    assert lost.startswith("Warning: 3 of 3 images found defective in review would no longer be flagged: ")
    assert all(f"trigger {part.trigger_id} of virtual" in lost for part in parts[7:])
    assert rises.startswith("Warning: the review threshold rises from ")
    assert all(f"trigger {part.trigger_id} of virtual" in odd for part in parts[:7])
    assert not any(str(part.id) in odd for part in parts[7:])
    page = Path(told.rsplit("with pictures: ", 1)[1].strip()).read_text(encoding="utf-8")
    first, _ = page.split("<h2>What changed</h2>")
    assert all(warning.removeprefix("Warning: ") in unescape(first) for warning in (lost, rises, odd))

    model = json.loads(run("models", "list", "--json").stdout)[0]["model"]
    refused = run("models", "activate", model[:12], "--reason", " ")
    assert refused.returncode == 2
    assert "3 of 3 images found defective" in " ".join(refused.stderr.replace("│", " ").split())
    assert f"partgate models activate {model[:12]} --reason TEXT" in told
    with opened(copied_home) as database, database.read() as session:
        assert getattr(active(session, "brick"), "model_id", None) != model
    done = run("models", "activate", model[:12], "--reason", "another lot")
    assert done.returncode == 0
    assert done.stdout.startswith(lost)
