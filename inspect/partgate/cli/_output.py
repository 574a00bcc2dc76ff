"""How commands speak: progress on a terminal, plain lines in a pipe, JSON where asked."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from partgate.cli import _log

# People read stderr and stdout alike; programs read stdout alone.
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
WIDE = 1_000  # columns: no row of a table is longer

ProgressSink = Callable[[str, int, int], None]


def start_logging() -> None:
    """Send the program's log to stderr, coloured on a terminal."""
    _log.start_logging(colors=err.is_terminal and not err.no_color)


def print_json(value: Any) -> None:
    """Print one line of JSON on stdout."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
    sys.stdout.flush()


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a table for people; numbers are aligned to the right, and nothing in it is markup."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int | float) for row in rows)
        made.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        made.add_row(*(Text(f"{cell:.4g}" if isinstance(cell, float) else str(cell)) for cell in row))
    return made


def print_table(made: Table) -> None:
    """Print a table: as wide as the terminal, and in a pipe one line per row, for `grep`."""
    (out if out.is_terminal else Console(width=WIDE, highlight=False)).print(made)


def print_lines(lines: Iterable[str | Table]) -> None:
    """Print sentences and tables one after the other, as they are: nothing in them is markup."""
    for line in lines:
        if isinstance(line, str):
            out.print(line, markup=False)
        else:
            print_table(line)


@contextlib.contextmanager
def progress_bar() -> Iterator[ProgressSink]:
    """Give a function that shows how far a step is: a bar on a terminal, nothing in a pipe."""
    if not err.is_terminal:
        yield lambda step, done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        tasks: dict[str, Any] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=total)
            progress.update(tasks[step], completed=done, total=total)

        yield show
