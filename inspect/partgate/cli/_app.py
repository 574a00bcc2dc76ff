"""The `partgate` command: what all commands share, and how an error leaves it."""

import getpass
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from partgate.cli._once import Commands
from partgate.cli._output import start_logging
from partgate_station import PartgateError

app = Commands(
    name="partgate",
    help="Inspects every part on a production line: camera to verdict to review to a better model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="PARTGATE_HOME",
        help="The folder that holds everything partgate keeps: records, images, models.",
        show_default="./partgate-home",
    ),
]
DEFAULT_HOME = Path("partgate-home")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]


def acting_user() -> str:
    """Return who is named in the audit trail for what a command does."""
    return f"cli:{getpass.getuser()}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; no error a person can cause shows a traceback.

    Ctrl-C (130) and a pipe whose reader has gone (1) end quietly by typer's own doing.

    Args:
        arguments: what stands after `partgate`; None takes them from the process.
    """
    start_logging()  # to stderr: stdout is for what programs read
    try:
        app(None if arguments is None else list(arguments))
    except PartgateError as error:
        if os.environ.get("PARTGATE_DEBUG"):
            traceback.print_exc()
        print(f"partgate: {error}", file=sys.stderr)  # noqa: T201 - the one place errors are printed
        sys.exit(error.exit_code)
