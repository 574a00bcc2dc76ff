"""`partgate keys`: whose bundles may judge parts here."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, acting_user, app
from partgate.cli._once import Commands
from partgate.cli._output import out, print_json, print_table, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlmodel import Session

    from partgate.records import Keys, TrustedKey

keys = Commands(help="The signers whose bundles may judge parts here.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command("list")
def list_keys(home: HomeOption = DEFAULT_HOME, as_json: JsonFlag = False) -> None:
    """List the trusted signers; the home's own is marked, and the file to hand on is named."""
    from partgate.records import Home, Keys

    found = Keys(Home.open(home, create=False)).known()
    rows = [
        {"name": key.name, "key": key.key.fingerprint, "own": key.is_own, "file": str(key.path)}
        for key in found
    ]
    if as_json:
        print_json(rows)
    elif rows:
        cells = [["*" if r["own"] else "", r["name"], str(r["key"])[:12], r["file"]] for r in rows]
        print_table(table("", ["own", "name", "key", "file"], cells))
    else:
        out.print("No signer is trusted yet. The first `partgate learn` makes this home's own.")


@keys.command()
def trust(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A public key in PEM (Ed25519).")],
    name: Annotated[
        str | None, typer.Option(help="What the signer is called here.", show_default="the file's name")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Trust a signer: its bundles may judge parts from now on.

    The file comes from the home that signs: `partgate keys list` names it there. Bring it by a way
    that you trust; whoever can exchange it on the way can sign models for this station.
    """
    called = file.stem if name is None else name
    trusted = _audited(
        home, lambda known, session: known.trust(session, file, name=called, by=acting_user()), create=True
    )
    out.print(f"'{trusted.name}' (key {trusted.key.fingerprint[:12]}) is trusted.", markup=False)


@keys.command()
def revoke(
    name: Annotated[str, typer.Argument(help="A trusted signer.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Trust a signer no longer: none of its models is loaded from now on.

    A station that runs keeps the model it has loaded; start it again to be sure. Revoking the home's
    own key makes the next `partgate learn` begin a new one; what was learned before must be learned
    again.
    """
    revoked = _audited(
        home, lambda known, session: known.revoke(session, name, by=acting_user(), reason=reason)
    )
    own = " It was this home's own: the next `partgate learn` makes a new one." if revoked.is_own else ""
    out.print(
        f"'{revoked.name}' (key {revoked.key.fingerprint[:12]}) is trusted no longer.{own}", markup=False
    )


def _audited(
    home: Path, act: "Callable[[Keys, Session], TrustedKey]", *, create: bool = False
) -> "TrustedKey":
    from partgate.records import Database, Home, Keys

    opened = Home.open(home, create=create)
    with contextlib.closing(Database.open(opened)) as database:
        return database.write(lambda session: act(Keys(opened), session)).result()
