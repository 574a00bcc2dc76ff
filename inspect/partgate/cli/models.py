"""`partgate models`: the registry of what has been learned."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, acting_user, app
from partgate.cli._once import Commands
from partgate.cli._output import out, print_json, print_table, table
from partgate_station import MissingInput

if TYPE_CHECKING:
    from rich.table import Table
    from sqlmodel import Session

    from partgate.records import Database, Home, Model

models = Commands(
    help="The models of this home: list, show, verify, activate, roll back, trace, forget.",
    no_args_is_help=True,
)
app.add_typer(models, name="models")

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A model's id, or its first digits.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")]


@models.command("list")
def list_models(
    product: Annotated[str | None, typer.Argument(help="Only this product's models.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """List the models, the newest first; the active one of each product is marked."""
    from partgate import records

    with _opened(home) as (_, database), database.read() as session:
        found = records.models(session, product)
        others = [] if found else records.known_products(session)
        in_force = {m.product: records.active(session, m.product) for m in found}
        rows = [_row(model, in_force[model.product]) for model in found]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(_models_table(rows))
    elif others:
        out.print(f"No model of '{product}'. Products with models: {', '.join(others)}", markup=False)
    else:
        out.print("No models yet. Learn a product: partgate learn PRODUCT --good DIR")


@models.command()
def show(model: ModelArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Print all that is kept about a model, as JSON: manifest, report, origin, page with pictures."""
    from partgate import records
    from partgate.cli._report_page import report_path
    from partgate.records import Keys
    from partgate_engines import Bundle

    with _opened(home) as (opened, database), database.read() as session:
        found = find_model(session, model)
        row = _row(found, records.active(session, found.product))
        report = found.report
    manifest = Bundle.open(opened.bundles_path / row["model"], trusted=Keys(opened).trusted()).manifest
    page = report_path(opened, row["model"])
    print_json({**row, "page": str(page) if page.exists() else None, "report": report,
                "manifest": manifest.model_dump(mode="json")})  # fmt: skip


@models.command()
def activate(model: ModelArgument, reason: ReasonOption = "", home: HomeOption = DEFAULT_HOME) -> None:
    """Put a model into force for its product; a running station takes it up between two parts.

    One that would let through what the active one does not, as its retraining has found, needs a --reason;
    so does one that was made before thresholds, regions or their limits were changed, which it does not have.
    A deadline and a gate that were changed since are kept.
    """
    from partgate import records
    from partgate.cli._change_text import disarms
    from partgate.records import Keys
    from partgate.retraining import changed_since, put_candidate_into_force
    from partgate_engines import Bundle

    with _opened(home) as (opened, database):
        with database.read() as session:
            found = find_model(session, model)
            recipe = records.latest_recipe(session, found.id)
            since = changed_since(session, found, recipe)
        doubts = [*disarms(found.report), *since.lost]
        if doubts and not reason.strip():
            raise typer.BadParameter(
                f"model {found.id[:12]} needs a --reason to be put into force: {'; '.join(doubts)}."
                f" If it is to be so: partgate models activate {found.id[:12]} --reason TEXT"
            )
        # A model that is damaged, or that nobody trusted made, is refused before it is in force.
        Bundle.open(opened.bundles_path / found.id, trusted=Keys(opened).trusted())

        def put(session: "Session") -> int:
            return put_candidate_into_force(session, recipe, since, by=acting_user(), reason=reason).version

        version = database.write(put).result()
    for doubt in doubts:
        out.print(f"Warning: {doubt}", markup=False)
    for name, value in since.carried:
        out.print(f"Kept as it was in force: {name} {value}.", markup=False)
    out.print(f"Model {found.id[:12]} is in force for '{found.product}' (recipe version {version}).")


@models.command()
def rollback(
    product: Annotated[str, typer.Argument(help="The product to take back.")],
    reason: ReasonOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Put the model and recipe into force that were so before the present ones."""
    from partgate import records

    def roll_back(session: "Session") -> str:
        records.rollback(session, product, by=acting_user(), reason=reason)
        now = records.active(session, product)
        return now.model_id if now else ""

    with _opened(home) as (_, database):
        model_id = database.write(roll_back).result()
    out.print(f"Model {model_id[:12]} is in force again for '{product}'.")


@contextlib.contextmanager
def _opened(home: Path) -> "Iterator[tuple[Home, Database]]":
    from partgate.records import Database, Home

    opened = Home.open(home, create=False)
    with contextlib.closing(Database.open(opened)) as database:
        yield opened, database


def find_model(session: "Session", prefix: str) -> "Model":
    """Return the model whose id begins so.

    Raises:
        MissingInput: there is none, or more than one.
    """
    from partgate import records

    found = [model for model in records.models(session) if model.id.startswith(prefix.lower())]
    if len(found) == 1:
        return found[0]
    known = "no model has" if not found else f"{len(found)} models have"
    raise MissingInput(f"{known} an id that begins with '{prefix}'; `partgate models list` shows them")


def _row(model: "Model", in_force: Any) -> dict[str, Any]:
    return {
        "model": model.id,
        "product": model.product,
        "kind": model.kind,
        "active": in_force is not None and in_force.model_id == model.id,
        "created_at": model.created_at.isoformat(),
        "created_by": model.created_by,
        "parent": model.parent_id,
        "good_images": model.report.get("good_images"),
        "thresholds": model.report.get("calibration", {}).get("thresholds"),
        "way": model.report.get("way"),
    }


def _models_table(rows: Sequence[dict[str, Any]]) -> "Table":
    columns = ["active", "product", "model", "kind", "way", "good", "review", "reject", "made", "by", "from"]
    return table("", columns, [_cells(row) for row in rows])


def _cells(row: dict[str, Any]) -> list[object]:
    limits = row["thresholds"] or {}
    shown = [f"{limits[name]:.4g}" if name in limits else "" for name in ("review", "reject")]
    good = "" if row["good_images"] is None else row["good_images"]
    return [
        "*" if row["active"] else "", row["product"], row["model"][:12], row["kind"], _way(row["way"]), good,
        *shown, row["created_at"][:19], row["created_by"], (row["parent"] or "")[:12],
    ]  # fmt: skip


def _way(way: dict[str, Any] | None) -> str:
    """Return in a few words how a model was learned; empty for one that did not note it."""
    if way is None:
        return ""
    told = [way["precision"], "+".join(way["layers"])]
    if way["tile_px"] is not None:
        told.append(f"tiles of {way['tile_px']} px")
    if way["contrast"] != "global":
        told.append(f"{way['contrast']} contrast")
    if way["aligned"]:
        told.append("aligned")
    return ", ".join(told)
