"""`partgate retrain`: a better model from what QA decided."""

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, acting_user, app
from partgate.cli._change_text import (
    again_command,
    counts_of,
    print_became_of_thresholds,
    print_next,
    warnings_of,
)
from partgate.cli._output import out, print_json, print_table, progress_bar, table


@app.command()
def retrain(
    product: Annotated[str, typer.Argument(help="A product with an active model.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Make a candidate from the active model and the good parts that QA overturned.

    Flagged parts that a reviewer found good join the memory bank under their part ids, and the
    thresholds are calibrated anew: for the budget that somebody has set with `partgate recipe threshold`, or
    the model's. Thresholds that somebody has set as numbers do not carry over; it is said where they stood
    and how to set them so again. The active model stays until `partgate models activate`. A page with
    pictures of what came in lies in the home at the end.
    """
    from partgate.cli._change import write_change
    from partgate.cli._give_way import give_way
    from partgate.records import Database, Home
    from partgate.retraining import retrain_product

    opened = Home.open(home, create=False)
    give_way(opened)
    with contextlib.closing(Database.open(opened)) as database, progress_bar() as progress:
        candidate = retrain_product(opened, database, product, by=acting_user(), progress=progress)
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
    added = len(report["added_parts"])
    where = f"joined the memory bank ({report['bank_rows']} rows)"
    if report["kind"] != "patchcore":
        where = f"learned with the other images ({report['kind']}, anew)"
    out.print(
        f"Candidate {model_id[:12]} for '{product}': {added} overturned part{'s' * (added != 1)} {where}."
    )
    print_became_of_thresholds(report)
    print_table(table("", ["images", "count", "flagged before", "flagged after"], [*counts_of(report)]))
    print_next(product, model_id, report, page)
