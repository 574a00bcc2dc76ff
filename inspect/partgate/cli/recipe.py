"""`partgate recipe`: what decides a part's verdict, and changing its thresholds without learning."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, acting_user, app
from partgate.cli._budget import read_budget
from partgate.cli._learn_options import Confidence, FalseReviews
from partgate.cli._once import Commands
from partgate.cli._output import err, print_json, print_lines
from partgate.cli._recipe_text import (
    change_json,
    change_text,
    show_json,
    show_text,
)
from partgate.cli._region_limits import change_region, check_region_options
from partgate.cli._region_text import region_json, region_lines, region_text
from partgate.cli._score_picture import score_picture
from partgate.cli._threshold_options import (
    By,
    Commissioning,
    DryRun,
    FalseRejects,
    Reason,
    RegionName,
    Reject,
    Review,
    Sensitivity,
)
from partgate_station import CannotWrite, ConfigError, Thresholds

if TYPE_CHECKING:
    from rich.table import Table

    from partgate.records import Active, Database, Home
    from partgate.retraining import Evidence
    from partgate_engines import Calibration
    from partgate_engines.anomaly import Budget

recipe = Commands(
    help="The recipe of a product: its thresholds, who set them and why; change them.", no_args_is_help=True
)
app.add_typer(recipe, name="recipe")

ProductArgument = Annotated[str, typer.Argument(help="The product.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What judges a product's parts now, and what its thresholds can be tried on."""

    active: "Active"
    calibration: "Calibration"
    evidence: "Evidence"
    as_learned: bool
    """Whether the regions count as they did when the good parts were scored."""


@recipe.command()
def show(
    product: ProductArgument,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the scores and the thresholds into this file.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Show the thresholds in force, how sure they are, and every version with who made it and why.

    The table says what the thresholds do to the parts whose scores are known: the good parts that were
    learned from, each scored without itself, and the line's parts that QA has reviewed.
    """
    from partgate import records
    from partgate.retraining import effect_of, region_facts

    with _opened(home) as (opened, database):
        now = _in_force(opened, database, product)
        with database.read() as session:
            versions = [*records.recipes(session, product)]
    thresholds = now.active.recipe.thresholds
    if svg is not None:
        _write(svg, score_picture(product, thresholds, now.evidence))
    effect = effect_of(thresholds, now.evidence)
    facts = region_facts(now.active.recipe.regions, thresholds, now.calibration)
    _tell(
        show_json(now.active, now.calibration, effect, versions) | {"regions": facts},
        chain(show_text(now.active, now.calibration, effect, versions), _regions(facts, now)),
        as_json=as_json,
    )


@recipe.command()
def threshold(
    product: ProductArgument,
    review: Review = None,
    reject: Reject = None,
    false_rejects: FalseRejects = None,
    false_reviews: FalseReviews = None,
    confidence: Confidence = None,
    commissioning: Commissioning = False,
    reason: Reason = "",
    by: By = "",
    region: RegionName = None,
    sensitivity: Sensitivity = None,
    dry_run: DryRun = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Change the thresholds of a product; nothing is learned, nothing exported.

    A new version of the recipe comes into force at once, and a running station takes it up between two
    parts; `partgate models rollback PRODUCT` takes it back. Look first with --dry-run: it shows how the
    verdicts of known parts would change.

    With --region NAME only that region's limit changes: a part whose worst patches lie in it is rejected from
    --reject on. --dry-run then scores the known parts again, which takes seconds.

    Example: `partgate recipe threshold tile --reject 21.5 --reason "scratches of lot 7"`
    """
    others = review is not None or any((false_rejects, false_reviews, confidence, commissioning))
    check_region_options(region, reject, sensitivity, others=others)
    if confidence is not None and false_rejects is None and not commissioning:
        raise typer.BadParameter("--confidence goes with --false-rejects 1/N or --commissioning")
    if region is not None:
        why = None if dry_run else _reason(reason, None, dry_run=False)
        change = change_region(
            home, product, region, reject=reject, sensitivity=sensitivity, by=_who(by), reason=why
        )
        _tell(region_json(change), region_text(change), as_json=as_json)
        return
    wanted = read_budget(false_rejects, false_reviews, confidence, commissioning=commissioning)
    budget = _asked(review, reject, wanted)
    why = _reason(reason, budget, dry_run=dry_run)
    with _opened(home) as (opened, database):
        now = _in_force(opened, database, product)
        calibration = None if budget is None else _again(product, now, budget)
        new = (
            calibration.thresholds if calibration else _by_hand(now.active.recipe.thresholds, review, reject)
        )
        version = (
            None if dry_run else _put_into_force(database, new, now, by=_who(by), why=why, budget=budget)
        )
    _tell_change(now, new, version, calibration, as_json=as_json)


def _put_into_force(
    database: "Database", new: Thresholds, now: InForce, *, by: str, why: str, budget: "Budget | None"
) -> int:
    from partgate.retraining import change_thresholds

    return change_thresholds(database, new, since=now.active, by=by, reason=why, budget=budget)


def _tell_change(
    now: InForce, new: Thresholds, version: int | None, calibration: "Calibration | None", *, as_json: bool
) -> None:
    """Say what known parts get before and after, and what is doubtful of a calibration."""
    from partgate.retraining import effect_of

    before, after = (effect_of(at, now.evidence) for at in (now.active.recipe.thresholds, new))
    _tell(
        change_json(now.active, new, before, after, version, calibration),
        change_text(now.active, new, before, after, version, calibration),
        as_json=as_json,
    )
    for warning in () if calibration is None or as_json else calibration.warnings:
        err.print(f"Warning: {warning}", markup=False)


def _tell(value: dict[str, Any], lines: "Iterable[str | Table]", *, as_json: bool) -> None:
    if as_json:
        print_json(value)
    else:
        print_lines(lines)


def _regions(facts: list[dict[str, Any]], now: InForce) -> "Iterator[str | Table]":
    """Yield the regions, and what changing them since has made unknown."""
    if facts:
        yield ""
        yield from region_lines(facts)
    if not now.as_learned:
        yield (
            "The good parts learned from were scored with other limits of the regions: what they get now,"
            " `--dry-run` of `partgate recipe threshold --region` works out."
        )


def _asked(review: float | None, reject: float | None, budget: "Budget | None") -> "Budget | None":
    by_hand = review is not None or reject is not None
    if by_hand == (budget is not None):
        raise typer.BadParameter(
            "give --review and --reject, or one of them, or --false-rejects 1/N, or --commissioning"
        )
    return budget


def _reason(reason: str, budget: "Budget | None", *, dry_run: bool) -> str:
    """Return what is kept as the reason: the person's words, and the budget where one was given."""
    if not reason.strip() and not dry_run:
        raise typer.BadParameter("say why with --reason TEXT; it is kept with the recipe's version")
    if budget is None:
        return reason.strip()
    return (
        f"{reason.strip()} (for at most 1/{budget.reject_one_in} of the good parts rejected and"
        f" 1/{budget.review_one_in} flagged, {100 * budget.confidence:g} % confidence"
        f"{', in commissioning' if budget.commissioning else ''})"
    )


def _who(by: str) -> str:
    """Return who is named in the trail; the account that typed it is never left out."""
    return f"{by.strip()} ({acting_user()})" if by.strip() else acting_user()


def _by_hand(now: Thresholds, review: float | None, reject: float | None) -> Thresholds:
    wanted = {"review": now.review if review is None else review,
              "reject": now.reject if reject is None else reject}  # fmt: skip
    try:
        return Thresholds(**wanted)
    except ValidationError as error:
        kept = "".join(
            f"; {name} stays at {value:g} unless --{name} is given"
            for name, value, given in (("review", now.review, review), ("reject", now.reject, reject))
            if given is None
        )
        reasons = "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors())
        raise ConfigError(f"thresholds: {reasons}{kept}. Nothing was changed") from error


def _again(product: str, now: InForce, budget: "Budget") -> "Calibration":
    from partgate_engines.anomaly import calibrate_again

    calibration = now.calibration
    if not now.as_learned:
        raise ConfigError(
            f"--false-rejects: the regions of '{product}' count differently since the model was learned, and"
            " its good parts were scored as before; retrain or learn it again, or give --review and --reject"
        )
    if calibration.card is None:
        raise ConfigError(
            f"--false-rejects: the model of '{product}' was learned by an older partgate and does not say"
            " which images show the same part; learn it again, or give --review and --reject"
        )
    if calibration.method == "mirrored" or calibration.card.parts == 1:
        raise ConfigError(
            f"--false-rejects: the model of '{product}' was learned from one part, which says nothing of how"
            " good parts differ; learn it from more, or give --review and --reject"
        )
    return calibrate_again(calibration, budget)


def _in_force(home: "Home", database: "Database", product: str) -> InForce:
    from partgate.records import Keys
    from partgate.retraining import recipe_in_force, threshold_evidence
    from partgate_engines import Bundle

    with database.read() as session:
        now = recipe_in_force(session, product)
    bundle = Bundle.open(home.bundles_path / now.model_id, trusted=Keys(home).trusted())
    calibration = bundle.manifest.calibration
    with database.read() as session:
        evidence = threshold_evidence(session, calibration, now)
    as_learned = now.recipe.regions == bundle.manifest.regions
    if not as_learned:
        evidence = replace(evidence, held_out=())
    return InForce(active=now, calibration=calibration, evidence=evidence, as_learned=as_learned)


@contextlib.contextmanager
def _opened(home: Path) -> "Iterator[tuple[Home, Database]]":
    from partgate.records import Database, Home

    opened = Home.open(home, create=False)
    with contextlib.closing(Database.open(opened)) as database:
        yield opened, database


def _write(path: Path, content: str) -> None:
    try:
        path.write_text(content)
    except OSError as error:
        raise CannotWrite(f"{path}: cannot be written ({error.strerror})") from error
