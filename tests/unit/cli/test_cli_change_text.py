"""What a candidate changes, in words a person can act on."""

import shlex
from typing import Any

from partgate.cli._change_text import (
    again_command,
    change_warnings,
    hand_set_text,
    thresholds_line,
    warnings_of,
)


def place(was: float, now: float, above: int) -> dict[str, Any]:
    return {
        "was": was,
        "now": now,
        "above": above,
        "above_now": above,
        "of": 100,
        "quantile": 1 - above / 100,
    }


def report(**hand_set: Any) -> dict[str, Any]:
    held = {"by": "Vera (cli:qa)", "reason": "Otto's lot; 7", "recipe_version": 4, "budget": None,
            "parts": 100, "same_parts": True}  # fmt: skip
    return {
        "thresholds": {"before": {"review": 10.0, "reject": 21.5}, "after": {"review": 9.5, "reject": 30.0}},
        "calibration": {"warnings": ["few parts"]},
        "hand_set": held | hand_set if hand_set else None,
    }


def test_nothing_is_said_where_nobody_had_set_anything() -> None:
    assert list(hand_set_text(report())) == []
    assert again_command("tile", report()) is None
    assert thresholds_line(report()).startswith("Review 10 -> 9.5, reject 21.5 -> 30:")


def test_numbers_are_told_with_who_why_and_where_they_stood() -> None:
    told = report(reject=21.5, places={"reject": place(21.5, 20.87, 3)})
    first, second = hand_set_text(told)
    assert "reject 21.5, by Vera (cli:qa) (version 4: Otto's lot; 7)" in first
    assert "100 good parts that both models know" in first
    assert second == "  reject 21.5: 3 of 100 at or above it, the 97 % quantile; 20.87 stands there now"
    above = report(reject=60.0, places={"reject": place(60.0, 58.0, 0)})
    assert "60: above all 100; 58 stands there now" in list(hand_set_text(above))[1]


def test_the_command_survives_a_shell_whatever_the_reason_was() -> None:
    both = {"review": place(12.0, 11.25, 9), "reject": place(21.5, 20.87, 3)}
    command = again_command("tile", report(review=12.0, reject=21.5, places=both))
    assert command is not None
    assert shlex.split(command) == [
        "partgate", "recipe", "threshold", "tile", "--review", "11.25", "--reject", "20.87", "--reason",
        "where Vera (cli:qa) had set it: Otto's lot; 7",
    ]  # fmt: skip


def test_a_budget_is_kept_and_needs_no_command() -> None:
    kept = report(budget={"reject_one_in": 500, "review_one_in": 50, "confidence": 0.95})
    (line,) = hand_set_text(kept)
    assert "is kept: at most 1/500 of the good parts rejected and 1/50 flagged, 95 % confidence" in line
    assert again_command("tile", kept) is None


def test_what_could_not_come_and_what_went_in_vain_is_warned_of() -> None:
    told = report() | {
        "not_located": [{"image": "part:7", "why": "likeness 0.09"}],
        "forgotten": [{"image": "a.png", "verdict": "ACCEPT"}, {"image": "b.png", "verdict": "REJECT"}],
    }
    lost, vain = change_warnings(told)
    assert lost == "part:7 was found good and is not learned: likeness 0.09"
    assert vain.startswith("a.png would still be accepted")
    assert list(warnings_of(told)) == [lost, vain, "few parts"]
