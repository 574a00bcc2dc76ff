"""`partgate learn`: teach a product from good images."""

import contextlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from partgate.cli._again_text import Given, continued, continued_text
from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, acting_user, app
from partgate.cli._budget import read_budget
from partgate.cli._given_images import given_images
from partgate.cli._kind_text import print_kind
from partgate.cli._learn_options import (
    Align,
    AlignScale,
    AlignShift,
    AlignTurn,
    Backbone,
    Bank,
    Choose,
    Commissioning,
    Confidence,
    Contrast,
    Defects,
    FalseRejects,
    FalseReviews,
    FromStation,
    Good,
    KeepOutliers,
    KindOption,
    Layers,
    Masks,
    Precision,
    RecipeFile,
    Regions,
    Size,
    SkipBad,
    Steps,
    TilePx,
    Weights,
)
from partgate.cli._output import err, out, print_json, print_lines, progress_bar
from partgate.cli._region_text import region_lines
from partgate.cli._trials_text import print_trials
from partgate_station import CannotWrite, ConfigError, RecipeSettings, Region, load_recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from partgate.records import Database, Home
    from partgate.retraining import LearnedProduct
    from partgate_engines import PoseLimits
    from partgate_engines.anomaly import Choosable, GoodImage, LearnSettings, Progress


@app.command()
def learn(
    product: Annotated[str, typer.Argument(help="The product's name: a-z, 0-9, - and _.")],
    good: Good = None,
    from_station: FromStation = None,
    defects: Defects = None,
    recipe: RecipeFile = None,
    region: Regions = None,
    masks: Masks = None,
    kind: KindOption = None,
    steps: Steps = None,
    backbone: Backbone = None,
    layers: Layers = None,
    contrast: Contrast = None,
    precision: Precision = "f32",
    weights: Weights = None,
    size: Size = 256,
    tile_px: TilePx = None,
    choose: Choose = False,
    align: Align = False,
    align_shift: AlignShift = None,
    align_turn: AlignTurn = None,
    align_scale: AlignScale = None,
    bank: Bank = 2048,
    false_rejects: FalseRejects = None,
    false_reviews: FalseReviews = None,
    confidence: Confidence = None,
    commissioning: Commissioning = False,
    keep_outliers: KeepOutliers = False,
    skip_bad: SkipBad = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Learn a product from images of good parts.

    The model goes into the home with its first recipe, whose thresholds come from the good parts
    themselves. A product's first model is active at once; a later one is a candidate until
    `partgate models activate` puts it into force; it keeps regions, deadline, gate and budget of the recipe
    in force where they are not given. A good image that does not belong to the others is
    shown and not learned. A page with pictures of what was seen lies in the home at the end.

    Example: `partgate learn tile --good images/good --defects images/defective`
    """
    _check_sources(good, from_station, defects, masks)
    budget = read_budget(false_rejects, false_reviews, confidence, commissioning=commissioning)
    settings = _learn_settings(
        kind=kind,
        steps=steps,
        backbone=backbone,
        layers=layers,
        contrast=contrast,
        precision=precision,
        weights=weights,
        size_px=size,
        tile_px=tile_px,
        choose=choose,
        align=_limits(align=align, shift=align_shift, turn_deg=align_turn, scale=align_scale),
        bank_rows=bank,
        budget=budget,
        keep_outliers=keep_outliers,
    )
    summary = _taught(
        Sources(good=good, from_station=from_station, defects=defects, masks=masks, skip_bad=skip_bad),
        product,
        recipe=_given(recipe, region or [], has_budget=budget is not None),
        settings=settings,
        home_path=home,
    )
    if as_json:
        print_json(summary)
    else:
        _print(summary, asked=choose)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the images come from."""

    good: Path | None
    from_station: str | None
    defects: Path | None
    masks: Path | None
    skip_bad: bool


def _check_sources(
    good: Path | None, from_station: str | None, defects: Path | None, masks: Path | None
) -> None:
    if (good is None) == (from_station is None):
        raise typer.BadParameter("give --good DIR or --from-station STATION, one of the two")
    if masks is not None and defects is None:
        raise typer.BadParameter("--masks belong to images: give --defects DIR as well")


def _taught(
    sources: Sources,
    product: str,
    *,
    recipe: Given,
    settings: "LearnSettings",
    home_path: Path,
) -> dict[str, Any]:
    """Learn the product, write its page, and return what to say of it."""
    from partgate.cli._give_way import give_way
    from partgate.records import Database, Home
    from partgate.retraining import StepTimes, learn_product, marked_defects, starting_point

    started_s = time.monotonic()
    opened = Home.open(home_path)
    give_way(opened)
    with contextlib.closing(Database.open(opened)) as database, progress_bar() as shown:
        progress = StepTimes(shown)
        start = starting_point(opened, database, product)
        wanted, settings, kept = continued(recipe, settings, start)
        given = _good(opened, database, sources, progress)
        defective = (
            given_images(sources.defects, skip_bad=sources.skip_bad, progress=progress)
            if sources.defects
            else ()
        )
        learned = learn_product(
            opened,
            database,
            product,
            good=given,
            defective=defective,
            marked=marked_defects(defective, sources.masks) if sources.masks else (),
            recipe=wanted,
            settings=settings,
            by=acting_user(),
            progress=progress,
        )
        page = _page(opened, database, learned, given, defective)
    summary = _summary(product, learned, seconds=time.monotonic() - started_s)
    summary["page"] = page and str(page)
    summary["kept"] = kept
    return summary


def _good(
    home: "Home", database: "Database", sources: Sources, progress: "Progress"
) -> "Sequence[GoodImage]":
    if sources.good is not None:
        return given_images(sources.good, skip_bad=sources.skip_bad, of_one_kind=True, progress=progress)
    return _collected(home, database, sources.from_station or "")


def _page(
    home: "Home",
    database: "Database",
    learned: "LearnedProduct",
    given: "Sequence[GoodImage]",
    defective: "Sequence[GoodImage]",
) -> Path | None:
    """Write the page with pictures; None if it cannot be: the model is registered all the same."""
    from partgate.cli._report_page import write_report
    from partgate.records import latest_recipe, read_recipe

    with database.read() as session:
        recipe = read_recipe(latest_recipe(session, learned.model_id))
    try:
        return write_report(home, learned.model_id, recipe, learned.report, given, defective)
    except CannotWrite as error:
        err.print(f"no page with pictures: {error}", markup=False)
        return None


def _summary(product: str, learned: "LearnedProduct", *, seconds: float) -> dict[str, Any]:
    return {
        "product": product,
        "model": learned.model_id,
        "recipe_version": learned.recipe_version,
        "active": learned.is_active,
        "seconds": round(seconds, 2),
        **learned.report,
    }


def _learn_settings(*, choose: bool, layers: str | None, **given: Any) -> "LearnSettings":
    from partgate_engines.anomaly import LearnSettings

    found = {name: value for name, value in given.items() if value is not None}
    if layers is not None:
        found["layers"] = tuple(layers.split(","))
    try:
        settings = LearnSettings(**found)
        return replace(settings, auto=_to_choose(settings, found)) if choose else settings
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _to_choose(settings: "LearnSettings", given: dict[str, Any]) -> "tuple[Choosable, ...]":
    """Return what is to be chosen: all that can be and was not given."""
    from partgate_engines.anomaly import choosable

    found = tuple(name for name in choosable(settings.kind, settings.backbone) if name not in given)
    # Another kind has its own, and what is given stays.
    if given.keys() & {"layers", "contrast"} or settings.precision != "f32":
        return tuple(name for name in found if name != "kind")
    return found


def _limits(*, align: bool, **given: float | None) -> "PoseLimits | None":
    """Return how far off a part may lie; None where parts are not aligned.

    Raises:
        typer.BadParameter: it is said how far, and not that parts are to be aligned.
    """
    from partgate_engines import PoseLimits

    wanted = {name: value for name, value in given.items() if value is not None}
    if wanted and not align:
        options = ", ".join(f"--align-{name.removesuffix('_deg')}" for name in wanted)
        raise typer.BadParameter(
            f"{options} without --align: parts are not aligned then; give --align as well"
        )
    return PoseLimits(**wanted) if align else None


def _given(recipe: Path | None, regions: list[str], *, has_budget: bool) -> Given:
    return Given(
        recipe=_recipe_settings(recipe, regions),
        has_file=recipe is not None,
        has_regions=bool(regions),
        has_budget=has_budget,
    )


def _recipe_settings(recipe: Path | None, regions: list[str]) -> RecipeSettings:
    settings = load_recipe(recipe) if recipe else RecipeSettings()
    drawn = tuple(_region(number, text) for number, text in enumerate(regions))
    return settings.model_copy(update={"regions": (*settings.regions, *drawn)})


def _region(number: int, text: str) -> Region:
    try:
        vertices = [tuple(float(value) for value in pair.split(",")) for pair in text.split()]
        return Region.model_validate({"polygon": tuple(vertices)})
    except ValidationError as error:
        reasons = "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors())
        raise ConfigError(f"--region {number}: {text!r}: {reasons}") from error
    except ValueError as error:
        raise ConfigError(
            f'--region {number}: {text!r} is not a list of x,y pairs such as "10,10 90,10 50,80"'
        ) from error


def _collected(home: "Home", database: "Database", station: str) -> "Sequence[GoodImage]":
    from partgate.records import ImageStore
    from partgate.retraining import collected_images

    with database.read() as session:
        return collected_images(session, ImageStore(home), station)


def _print(summary: dict[str, Any], *, asked: bool) -> None:
    calibration = summary["calibration"]
    thresholds = calibration["thresholds"]
    out.print(
        f"Learned '{summary['product']}' from {summary['good_images']} good images"
        f" in {summary['seconds']:.1f} s: model {summary['model'][:12]},"
        f" {_what_was_made(summary)}."
    )
    out.print(f"Review from a score of {thresholds['review']:.4g}, reject from {thresholds['reject']:.4g}.")
    out.print(calibration["promise"], markup=False)
    print_lines(continued_text(summary["product"], summary["kept"]))
    print_lines(region_lines(summary["regions"]))
    if asked:
        print_trials(summary.get("trials", []), summary["kind"])
        if summary.get("trials"):
            print_kind(summary.get("kind_trial"))
    for warning in (*summary["image_warnings"], *calibration["warnings"]):
        out.print(f"Warning: {warning}", markup=False)
    if "defective_images" in summary:
        found, of = summary["defective_flagged"], summary["defective_images"]
        out.print(f"{found} of {of} defective images would be flagged.")
    if summary["active"]:
        out.print("The model is active.")
    else:
        out.print(
            "The product has an active model already; put this one into force with:"
            f" partgate models activate {summary['model'][:12]}"
        )
    if summary["page"]:
        out.print(f"What was seen, with pictures: {summary['page']}", markup=False)


def _what_was_made(summary: dict[str, Any]) -> str:
    if summary["kind"] == "patchcore":
        return f"{summary['bank_rows']} rows in the memory bank"
    training = summary.get("training")
    if training is None:
        return f"{summary['kind']}, without a memory bank"
    if summary["kind"] == "drawn":
        return (
            f"drawn trained for {training['steps']} steps; for the thresholds every part was held out of a"
            " training"
        )
    marked = f" and {training['defects']} defective ones with masks" if training["defects"] else ""
    return (
        f"{summary['kind']} trained for {training['steps']} steps on"
        f" {summary['good_images'] - training['held_back']} of them{marked}; the thresholds rest on the"
        f" {training['held_back']} held back"
    )
