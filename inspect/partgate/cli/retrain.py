"""`partgate retrain`: a better model from what QA decided."""

import contextlib
from typing import Annotated, Any

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, acting_user, app
from partgate.cli._output import out, print_json, progress_bar, table


@app.command()
def retrain(
    product: Annotated[str, typer.Argument(help="A product with an active model.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Make a candidate from the active model and the good parts that QA overturned.

    Flagged parts that a reviewer found good join the memory bank under their part ids, and the
    thresholds are calibrated anew. The active model stays until `partgate models activate`.
    """
    from partgate.records import Database, Home
    from partgate.retraining import retrain_product

    opened = Home.open(home, create=False)
    with contextlib.closing(Database.open(opened)) as database, progress_bar() as progress:
        candidate = retrain_product(opened, database, product, by=acting_user(), progress=progress)
    if as_json:
        print_json({"product": product, "model": candidate.model_id,
                    "recipe_version": candidate.recipe_version, **candidate.report})  # fmt: skip
    else:
        _print(product, candidate.model_id, candidate.report)


def _print(product: str, model_id: str, report: dict[str, Any]) -> None:
    good_set, reviewed = report["good_set"], report["reviewed"]
    added = len(report["added_parts"])
    where = f"joined the memory bank ({report['bank_rows']} rows)"
    if report["kind"] != "patchcore":
        where = f"learned with the other images ({report['kind']}, anew)"
    out.print(
        f"Candidate {model_id[:12]} for '{product}': {added} overturned part{'s' * (added != 1)} {where}."
    )
    rows = [
        [
            "good set (held out)",
            good_set["images_before"],
            good_set["flagged_before"],
            good_set["flagged_after_of_the_old_ones"],
        ],
        ["reviewed: good", *_counts(reviewed["good"])],
        ["reviewed: defective", *_counts(reviewed["defective"])],
    ]
    out.print(table("", ["images", "count", "flagged before", "flagged after"], rows))
    if missed := reviewed["defective"]["flagged_before"] - reviewed["defective"]["flagged_after"]:
        out.print(f"[bold red]Warning: {missed} confirmed defective would no longer be flagged.[/]")
    out.print(f"Put it into force with: partgate models activate {model_id[:12]}")


def _counts(group: dict[str, int]) -> list[int]:
    return [group["frames"], group["flagged_before"], group["flagged_after"]]
