"""`partgate people`: who may log in to the review site, and a new password for one who forgot it."""

import contextlib
import getpass
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, acting_user, app
from partgate.cli._once import Commands
from partgate.cli._output import out, print_json, print_table, table
from partgate_station import DataError, MissingInput

if TYPE_CHECKING:
    from partgate.review import Change

people = Commands(help="The people who may log in to the review site.", no_args_is_help=True)
app.add_typer(people, name="people")


@people.command("list")
def list_people(home: HomeOption = DEFAULT_HOME, as_json: JsonFlag = False) -> None:
    """List who may log in to the review site, and who no longer may."""
    from partgate.records import Database, Home
    from partgate.review import users

    with (
        contextlib.closing(Database.open(Home.open(home, create=False))) as database,
        database.read() as session,
    ):
        rows = [
            {
                "name": user.name,
                "created_at": user.created_at.isoformat(),
                "disabled_at": user.disabled_at and user.disabled_at.isoformat(),
            }
            for user in users(session)
        ]
    if as_json:
        print_json(rows)
    elif rows:
        cells = [[row["name"], str(row["created_at"])[:19], (row["disabled_at"] or "")[:19]] for row in rows]
        print_table(table("", ["name", "since", "disabled"], cells))
    else:
        out.print("Nobody may log in yet: `partgate review` prints a link to set up the first person.")


@people.command()
def reset(
    name: Annotated[str, typer.Argument(help="A person's name, as `partgate people list` shows it.")],
    enable: Annotated[
        bool, typer.Option("--enable", help="Let them in again, if they have been disabled.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Give a person a new password: for one who forgot it, when nobody else can log in.

    Asks for it twice on a terminal; from a pipe one line is read. Whoever is logged in under that name is
    logged out. A site that runs need not be started again. Whoever may write the home may do this.
    """
    from partgate.records import Database, Home
    from partgate.review import Passwords, check_password, checked_name, resettable, set_password

    kept_name = checked_name(name)
    with contextlib.closing(Database.open(Home.open(home, create=False))) as database:
        with database.read() as session:
            _refuse(resettable(session, name=kept_name, enable=enable), kept_name)
        password, again = _asked_for(kept_name) if sys.stdin.isatty() else _read()
        check_password(password, name=kept_name, again=again)
        password_hash = Passwords().hash(password)
        changed = database.write(
            lambda session: set_password(
                session,
                name=kept_name,
                password_hash=password_hash,
                enable=enable,
                by=acting_user(),
                why=reason.strip(),
            )
        ).result()
        _refuse(changed, kept_name)
    out.print(f"'{kept_name}' logs in with the new password; all earlier logins have ended.", markup=False)


def _asked_for(name: str) -> tuple[str, str]:
    return getpass.getpass(f"New password of {name}: "), getpass.getpass("The same again: ")


def _read() -> tuple[str, str]:
    try:
        line = sys.stdin.readline().rstrip("\r\n")
        line.encode()  # bytes that are no text may have come through as halves of characters
    except UnicodeError:
        raise DataError("standard input: the password is not text in UTF-8") from None
    return line, line


def _refuse(change: "Change", name: str) -> None:
    from partgate.review import Change

    if change is Change.NO_SUCH_USER:
        raise MissingInput(f"nobody is called '{name}' here; `partgate people list` shows who is")
    if change is Change.DISABLED:
        raise typer.BadParameter(f"'{name}' was disabled; --enable lets them in again")
