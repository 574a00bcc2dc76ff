"""`partgate retrain`: a better model from what QA decided, and from more images of good parts."""

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, acting_user, app
from partgate.cli._change_text import (
    again_command,
    came_text,
    counts_of,
    print_became_of_thresholds,
    print_next,
    warnings_of,
)
from partgate.cli._given_images import given_images
from partgate.cli._learn_options import SkipBad
from partgate.cli._output import out, print_json, print_table, progress_bar, table


@app.command()
def retrain(
    product: Annotated[str, typer.Argument(help="A product with an active model.")],
    good: Annotated[
        Path | None, typer.Option(help="A folder with more images of good parts: they join as well.")
    ] = None,
    skip_bad: SkipBad = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Make a candidate from the active model and the good parts that QA overturned.

    Flagged parts that a reviewer found good join the memory bank under their part ids, images given with
    `--good` under their files' names, and the thresholds are calibrated anew: for the budget that somebody
    has set with `partgate recipe threshold`, or the model's. Thresholds that somebody has set as numbers do
    not carry over; it is said where they stood and how to set them so again. The active model stays until
    `partgate models activate`. A page with pictures of what came in lies in the home at the end.

    Example: `partgate retrain tile --good images/new_lot`
    """
    from partgate.cli._change import write_change
    from partgate.cli._give_way import give_way
    from partgate.records import Database, Home
    from partgate.retraining import retrain_product

    if skip_bad and good is None:
        raise typer.BadParameter("--skip-bad is about images that are given: give --good DIR as well")
    opened = Home.open(home, create=False)
    give_way(opened)
    with contextlib.closing(Database.open(opened)) as database, progress_bar() as progress:
        images = given_images(good, skip_bad=skip_bad, progress=progress) if good is not None else ()
        candidate = retrain_product(
            opened,
            database,
            product,
            images=images,
            skip_bad=skip_bad,
            by=acting_user(),
            progress=progress,
        )
        page = write_change(opened, database, candidate)
    if as_json:
        print_json({"product": product, "model": candidate.model_id, "page": page and str(page),
                    "recipe_version": candidate.recipe_version,
                    "again": again_command(product, candidate.report), **candidate.report})  # fmt: skip
    else:
        _print(product, candidate.model_id, candidate.report, page)


def _print(product: str, model_id: str, report: dict[str, Any], page: Path | None) -> None:
    for warning in warnings_of(report):
        out.print(f"Warning: {warning}", markup=False)
    where = f"joined the memory bank ({report['bank_rows']} rows)"
    if report["kind"] != "patchcore":
        where = f"learned with the other images ({report['kind']}, anew)"
    out.print(f"Candidate {model_id[:12]} for '{product}': {' and '.join(came_text(report))} {where}.")
    print_became_of_thresholds(report)
    print_table(table("", ["images", "count", "flagged before", "flagged after"], [*counts_of(report)]))
    print_next(product, model_id, report, page)
