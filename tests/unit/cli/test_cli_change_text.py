"""What a candidate changes, in words a person can act on."""

import shlex
from typing import Any

from partgate.cli._change_text import (
    activate_command,
    again_command,
    came_text,
    change_warnings,
    counts_of,
    disarms,
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
    assert lost == "part:7 was said to be good and is not learned: likeness 0.09"
    assert vain.startswith("a.png would still be accepted")
    assert list(warnings_of(told)) == [lost, vain, "few parts"]


def reviewed(*, before: set[int], after: set[int], finding: str = "DEFECTIVE") -> dict[str, Any]:
    """Return five reviewed frames, of which those of these triggers are flagged before and after."""
    frames = [
        {"part": f"p{n}", "station": "one", "trigger": n, "finding": finding,
         "before": 11.0 if n in before else 9.0, "after": 11.0 if n in after else 9.0}
        for n in range(1, 6)
    ]  # fmt: skip
    return {"reviewed": {"scores": frames}}


ALL = {1, 2, 3, 4, 5}


def test_a_candidate_that_lets_defects_through_says_so_first() -> None:
    told = list(warnings_of(report() | reviewed(before=ALL, after={1, 2, 4})))
    named = "trigger 3 of one (9, part:p3), trigger 5 of one (9, part:p5)"
    lost = f"2 of 5 images found defective in review would no longer be flagged: {named}"
    assert told == [lost, "few parts"]
    assert list(disarms(report() | reviewed(before={1, 2}, after={1, 2}))) == []
    assert list(disarms(report() | reviewed(before={1, 2}, after=ALL))) == []
    assert list(disarms(report() | reviewed(before=ALL, after=set(), finding="GOOD"))) == []


def test_a_defect_found_makes_up_for_none_that_is_lost() -> None:
    (told,) = disarms(report() | reviewed(before={1, 2}, after={2, 3}))
    assert told.startswith("1 of 5 images found defective in review would no longer be flagged: trigger 1 of")
    unlocated = reviewed(before={1}, after={1})
    unlocated["reviewed"]["scores"][0]["after"] = None
    assert list(disarms(report() | unlocated)) == [], "what is not located is not let through"
    older = reviewed(before={1}, after=set())
    older["reviewed"]["scores"] = [{"part": "p1", "finding": "DEFECTIVE", "before": 11.0, "after": 9.0}]
    (told,) = disarms(report() | older)
    assert told.endswith("flagged: part:p1 (9)")


def test_defects_that_were_given_in_learning_count_as_those_of_review_do() -> None:
    scores = [
        {"image": "defective/hole.png", "before": 11.0, "after": 9.25},
        {"image": "defective/scratch.png", "before": 9.0, "after": 12.0},
    ]
    given = {"known_defects": {"images": 2, "flagged_before": 1, "flagged_after": 1, "scores": scores}}
    (told,) = disarms(report() | given)
    assert told == "1 of 2 images given as defective would no longer be flagged: defective/hole.png (9.25)"
    assert list(counts_of(given)) == [("given as defective", 2, 1, 1)]


def test_a_threshold_that_rises_several_times_over_is_doubted() -> None:
    limits = {"before": {"review": 25.75, "reject": 26.6}, "after": {"review": 75.27, "reject": 136.5}}
    doubted = report() | {"thresholds": limits}
    (told,) = disarms(doubted)
    assert activate_command("3f2a9c" * 10, doubted).endswith(" 3f2a9c3f2a9c --reason TEXT")
    assert activate_command("3f2a9c" * 10, report()).endswith(" 3f2a9c3f2a9c")
    assert told.startswith("the review threshold rises from 25.75 to 75.27: ")
    assert (
        list(disarms(report() | {"thresholds": limits | {"after": {"review": 51.0, "reject": 60.0}}})) == []
    )
    assert list(disarms({"calibration": {}})) == [], "a model that was learned changes nothing"


def odd(number: int) -> dict[str, Any]:
    return {"image": f"part:{number}", "station": "one", "trigger": number, "score": 50.0, "limit": 27.04}


def test_parts_unlike_the_others_are_named_after_what_disarms() -> None:
    one = report() | reviewed(before=ALL, after={1, 2, 4}) | {"odd": [odd(7)], "added": [{}, {}]}
    disarming, told, _ = warnings_of(one)
    assert disarming.startswith("2 of 5 images found defective")
    assert told.startswith("1 image said to be good, of 2, would score above 27.04, farther")
    assert "reach: trigger 7 of one (50, part:7). Look at them again" in told
    many = report() | {"odd": [odd(number) for number in range(20)], "added": [{}] * 20}
    (told,) = change_warnings(many)
    assert "trigger 7 of one" in told
    assert "trigger 8 of one" not in told
    assert "and 12 more" in told


def test_images_that_were_given_are_counted_and_those_not_learned_named() -> None:
    parts = {"added_parts": ["a", "b"]}
    misfit = "lot/4.png: the frame is 9×9"
    given = {"learned": 1, "known": 2, "forgotten": ["lot/3.png"], "left_out": [misfit]}
    assert list(came_text(parts)) == ["2 overturned parts"]
    assert list(came_text(parts | {"given": given})) == ["2 overturned parts", "1 image given"]
    assert list(came_text({"added_parts": [], "given": given | {"learned": 3}})) == ["3 images given"]
    known, forgotten, left_out = change_warnings(report() | {"given": given})
    assert known == "2 images of those given are known already, or came twice: they bring nothing"
    assert forgotten.startswith("lot/3.png is not learned: `partgate models forget` took it out")
    assert left_out == f"left out: {misfit}"
    odd_file = odd(7) | {"image": "lot/9.png", "station": None, "trigger": None}
    told, *_ = change_warnings(report() | {"given": given, "odd": [odd_file], "added": [{}]})
    assert "reach: lot/9.png (50). Look" in told
    assert "take it out of the folder" in told
