"""`python -m benchmarks`: measure everything, print a table, write bench.json."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import judging, learning, station
from benchmarks._result import Result

BENCHES = {"judging": judging.run, "learning": learning.run, "station": station.run}


def main() -> None:
    """Run the benchmarks that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], help="which; all if none is named")
    parser.add_argument("--rounds", type=int, default=30, help="interleaved rounds per comparison")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    arguments = parser.parse_args()
    results: list[Result] = []
    for name in arguments.names or BENCHES:
        results += BENCHES[name](rounds=arguments.rounds)
    arguments.out.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    show(results)


def show(results: list[Result]) -> None:
    """Print the results as a table."""
    table = Table("what", "ours", "other", "ratio", "unit", "n", box=None, title_justify="left")
    for result in results:
        row = [result.ours, result.other, result.ratio, result.unit, result.n]
        table.add_row(result.name, *(str(cell) for cell in row))
    console = Console()
    console.print(table)
    console.print(f"on {results[0].machine}")


if __name__ == "__main__":
    main()
