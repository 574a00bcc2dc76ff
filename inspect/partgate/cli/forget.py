"""`partgate models forget`: take images out of what a product was learned from."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, acting_user
from partgate.cli._change_text import again_command, print_became_of_thresholds, print_next, warnings_of
from partgate.cli._output import out, print_json, print_table, progress_bar, table
from partgate.cli._part_names import StationOption, find_part
from partgate.cli.models import models

if TYPE_CHECKING:
    from partgate.retraining import Forgettable, LearnedProduct


@models.command()
def forget(
    product: Annotated[str, typer.Argument(help="A product with an active model.")],
    image: Annotated[
        list[str] | None, typer.Option(help="An image it was learned from, by its file's name. Repeatable.")
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(help="A part that QA brought in, by its id, trigger or serial number. Repeatable."),
    ] = None,
    station: StationOption = None,
    reason: Annotated[str, typer.Option(help="Why; kept with the recipe and in the audit trail.")] = "",
    by: Annotated[str, typer.Option(metavar="NAME", help="Who decided, if it was not you.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be forgotten.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Make a candidate without some images: for a part that was learned as good and is not.

    Every row that they brought to the memory bank goes, other images' patches take the places, and the
    thresholds are calibrated anew, as `partgate retrain` does. Copies of an image go with it. The active
    model stays until `partgate models activate`; `partgate retrain` does not bring forgotten parts back. A
    page with pictures says what the model makes of them now.

    Example: `partgate models forget tile --image exp1_num_9196.jpg --reason "a crack, seen by Vera"`
    """
    from partgate.cli._change import write_change
    from partgate.cli._give_way import give_way
    from partgate.records import Database, Home
    from partgate.retraining import forget_images, forgettable

    if not image and not part:
        raise typer.BadParameter("say what to forget: --image NAME or --part NAME")
    if not reason.strip() and not dry_run:
        raise typer.BadParameter("say why with --reason TEXT; it is kept with the recipe")
    who = f"{by.strip()} ({acting_user()})" if by.strip() else acting_user()
    opened = Home.open(home, create=False)
    give_way(opened)
    with contextlib.closing(Database.open(opened)) as database, progress_bar() as progress:
        with database.read() as session:
            parts = [str(find_part(session, one, station)) for one in part or []]
        what = forgettable(opened, database, product, [*(image or []), *parts])
        made = (
            None
            if dry_run
            else forget_images(opened, database, what, by=who, reason=reason.strip(), progress=progress)
        )
        page = None if made is None else write_change(opened, database, made)
    if as_json:
        print_json(_summary(product, what, made, page))
    else:
        _print(product, what, made, page)


def _summary(
    product: str, what: "Forgettable", made: "LearnedProduct | None", page: Path | None
) -> dict[str, Any]:
    return {
        "product": product,
        "parent": what.now.model_id,
        "forgotten": list(what.images) if made is None else made.report["forgotten"],
        "changed": made is not None,
        "model": made and made.model_id,
        "recipe_version": made and made.recipe_version,
        "thresholds": made and made.thresholds.model_dump(),
        "calibration": made and made.report["calibration"],
        "hand_set": made and made.report["hand_set"],
        "again": made and again_command(product, made.report),
        "page": page and str(page),
    }


def _print(product: str, what: "Forgettable", made: "LearnedProduct | None", page: Path | None) -> None:
    rows = [[one["image"], "-" if one["rows"] is None else one["rows"]] for one in what.images]
    if made is None:
        print_table(table("", ["forgotten image", "rows it brought"], rows))
        out.print("Nothing was changed: this was a dry run.")
        return
    report = made.report
    judged = [[*row, _now(one)] for row, one in zip(rows, report["forgotten"], strict=True)]
    print_table(table("", ["forgotten image", "rows it brought", "now"], judged))
    out.print(f"Candidate {made.model_id[:12]} for '{product}', from {report['good_images']} images.")
    print_became_of_thresholds(report)
    for warning in warnings_of(report):
        out.print(f"Warning: {warning}", markup=False)
    print_next(product, made.model_id, report, page)


def _now(one: dict[str, Any]) -> str:
    return one["verdict"] if one["score"] is None else f"{one['verdict']} ({one['score']:.4g})"
