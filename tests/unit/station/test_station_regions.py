"""Regions with names and sensitivities in a recipe."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from partgate_station import ConfigError, Recipe, RecipeSettings, Region, Thresholds, load_recipe

SQUARE = ((0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0))


def region(**given: object) -> Region:
    return Region.model_validate({"polygon": SQUARE, **given})


def written(folder: Path, *regions: str) -> Path:
    path = folder / "tile.toml"
    polygon = "polygon = [[0, 0], [10, 0], [10, 10]]"
    path.write_text("\n".join(f"[[regions]]\n{polygon}\n{text}\n" for text in regions))
    return path


def test_a_region_counts_once_unless_it_is_said() -> None:
    assert (region().sensitivity, region().weight) == (None, 1.0)
    assert region(sensitivity=2).weight == 2.0


@pytest.mark.parametrize(
    ("regions", "says"),
    [
        (['name = "rim"', 'name = "rim"'], r"tile\.toml: regions: \[1\]\.name: 'rim' is already the name of"),
        (['name = "rim"\nuse = "ignore"'], r"regions\[0\]: name 'rim': only an inspect region has one"),
        (['sensitivity = 2\nuse = "ignore"'], r"regions\[0\]: sensitivity 2\.0: only an inspect region"),
        (["sensitivity = 0"], r"regions\[0\]\.sensitivity: got 0, expected greater than or equal to 0\.05"),
        (["sensitivity = 20.5"], r"regions\[0\]\.sensitivity: got 20\.5, expected less than or equal to 20"),
        (["sensitivity = nan"], r"regions\[0\]\.sensitivity"),
        (['sensitivity = "2"'], r"regions\[0\]\.sensitivity: got \"2\""),
        (['name = "the rim"'], r"regions\[0\]\.name: got \"the rim\""),
        (["sensitivty = 2"], r"did you mean sensitivity\?"),
    ],
    ids=["same name", "name on ignore", "sensitivity on ignore", "none", "too much", "nan", "text", "name",
         "misspelt"],
)  # fmt: skip
def test_a_file_that_says_something_else_is_refused(regions: list[str], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        load_recipe(written(tmp_path, *regions))


def test_a_file_may_name_and_weigh_regions(tmp_path: Path) -> None:
    recipe = load_recipe(
        written(tmp_path, 'name = "rim"', 'name = "face"\nsensitivity = 2', 'use = "ignore"')
    )
    assert [one.name for one in recipe.regions] == ["rim", "face", None]
    assert [one.sensitivity for one in recipe.regions] == [None, 2.0, None]
    assert RecipeSettings.model_validate_json(recipe.model_dump_json()) == recipe


def test_a_recipe_of_an_older_version_is_read() -> None:
    old = Region.model_validate_json('{"use": "inspect", "camera_id": null, "polygon": [[0,0],[9,0],[9,9]]}')
    assert (old.name, old.weight) == (None, 1.0)


RECIPE = Recipe(
    product="tile",
    thresholds=Thresholds(review=10, reject=20),
    regions=(region(name="rim", sensitivity=0.5), region(name="face", sensitivity=4.0), region()),
)


def test_a_regions_own_limits_are_the_thresholds_over_its_sensitivity() -> None:
    assert RECIPE.limits(RECIPE.region("rim")) == Thresholds(review=20, reject=40)
    assert RECIPE.limits(RECIPE.region("face")) == Thresholds(review=2.5, reject=5)
    assert RECIPE.limits(RECIPE.regions[2]) == RECIPE.thresholds


def test_a_region_that_is_not_there_is_said_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"no region 'back' in the recipe of 'tile'; it has rim, face"):
        RECIPE.region("back")
    unnamed = RECIPE.model_copy(update={"regions": (region(),)})
    with pytest.raises(ConfigError, match="none of its regions has a name"):
        unnamed.region("rim")


def test_names_are_checked_where_a_recipe_is_made() -> None:
    with pytest.raises(ValidationError, match="is already the name"):
        RecipeSettings(regions=(region(name="rim"), region(name="rim")))
