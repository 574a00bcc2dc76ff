"""What was chosen from what, in the terminal and on the page."""

from typing import Any

import pytest

from partgate.cli._trials_text import chosen_of, print_trials, trial_table
from partgate.cli.learn import _learn_settings


def trial(auroc: float, **more: Any) -> dict[str, Any]:
    """Return a trial as a report has it."""
    usual: dict[str, Any] = {
        "tile_px": None,
        "tiles": 1,
        "contrast": "global",
        "layers": ["blocks.2", "blocks.4"],
        "auroc": auroc,
        "error": 0.0,
        "taken": False,
        "compared_with": 0,
        "counted": "mean",
        "gain": 0.0,
        "by_size": [
            {"smallest_px": 2.0, "largest_px": 6.0, "auroc": 0.5},
            {"smallest_px": 37.0, "largest_px": 110.9, "auroc": 0.94},
        ],
        "frame_ms": 7.4,
        "good_images": 24,
        "drawn_defects": 144,
    }
    return usual | more


TRIALS = [
    trial(0.72, taken=True),
    trial(0.82, taken=True, tile_px=256, tiles=9, counted="weakest", gain=0.1684, error=0.031, frame_ms=66.0),
    trial(0.81, compared_with=1, tile_px=256, tiles=9, contrast="local", gain=-0.01, error=0.02),
]
OLD = [
    {
        "contrast": contrast,
        "layers": ["a"],
        "auroc": auroc,
        "error": error,
        "good_images": 40,
        "drawn_defects": 160,
    }
    for contrast, auroc, error in (("global", 0.6, 0.0), ("local", 0.7, 0.05))
]


def test_the_terminal_says_what_was_chosen_and_from_what(capsys: pytest.CaptureFixture[str]) -> None:
    print_trials(TRIALS, "patchcore")
    said = capsys.readouterr().out
    assert "Chosen: 9 tiles of 256 px, global contrast, layers blocks.2,blocks.4, by 144 defects" in said
    assert "compare --kind drawn --tile-px 256 by --defects" in said
    (chosen,) = [line.split() for line in said.splitlines() if line.startswith("chosen")]
    words = "9 tiles of 256 px global blocks.2,blocks.4 50.0 94.0 82.0 +16.8 ± 3.1 (weakest) 66"
    assert " ".join(chosen) == f"chosen {words}"
    assert any("2-6 px" in line and "37-111 px" in line for line in said.splitlines())


def test_nothing_to_compare_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    print_trials([], "patchcore")
    assert "Nothing was chosen" in capsys.readouterr().out
    assert trial_table([], "patchcore") is None


def test_only_what_was_compared_has_a_gain() -> None:
    found = trial_table(TRIALS, "drawn")
    assert found is not None
    assert [row.figures[0] for row in found.rows] == ["", "+16.8 ± 3.1 (weakest)", "-1.0 ± 2.0 (mean)"]
    assert [row.is_chosen for row in found.rows] == [False, True, False]
    assert found.other_kind == "--kind patchcore --tile-px 256"
    assert {len(row.words) + len(row.shares) + len(row.figures) for row in found.rows} == {len(found.columns)}


@pytest.mark.parametrize(
    ("best", "expected"), [(0.7, 1), (0.64, 0)], ids=["better by more", "within the error"]
)
def test_trials_of_older_models_do_not_say_which_was_taken(best: float, expected: int) -> None:
    old = [OLD[0], OLD[1] | {"auroc": best}]
    assert chosen_of(old) == expected
    found = trial_table(old, "patchcore")
    assert found is not None
    assert [row.is_chosen for row in found.rows] == [number == expected for number in range(2)]
    assert found.rows[1].figures[0] == f"{100 * (best - 0.6):+.1f} ± 5.0 (mean)"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("tile_px", "layers", "contrast", "kind")),
        ({"tile_px": 512}, ("layers", "contrast", "kind")),
        ({"contrast": "global"}, ("tile_px", "layers")),
        ({"kind": "patchcore"}, ("tile_px", "layers", "contrast")),
        ({"layers": "blocks.2,blocks.4", "contrast": "global"}, ("tile_px",)),
        ({"backbone": "resnet18", "layers": None}, ("tile_px", "contrast")),
        ({"kind": "drawn"}, ("tile_px",)),
    ],
    ids=[
        "nothing",
        "tiles",
        "contrast",
        "the usual kind",
        "layers and contrast",
        "another backbone",
        "another kind",
    ],
)
def test_what_is_given_is_not_chosen(given: dict[str, Any], expected: tuple[str, ...]) -> None:
    asked: dict[str, Any] = {"layers": None, **given}
    assert _learn_settings(choose=True, **asked).auto == expected
    assert _learn_settings(choose=False, **asked).auto == ()
