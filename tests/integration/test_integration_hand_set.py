"""Thresholds that a person had set, when the model gets another bank: a budget stays, numbers are told."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from commands import Done, in_process, last_json, opened, review_rejected
from partgate.records import Audit, Finding, latest_recipe, verify_audit

pytestmark = pytest.mark.timeout(300)


def manifest_of(run: Any, model: str) -> dict[str, Any]:
    found: dict[str, Any] = last_json(run("models", "show", model[:12]))["manifest"]
    return found


def test_numbers_do_not_carry_over_and_a_budget_does(
    copied_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str | Path) -> Done:
        return in_process(*arguments, home=copied_home, capsys=capsys)

    joined, *_ = review_rejected(copied_home, [Finding.GOOD, Finding.DEFECTIVE, Finding.DEFECTIVE])
    part = str(joined.id)
    learned = last_json(run("recipe", "show", "brick", "--json"))
    scores = sorted(last_json(run("models", "show", learned["model"]))["manifest"]["calibration"]["scores"])
    review = scores[-3] - 1e-3  # some of the good parts held out lie above it
    told = run("recipe", "threshold", "brick", "--review", str(review), "--reason", "lot 7", "--by", "Vera")
    assert told.returncode == 0, told.stderr

    # Numbers: told, not kept; and the command that sets them so again does.
    made = last_json(run("retrain", "brick", "--json"))
    held, place = made["hand_set"], made["hand_set"]["places"]["review"]
    assert (held["by"].split()[0], held["reason"], held["budget"]) == ("Vera", "lot 7", None)
    assert (held["review"], "reject" in held, held["same_parts"]) == (review, False, True)
    assert 1 <= place["above"] == place["above_now"] <= 3
    assert place["of"] == held["parts"] <= 40
    assert made["thresholds"]["before"]["review"] == review
    assert made["thresholds"]["after"] == made["calibration"]["thresholds"]
    assert made["added"][0]["image"] == f"part:{part}"
    with opened(copied_home) as database, database.read() as session:
        assert "set by Vera" in latest_recipe(session, made["model"]).reason
        trail = session.exec(select(Audit).where(Audit.what == "recipe.recalibrate")).one()
        assert (trail.before or {})["review"] == review
        assert verify_audit(session) is None
    page = Path(made["page"]).read_text(encoding="utf-8")
    assert "Set by hand and not carried over" in page

    # Changed once more before the candidate comes into force: that is said, and wants a reason.
    later = ("recipe", "threshold", "brick", "--review", str(review + 1e-3), "--reason", "lot 8")
    assert run(*later, "--by", "Vera").returncode == 0
    refused = run("models", "activate", made["model"][:12])
    assert refused.returncode == 2
    assert "thresholds set since, review" in " ".join(refused.stderr.replace("│", "").split())
    assert run("models", "rollback", "brick").returncode == 0
    assert len(re.findall(r'src="data:image/jpeg', page)) >= 2 * (1 + 6 + 2)
    for words in ("Came in", f"part:{part}", "Before, by the model it was made from", "reviewed: defective"):
        assert words in page
    assert run("models", "activate", made["model"][:12]).returncode == 0
    command = shlex.split(made["again"])
    assert command[:4] == ["partgate", "recipe", "threshold", "brick"]
    again = last_json(run(*command[1:], "--json"))
    assert again["after"]["thresholds"]["review"] == pytest.approx(place["now"])
    assert again["after"]["thresholds"]["reject"] == made["thresholds"]["after"]["reject"]

    # A budget: kept, and the thresholds are the model's own again.
    assert run("recipe", "threshold", "brick", "--false-rejects", "1/10", "--confidence", "0.9",
               "--reason", "a trial").returncode == 0  # fmt: skip
    gone = last_json(run("models", "forget", "brick", "--part", part, "--reason", "a hole", "--json"))
    assert gone["hand_set"]["budget"]["reject_one_in"] == 10
    assert gone["again"] is None
    assert gone["forgotten"][0]["verdict"] in ("REVIEW", "REJECT"), "the defect is seen again"
    card = manifest_of(run, gone["model"])["calibration"]["card"]
    assert (card["reject"]["one_in"], card["confidence"]) == (10, 0.9)
    page = Path(gone["page"]).read_text(encoding="utf-8")
    assert "Taken out" in page
    assert "The budget of cli:" in page
    assert run("models", "activate", gone["model"][:12]).returncode == 0
    shown = last_json(run("recipe", "show", "brick", "--json"))
    assert shown["thresholds"] == gone["thresholds"]
    assert "calibrated anew for the budget" in shown["versions"][0]["reason"]
