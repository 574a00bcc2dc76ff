"""Results as tables: on a terminal, and as Markdown between two marks in a document."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks._result import Result

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def show(results: Sequence[Result]) -> None:
    """Print the results as a table, and which bounds were missed."""
    table = Table("what", "ours", "other", "ratio", "95 %", "unit", "n", "bound", box=None)
    for found in results:
        table.add_row(*_cells(found))
    console = Console(highlight=False)
    console.print(table)
    for machine in dict.fromkeys(found.machine for found in results):
        console.print(f"on {machine}")
    for found in results:
        if found.passed is False:
            console.print(f"missed: {found.name}: {found.bound}, found {found.ratio:g}; {found.note}")


def _cells(found: Result) -> list[str]:
    interval = "" if found.low is None or found.high is None else f"{found.low:.3g} to {found.high:.3g}"
    kept = {True: "kept", False: "MISSED", None: ""}[found.passed]
    numbers = [_number(found.ours), _number(found.other), _number(found.ratio), interval]
    return [found.name, *numbers, found.unit, f"{found.n:,}", f"{found.bound or ''} {kept}".strip()]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def in_brief(results: Sequence[Result]) -> list[Result]:
    """Return the lines for who wants to know how fast it is: without single stages and quantiles."""
    return [found for found in results if found.bound is not None or found.low is not None]


def markdown(results: Sequence[Result]) -> str:
    """Return the results as a Markdown table with the machine below it."""
    head = ("what", "ours", "other", "ratio", "95 %", "bound")
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for found in results:
        name, ours, other, ratio, interval, unit, _, bound = _cells(found)
        cells = (name, f"{ours} {unit}", f"{other} {unit}", ratio, interval, bound)
        lines.append(f"| {' | '.join(cells)} |")
    machines = dict.fromkeys(found.machine for found in results)
    busy = [found.busy_cores for found in results if found.busy_cores is not None]
    beside = f" Other work took up to {max(busy):g} cores beside." if busy else ""
    return "\n".join([*lines, "", f"Made on: {'; '.join(machines)}.{beside}", ""])


def fill(document: Path, table: str, *, begin: str = BEGIN, end: str = END) -> None:
    """Put a table between two marks of a document.

    Raises:
        SystemExit: the document has no marks.
    """
    text = document.read_text(encoding="utf-8")
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise SystemExit(f"{document}: no place for the table; put {begin} and {end} where it is to be")
    document.write_text(f"{before}{begin}\n{table}{end}{after}", encoding="utf-8")
