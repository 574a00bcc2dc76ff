"""The limits of a recipe's regions, in words and in JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from partgate.cli._output import table
from partgate.cli._recipe_text import effect_table

if TYPE_CHECKING:
    from partgate.records import Active
    from partgate.retraining import ThresholdEffect
    from partgate_station import Region

SET_BY = {"recipe": "a person", "learning": "its good parts", "nobody": "nobody: counts once"}
_NO_NAME = "(no name)"


def regions_table(facts: Sequence[dict[str, Any]]) -> Table:
    """Return the table of the regions with names or sensitivities; limits are the regions' own."""
    columns = ["region", "counts", "set by", "review", "reject", "good parts", "median", "highest"]
    return table("", columns, [_row(one) for one in facts])


def region_lines(facts: Sequence[dict[str, Any]]) -> Iterator["str | Table"]:
    """Yield what learning found of regions; nothing where none has a name."""
    if facts:
        yield "Regions, each with limits of its own: the mean distance of its worst patches from good ones."
        yield regions_table(facts)


def _row(one: dict[str, Any]) -> list[object]:
    good = one["good_parts"] or {"n": "", "median": "", "highest": ""}
    return [
        one["name"] or _NO_NAME,
        f"{one['sensitivity']:.4g} times",
        SET_BY[one["set_by"]],
        one["thresholds"]["review"],
        one["thresholds"]["reject"],
        good["n"],
        good["median"],
        good["highest"],
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionChange:
    """Another limit for one region of a recipe."""

    now: "Active"
    regions: "tuple[Region, ...]"
    """Of the recipe, with the other limit."""

    name: str
    version: int | None
    """Of the recipe that is in force with it; None: it was not made."""

    effects: "tuple[ThresholdEffect, ThresholdEffect] | None"
    """Before and after; None: it was not worked out."""

    unknown: tuple[str, ...] = ()
    """What of it could not be."""

    def limits(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return the region's sensitivity and limits before and after."""
        before, after = (
            _limits(self.now, each, self.name) for each in (self.now.recipe.regions, self.regions)
        )
        return before, after


def region_json(change: RegionChange) -> dict[str, Any]:
    """Return a change of a region's limit as programs read it."""
    effects = [None, None] if change.effects is None else [asdict(effect) for effect in change.effects]
    before, after = (
        {"limits": limits, "effect": effect} for limits, effect in zip(change.limits(), effects, strict=True)
    )
    return {
        "product": change.now.recipe.product,
        "region": change.name,
        "changed": change.version is not None,
        "recipe_version": change.version,
        "before": before,
        "after": after,
        "unknown": list(change.unknown),
    }


def region_text(change: RegionChange) -> Iterator["str | Table"]:
    """Yield a change of a region's limit as a person reads it."""
    product = change.now.recipe.product
    old, new = change.limits()
    yield (
        f"'{product}', region '{change.name}': counts {old['sensitivity']:.4g} -> {new['sensitivity']:.4g}"
        f" times, review {old['review']:.6g} -> {new['review']:.6g},"
        f" reject {old['reject']:.6g} -> {new['reject']:.6g}"
    )
    if change.effects is not None:
        yield ""
        yield effect_table(*change.effects)
        yield from change.unknown
    yield ""
    if change.version is None:
        yield "Nothing was changed: this was a dry run."
        return
    yield (
        f"Recipe version {change.version} is in force; `partgate models rollback {product}` takes it back."
        " What the thresholds promise was of the limits before; `partgate retrain` keeps these and promises"
        " anew."
    )


def _limits(now: "Active", regions: "Sequence[Region]", name: str) -> dict[str, float]:
    region = next(one for one in regions if one.name == name)
    return {"sensitivity": region.weight, **now.recipe.limits(region).model_dump()}
