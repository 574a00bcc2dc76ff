"""What was checked: a table on a terminal, a line each in a pipe, JSON for programs."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from partgate.cli._output import err, out

if TYPE_CHECKING:
    from partgate.fitness import Check

_STYLES = {"ok": "green", "note": "yellow", "unfit": "bold red"}


def print_checks(checks: "Sequence[Check]") -> None:
    """Print each check, and of those that are not ok what to do."""
    if out.is_terminal:
        out.print(_table(checks))
        return
    for check in checks:
        advice = f" -> {check.advice}" if check.advice else ""
        out.print(f"{check.state.value:5} {check.name}: {check.value}{advice}", markup=False)


def _table(checks: "Sequence[Check]") -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "what", "found"):
        made.add_column(column, overflow="fold")
    for check in checks:
        made.add_row(Text(check.state.value, _STYLES[check.state.value]), Text(check.name), _found(check))
    return made


def _found(check: "Check") -> Text:
    text = Text(check.value)
    if check.advice:
        text.append(f"\n-> {check.advice}", style="dim")
    return text


def checks_json(checks: "Sequence[Check]") -> list[dict[str, Any]]:
    """Return the checks as programs rely on them."""
    return [
        {"name": check.name, "state": check.state.value, "value": check.value, "advice": check.advice}
        for check in checks
    ]


def counted(checks: "Sequence[Check]") -> str:
    """Return how many things are unfit and how many are to note, as a sentence's part."""
    states = [check.state.value for check in checks]
    return f"{len(checks)} looked at, {states.count('unfit')} unfit, {states.count('note')} to note"


@contextlib.contextmanager
def looking() -> Iterator[Callable[[str], None]]:
    """Give a function that shows what is looked at: on a terminal, not in a pipe."""
    if not err.is_terminal:
        yield lambda name: None
        return
    with err.status("looking ...") as status:
        yield lambda name: status.update(Text(f"looking at {name} ..."))
