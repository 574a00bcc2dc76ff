"""`partgate audit`: who did what, when and why, and whether that is still what was written."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, app
from partgate.cli._output import out, print_json, print_table, progress_bar, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from partgate.records import Audit, Chain

NEWEST = 20
EXIT_DAMAGED = 65


@app.command()
def audit(
    what: Annotated[
        str,
        typer.Option(metavar="ACT", help="Only this act: `recipe.activate`, or `recipe` for all of them."),
    ] = "",
    subject: Annotated[
        str, typer.Option(metavar="THING", help="Only on this: `part:ID`, or `part` for all parts.")
    ] = "",
    limit: Annotated[
        int | None, typer.Option(min=1, help="How many to show.", show_default=str(NEWEST))
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show all, not the newest alone.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check instead that no entry was changed or taken out.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Show the audit trail, the newest entry first: when, who, what, on which subject, and why.

    Every entry holds the hash of the one before. `--verify` follows them from the first to the last and
    names the first that is not as it was written (exit code 65). That the last entries were cut off shows
    only against a last hash that was written down elsewhere. A station that runs does not notice.

    Example: `partgate audit --subject product:brick`
    """
    if limit is not None and show_all:
        raise typer.BadParameter("give --limit N or --all, one of the two")
    if not verify:
        _show(home, what, subject, None if show_all else limit or NEWEST, as_json=as_json)
    elif what or subject or limit is not None or show_all:
        raise typer.BadParameter("--verify checks every entry; leave the choice of entries out")
    else:
        _verify(home, as_json=as_json)


def _show(home: Path, what: str, subject: str, limit: int | None, *, as_json: bool) -> None:
    from partgate.records import Database, Home, audit

    with (
        contextlib.closing(Database.open(Home.open(home, create=False))) as database,
        database.read() as session,
    ):
        rows = [_row(entry) for entry in audit.entries(session, what=what, subject=subject, limit=limit)]
    if as_json:
        print_json(rows)
    elif rows:
        _print(rows)
    else:
        out.print("No entry fits this choice." if what or subject else "The audit trail has no entry yet.")


def _row(entry: "Audit") -> dict[str, Any]:
    return {
        "entry": entry.seq,
        "at": entry.at.isoformat(),
        "who": entry.who,
        "what": entry.what,
        "subject": entry.subject,
        "before": entry.before,
        "after": entry.after,
        "why": entry.why,
        "sha256": entry.sha256,
    }


def _print(rows: "Sequence[dict[str, Any]]") -> None:
    columns = ["entry", "when", "who", "what", "subject", "why"]
    cells = [
        [row["entry"], row["at"][:19], row["who"], row["what"], row["subject"], row["why"]] for row in rows
    ]
    print_table(table("", columns, cells))


def _verify(home: Path, *, as_json: bool) -> None:
    from partgate.records import Database, Home, audit

    with (
        contextlib.closing(Database.open(Home.open(home, create=False))) as database,
        database.read() as session,
        progress_bar() as progress,
    ):
        chain = audit.check(session, lambda done, total: progress("following the chain", done, total))
    if as_json:
        print_json(_as_json(chain))
    else:
        out.print(_sentence(chain), markup=False)
    if chain.first_broken is not None:
        raise typer.Exit(EXIT_DAMAGED)


def _as_json(chain: "Chain") -> dict[str, Any]:
    return {
        "whole": chain.first_broken is None,
        "entries": chain.entries,
        "first_broken": chain.first_broken,
        "last_sha256": chain.last_sha256,
    }


def _sentence(chain: "Chain") -> str:
    entries = "1 entry" if chain.entries == 1 else f"{chain.entries} entries"
    if chain.first_broken is None:
        return f"{entries}, chain whole, last hash {chain.last_sha256}"
    how = "is missing" if chain.is_missing else "is not as it was written"
    return (
        f"{entries}, CHAIN BROKEN: entry {chain.first_broken} {how}; those before it are whole, nothing is"
        " certain of those after it. Keep the database as it is, and compare it with a backup."
    )
