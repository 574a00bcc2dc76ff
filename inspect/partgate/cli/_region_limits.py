"""`partgate recipe threshold --region`: one region's own limit."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from partgate.cli._output import progress_bar
from partgate.cli._region_text import RegionChange

if TYPE_CHECKING:
    from partgate.records import Active, Database, Home
    from partgate.retraining import ThresholdEffect
    from partgate_engines import Bundle
    from partgate_station import Region


def check_region_options(
    region: str | None, reject: float | None, sensitivity: float | None, *, others: bool
) -> None:
    """Refuse what does not go together.

    Raises:
        typer.BadParameter: says what does.
    """
    if region is None:
        if sensitivity is not None:
            raise typer.BadParameter("--sensitivity is a region's: name it with --region NAME")
        return
    if others or (reject is None) == (sensitivity is None):
        raise typer.BadParameter(
            "with --region NAME give --reject X or --sensitivity X, one of the two alone"
        )


def change_region(
    home: Path,
    product: str,
    region: str,
    *,
    reject: float | None,
    sensitivity: float | None,
    by: str,
    reason: str | None,
) -> RegionChange:
    """Change a region's limit, or, without a reason, show what that would mean for known parts.

    Raises:
        ConfigError: it cannot be changed so; says why.
        MissingInput: the product has no recipe in force.
    """
    from partgate.records import Database, Home, Keys
    from partgate.retraining import change_regions, recipe_in_force, sensitivity_for, with_sensitivity
    from partgate_engines import Bundle

    opened = Home.open(home, create=False)
    with contextlib.closing(Database.open(opened)) as database:
        with database.read() as session:
            now = recipe_in_force(session, product)
        bundle = Bundle.open(opened.bundles_path / now.model_id, trusted=Keys(opened).trusted())
        now.recipe.region(region)  # first: a wrong name is said before a wrong number
        wanted = sensitivity if reject is None else sensitivity_for(region, now.recipe.thresholds, reject)
        regions = with_sensitivity(now, bundle, region, wanted or 0.0)
        if reason is None:
            return _tried(opened, database, now, bundle, regions=regions, name=region)
        version = change_regions(database, regions, since=now, by=by, reason=reason)
    return RegionChange(now=now, regions=regions, name=region, version=version, effects=None)


def _tried(
    home: "Home",
    database: "Database",
    now: "Active",
    bundle: "Bundle",
    *,
    regions: "tuple[Region, ...]",
    name: str,
) -> RegionChange:
    """Return what the known parts get with the regions in force and with others, both scored now."""
    from partgate.retraining import effect_of, rescored

    with progress_bar() as progress:
        found = [
            rescored(home, database, now, bundle, regions=each, progress=progress)
            for each in (now.recipe.regions, regions)
        ]
    before, after = (effect_of(now.recipe.thresholds, one.evidence) for one in found)
    effects: tuple[ThresholdEffect, ThresholdEffect] = before, after
    return RegionChange(
        now=now, regions=regions, name=name, version=None, effects=effects, unknown=found[1].unknown
    )
