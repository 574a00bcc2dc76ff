"""Which kind was chosen and from what, in the terminal and on the page."""

from typing import Any

import pytest

from partgate.cli._kind_text import kind_table, print_kind

TRIAL: dict[str, Any] = {
    "kind": "drawn",
    "compared_with": "patchcore",
    "families": [
        {"family": "lines", "auroc": 0.857, "taught": 0.918, "untaught": 0.821},
        {"family": "zones", "auroc": 0.727, "taught": 0.859, "untaught": 0.694},
    ],
    "taught_gain": 0.0967,
    "taught_error": 0.018,
    "untaught_gain": -0.0345,
    "untaught_error": 0.015,
    "is_better": True,
    "needs_parts": None,
    "taken": True,
    "good_images": 24,
    "drawn_defects": 144,
}


@pytest.mark.parametrize(
    ("change", "said", "cost"),
    [
        pytest.param({}, "Chosen: drawn gains +9.7 ± 1.8 on defects that it was taught", True, id="taken"),
        pytest.param(
            {"taken": False, "needs_parts": 100}, "from fewer than 100 good parts", False, id="too few parts"
        ),
        pytest.param(
            {"taken": False, "is_better": False}, "patchcore stays: drawn gains", False, id="no better"
        ),
    ],
)
def test_the_terminal_says_which_kind_and_why(
    change: dict[str, Any], said: str, cost: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    print_kind(TRIAL | change)
    shown = capsys.readouterr().out
    assert said in shown
    assert "-3.5 ± 1.5 on those it was not" in shown
    assert ("partgate retrain and partgate models forget refuse it" in shown) is cost
    assert ("--kind patchcore has a memory bank" in shown) is cost
    assert "By 144 defects drawn on 24 good images" in shown
    rows = [line.split() for line in shown.splitlines() if line.startswith(("lines", "zones"))]
    assert rows == [["lines", "85.7", "91.8", "82.1"], ["zones", "72.7", "85.9", "69.4"]]


def test_what_could_not_be_compared_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert kind_table(None) is None
    print_kind(None)
    assert "10 good images of 8 parts" in capsys.readouterr().out
