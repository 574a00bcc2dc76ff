"""`python -m benchmarks`: measure, print a table, write bench.json.

Without names everything is measured. `--quick` takes a third of the rounds: for a look, not for a
document. docs/reference/benchmarks.md says what each figure means.
"""

import argparse
import contextlib
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol, cast

from benchmarks._result import Result, busy_cores
from benchmarks._table import fill, in_brief, markdown, show

ROUNDS, QUICK_ROUNDS = 30, 10
README = Path(__file__).parents[1] / "README.md"

# Imported when they run: each needs other heavy packages.
BENCHES = {
    "judging": "benchmarks.judging",
    "large-frames": "benchmarks.large_frames",
    "backbone": "benchmarks.backbone",
    "bank-size": "benchmarks.bank_size",
    "stream": "benchmarks.stream",
    "stages": "benchmarks.stages",
    "startup": "benchmarks.startup",
    "station": "benchmarks.station",
    "learning": "benchmarks.learning",
    "accuracy": "benchmarks.accuracy",
}


WITH_PARTS = {"station"}


class Bench(Protocol):
    """A module that measures."""

    def run(self, *, rounds: int, folder: Path, **said: int) -> list[Result]:
        """Return what was found; what was learned and exported stays in the folder for the next.

        `parts`, where it was said, is for those of `WITH_PARTS`.
        """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that were asked for; return the exit code."""
    asked = _parser().parse_args(arguments)
    rounds = asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="partgate-bench-") as folder:
        for name in asked.names or BENCHES:
            said = {"parts": asked.parts} if asked.parts and name in WITH_PARTS else {}
            results += _measured(name, rounds, Path(folder), said)
            asked.out.write_text(json.dumps([asdict(found) for found in results], indent=2) + "\n")
    if asked.markdown:
        print(markdown(results))
    else:
        show(results)
    if asked.readme:
        fill(README, markdown(in_brief(results)))
    return 1 if asked.strict and any(found.passed is False for found in results) else 0


def _measured(name: str, rounds: int, folder: Path, said: Mapping[str, int]) -> list[Result]:
    """Run one benchmark, and note how busy the machine was before it."""
    busy, started_s = busy_cores(), time.monotonic()
    print(f"{name}: {rounds} rounds; other work takes {busy:g} cores ...", file=sys.stderr, flush=True)
    bench = cast("Bench", importlib.import_module(BENCHES[name]))
    with contextlib.redirect_stdout(sys.stderr):  # a station's log; only tables go to stdout
        found = [replace(one, busy_cores=busy) for one in bench.run(rounds=rounds, folder=folder, **said)]
    print(f"{name}: done in {time.monotonic() - started_s:.0f} s", file=sys.stderr, flush=True)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--rounds", type=_positive, help=f"interleaved rounds per comparison ({ROUNDS})")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds")
    parser.add_argument(
        "--parts", type=_positive, help="at each fixed rate of `station`, of whose latencies p99.9 is taken"
    )
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a bound is missed")
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="where the figures go")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}; expected at least 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
