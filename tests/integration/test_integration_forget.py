"""A bad part that was learned as good: found out, taken out, and not brought back."""

from pathlib import Path

import pytest
from sqlmodel import Session, col, select

from commands import Done, in_process, last_json, opened
from partgate.records import Audit, Finding, Part, Review, User, latest_recipe, recipes, verify_audit
from partgate_station import Verdict

pytestmark = pytest.mark.timeout(300)


def called_good_by_mistake(home: Path) -> str:
    """Record that QA found a rejected part good; its defect is drawn, so it is not."""
    with opened(home) as database:
        with database.read() as session:
            part = session.exec(select(Part).where(Part.verdict == Verdict.REJECT).limit(1)).one().id

        def decide(session: Session) -> None:
            user = User(name="qa", password_hash="unused")
            session.add(user)
            session.flush()
            session.add(Review(part_id=part, finding=Finding.GOOD, reviewer_id=user.id or 0))

        database.write(decide).result()
    return str(part)


def test_a_part_that_was_learned_by_mistake_is_traced_and_forgotten(
    copied_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str | Path) -> Done:
        return in_process(*arguments, home=copied_home, capsys=capsys)

    part = called_good_by_mistake(copied_home)
    before = last_json(run("models", "trace", "brick", "--part", part, "--json"))
    assert before["distance"] > before["within"]
    assert [one["duplicates"] for one in before["vouchers"]] == [0] * 5, "nobody has seen the defect"
    poisoned = last_json(run("retrain", "brick", "--json"))["model"]
    assert run("models", "activate", poisoned[:12]).returncode == 0

    # Why is this accepted? One learned image alone shows such a thing: the part itself.
    left, top, right, bottom = before["box"]
    at = f"{(left + right) / 2},{(top + bottom) / 2}"
    traced = last_json(run("models", "trace", "brick", "--part", part, "--at", at, "--json"))
    assert traced["box"] == before["box"]
    assert traced["vouchers"][0]["origin"] == f"part:{part}"
    assert [one["duplicates"] > 0 for one in traced["vouchers"]] == [True, False, False, False, False]
    assert traced["model"] == poisoned
    assert run("models", "trace", "brick", "--part", part, "--at", "9999,2").returncode == 78
    assert run("models", "trace", "brick", "--part", "nonsense").returncode == 78

    dry = last_json(run("models", "forget", "brick", "--part", part, "--dry-run", "--json"))
    assert dry["changed"] is False
    assert [one["image"] for one in dry["forgotten"]] == [f"part:{part}"]
    assert dry["forgotten"][0]["rows"] > 0
    told = run("models", "forget", "brick", "--part", "no-such-part", "--dry-run")
    assert told.returncode == 65
    assert "was not learned from no-such-part" in told.stderr
    assert run("models", "forget", "brick", "--part", part).returncode == 2, "it asks for a reason"

    done = last_json(
        run("models", "forget", "brick", "--part", part, "--reason", "a hole", "--by", "Vera", "--json")
    )
    assert done["changed"] is True
    shown = last_json(run("models", "show", done["model"][:12]))
    assert shown["parent"] == poisoned
    assert shown["active"] is False
    assert f"part:{part}" not in {source["origin"] for source in shown["manifest"]["good"]}
    assert shown["manifest"]["bank_rows"] == 2048
    with opened(copied_home) as database, database.read() as session:
        recipe = latest_recipe(session, done["model"])
        assert (recipe.reason, recipe.created_by.split()[0]) == ("a hole", "Vera")
        assert len({row.sha256 for row in recipes(session, "brick")}) == 3
        trail = session.exec(select(Audit).where(col(Audit.why) == "a hole")).one()
        assert trail.who.startswith("Vera (cli:")
        assert verify_audit(session) is None

    # The finding that made it good still stands; retraining does not go by it again.
    assert run("models", "activate", done["model"][:12]).returncode == 0
    again = run("retrain", "brick", "--json")
    assert again.returncode == 65
    assert "nothing new to learn" in again.stderr
