"""Recipes and their thresholds, in words and in JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from partgate.cli._output import table

if TYPE_CHECKING:
    from partgate.records import Active, Recipe
    from partgate.retraining import ThresholdEffect, Verdicts
    from partgate_engines import Calibration
    from partgate_station import ImageReference, Thresholds

_GROUPS = (
    ("held_out", "good parts learned from, held out"),
    ("found_good", "parts QA found good"),
    ("found_defective", "parts QA found defective"),
)
_COUNTS = ("accept", "review", "reject")


def show_json(
    now: "Active", calibration: "Calibration", effect: "ThresholdEffect", versions: Sequence["Recipe"]
) -> dict[str, Any]:
    """Return a product's recipe as programs read it."""
    return {
        "product": now.recipe.product,
        "thresholds": now.recipe.thresholds.model_dump(),
        "model": now.model_id,
        "calibration": calibration.model_dump(
            mode="json",
            exclude={"scores": True, "card": {"part_of"}, "regions": {"__all__": {"scores"}}},
        ),
        "effect": asdict(effect),
        "image_references": [
            reference.model_dump(mode="json", exclude={"position": {"sketch"}})
            for reference in now.recipe.image_references
        ],
        "versions": [_version(row, now) for row in versions],
    }


def show_text(
    now: "Active", calibration: "Calibration", effect: "ThresholdEffect", versions: Sequence["Recipe"]
) -> Iterator[str | Table]:
    """Yield a product's recipe as a person reads it."""
    rows = [_version(row, now) for row in versions]
    mine = next(row for row in rows if row["active"])
    thresholds, learned = now.recipe.thresholds, calibration.thresholds
    yield (
        f"'{now.recipe.product}', recipe version {mine['version']}: review from a score of"
        f" {thresholds.review:.6g}, reject from {thresholds.reject:.6g}."
    )
    yield f"Model {now.model_id[:12]}. Its own thresholds: {calibration.promise}"
    if thresholds != learned:
        yield (
            f"The thresholds in force are not those ({learned.review:.6g} and {learned.reject:.6g}):"
            f" {mine['created_by']} set them, because: {mine['reason']}"
        )
    yield from (_image_line(reference) for reference in now.recipe.image_references)
    yield ""
    yield effect_table(effect)
    yield from _left_out(effect)
    yield ""
    yield _versions_table(rows)


def _image_line(reference: "ImageReference") -> str:
    """Return how the good images looked, which a station holds its frames against."""
    whose = "Good images" if reference.camera_id is None else f"Good images of camera {reference.camera_id}"
    bright, focus, place = reference.brightness, reference.focus, reference.position
    position = "in no common place" if place is None else f"within {place.farthest_px:.0f} px of each other"
    size = "of several sizes" if reference.size_px is None else "{}×{}".format(*reference.size_px)
    return (
        f"{whose} ({reference.images}, {size}): brightness {bright.low:.0f} to {bright.high:.0f},"
        f" focus {focus.low:.3g} to {focus.high:.3g}, {position}."
    )


def change_json(
    now: "Active",
    new: "Thresholds",
    before: "ThresholdEffect",
    after: "ThresholdEffect",
    version: int | None,
    calibration: "Calibration | None",
) -> dict[str, Any]:
    """Return a change of thresholds as programs read it; no version: it was not made."""
    return {
        "product": now.recipe.product,
        "changed": version is not None,
        "recipe_version": version,
        "before": {"thresholds": now.recipe.thresholds.model_dump(), "effect": asdict(before)},
        "after": {"thresholds": new.model_dump(), "effect": asdict(after)},
        "promise": None if calibration is None else calibration.promise,
        "warnings": [] if calibration is None else list(calibration.warnings),
    }


def change_text(
    now: "Active",
    new: "Thresholds",
    before: "ThresholdEffect",
    after: "ThresholdEffect",
    version: int | None,
    calibration: "Calibration | None",
) -> Iterator[str | Table]:
    """Yield a change of thresholds as a person reads it."""
    old = now.recipe.thresholds
    yield (
        f"'{now.recipe.product}': review {old.review:.6g} -> {new.review:.6g},"
        f" reject {old.reject:.6g} -> {new.reject:.6g}"
    )
    if calibration is not None:
        yield calibration.promise
    yield ""
    yield effect_table(before, after)
    yield from _left_out(after)
    yield ""
    if version is None:
        yield "Nothing was changed: this was a dry run."
        return
    yield (
        f"Recipe version {version} is in force; `partgate models rollback {now.recipe.product}` takes it"
        " back."
    )


def effect_table(*effects: "ThresholdEffect") -> Table:
    """Return how many of the known parts get which verdict, by one or by several limits."""
    return table("", ["", "parts", *_COUNTS], [_effect_row(name, words, effects) for name, words in _GROUPS])


def _effect_row(name: str, words: str, effects: Sequence["ThresholdEffect"]) -> list[object]:
    found: list[Verdicts] = [getattr(effect, name) for effect in effects]
    return [words, found[0].of, *(_then([getattr(one, count) for one in found]) for count in _COUNTS)]


def _then(counts: list[int]) -> object:
    return counts[0] if len(counts) == 1 else " -> ".join(str(count) for count in counts)


def _left_out(effect: "ThresholdEffect") -> Iterator[str]:
    if effect.found_defective.accept:
        yield f"{effect.found_defective.accept} defective parts would be accepted: escapes."
    if effect.found_good.of or effect.found_defective.of:
        yield "QA sees mostly flagged parts: what lower thresholds would flag besides, the first line says."
    if effect.left_out:
        yield f"{effect.left_out} reviewed parts are left out: another model scored them, or none."


def _versions_table(rows: Sequence[dict[str, Any]]) -> Table:
    columns = ["active", "version", "made", "by", "model", "review", "reject", "why"]
    cells = [["*" if row["active"] else "", str(row["version"]), row["created_at"][:19], row["created_by"],
              row["model"][:12], f"{row['thresholds']['review']:.6g}", f"{row['thresholds']['reject']:.6g}",
              row["reason"]] for row in rows]  # fmt: skip
    return table("", columns, cells)


def _version(row: "Recipe", now: "Active") -> dict[str, Any]:
    from partgate.records import read_recipe

    return {
        "version": row.version,
        "active": row.id == now.recipe_id,
        "created_at": row.created_at.isoformat(),
        "created_by": row.created_by,
        "reason": row.reason,
        "model": row.model_id,
        "thresholds": read_recipe(row).thresholds.model_dump(),
    }
