"""Thresholds, verdicts and regions."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from partgate_station import ConfigError, Recipe, RecipeSettings, Region, Thresholds, Verdict, load_recipe

SQUARE = ((0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0))
finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("score", "verdict"),
    [
        (0.99, Verdict.ACCEPT),
        (1.0, Verdict.REVIEW),
        (1.99, Verdict.REVIEW),
        (2.0, Verdict.REJECT),
        (math.nan, Verdict.UNDECIDED),
        (math.inf, Verdict.UNDECIDED),
        (-math.inf, Verdict.UNDECIDED),
    ],
)
def test_the_comparison(score: float, verdict: Verdict) -> None:
    assert Thresholds(review=1.0, reject=2.0).verdict(score) is verdict


@given(finite, finite, finite, finite)
def test_a_higher_score_is_never_a_better_verdict(a: float, b: float, review: float, reject: float) -> None:
    thresholds = Thresholds(review=min(review, reject), reject=max(review, reject))
    order = [Verdict.ACCEPT, Verdict.REVIEW, Verdict.REJECT]
    low, high = thresholds.verdict(min(a, b)), thresholds.verdict(max(a, b))
    assert order.index(low) <= order.index(high)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_thresholds_are_finite_and_ordered(bad: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Thresholds(review=bad, reject=2.0)
    with pytest.raises(ValidationError, match="must not lie above"):
        Thresholds(review=3.0, reject=2.0)


@pytest.mark.parametrize(
    ("polygon", "says"),
    [
        (((0.0, 0.0), (1.0, 1.0)), "2 vertices enclose nothing"),
        (((0.0, 0.0), (1.0, 1.0), (2.0, 2.0)), "the region is empty"),
        (((0.0, 0.0), (10.0, 10.0), (10.0, 0.0), (0.0, 6.0)), "crosses itself"),
        (((0.0, 0.0), (math.nan, 10.0), (10.0, 0.0)), "finite number"),
        (((-1.0, 0.0), (5.0, 10.0), (10.0, 0.0)), "greater than or equal to 0"),
    ],
)
def test_a_region_must_enclose_an_area(polygon: tuple[tuple[float, float], ...], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Region(polygon=polygon)


def test_a_region_outside_the_frame_names_its_vertices() -> None:
    recipe = RecipeSettings(
        regions=(Region(polygon=SQUARE), Region(polygon=((0.0, 0.0), (1400.0, 20.0), (5.0, 9.0))))
    )
    recipe.check_regions(width_px=1400, height_px=1024)
    with pytest.raises(ConfigError, match=r"regions\[1\]: vertex 1 \(1400, 20\) outside 1280×1024"):
        recipe.check_regions(width_px=1280, height_px=1024)


def test_a_region_of_an_unknown_camera_is_refused() -> None:
    recipe = RecipeSettings(regions=(Region(camera_id="side", polygon=SQUARE),))
    recipe.check_cameras(["top", "side"])
    with pytest.raises(ConfigError, match=r"regions\[0\].camera_id: no camera 'side'"):
        recipe.check_cameras(["top"])


def test_a_recipe_survives_json() -> None:
    recipe = Recipe(
        product="tile", thresholds=Thresholds(review=1.0, reject=2.5), regions=(Region(polygon=SQUARE),)
    )
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize(("gate", "opens"), [("reject", False), ("accept", True)])
def test_only_accept_opens_the_gate_unless_the_recipe_lets_review_pass(gate: str, *, opens: bool) -> None:
    thresholds = {"review": 1.0, "reject": 2.0}
    recipe = Recipe.model_validate({"product": "tile", "thresholds": thresholds, "review_gate": gate})
    assert recipe.gate_opens(Verdict.ACCEPT)
    assert recipe.gate_opens(Verdict.REVIEW) is opens
    assert not recipe.gate_opens(Verdict.REJECT)
    assert not recipe.gate_opens(Verdict.UNDECIDED)


def test_a_bad_region_in_a_recipe_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("deadline_ms = 5.5\n[[regions]]\npolygon = [[0, 0], [5, 5]]\n")
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    assert "recipe.toml: regions[0].polygon: 2 vertices enclose nothing" in str(caught.value)
    assert "recipe.toml: deadline_ms: got 5.5, expected integer" in str(caught.value)
