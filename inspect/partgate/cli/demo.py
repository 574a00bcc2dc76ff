"""`partgate demo`: the whole story on a virtual line."""

import contextlib
import re
import sys
import time
import webbrowser
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, acting_user, app
from partgate.cli._ledger_text import balance_json, balance_line
from partgate.cli._output import err, out, print_json, progress_bar, start_logging
from partgate.cli._signals import stop_on_signals
from partgate_station import Verdict

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from partgate.demo import DemoResult
    from partgate.line import Outcome
    from partgate.records import Home
    from partgate_cameras import Defect


@app.command()
def demo(
    parts: Annotated[int, typer.Option(min=1, help="How many parts to inspect.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same parts.")] = 7,
    serve: Annotated[bool, typer.Option(help="Open the review site afterwards.")] = True,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The review site's port; 0 takes a free one.")
    ] = 8080,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Learn a product, inspect its parts, count the mistakes, and open the review site.

    Parts are cut from a photograph of bricks; about one in ten gets a defect drawn on. Nothing is
    needed but this machine. A second run goes on in the same home.
    """
    from partgate.demo import inspect_virtual_parts
    from partgate.records import Home

    start_logging()
    say = err if as_json else out
    opened = Home.open(home)
    with stop_on_signals() as stop:
        _learn(opened, seed, say)
        with _watching(parts, say) as watch:
            result = inspect_virtual_parts(opened, seed=seed, parts=parts, stop=stop, on_part=watch)
        if as_json:
            print_json(_as_json(result))
        else:
            _print(result)
        if serve:
            _serve(opened, port, stop)


def _learn(home: "Home", seed: int, say: Console) -> None:
    from partgate.demo import LEARN_PARTS, PRODUCT, learn_demo_product
    from partgate.records import Database

    say.print(f"Home: {home.path}", markup=False)
    started_s = time.monotonic()
    with contextlib.closing(Database.open(home)) as database, progress_bar() as progress:
        learned = learn_demo_product(home, database, seed=seed, by=acting_user(), progress=progress)
    if learned is None:
        say.print(f"This home knows '{PRODUCT}' already; going on.")
        return
    say.print(
        f"Learned '{PRODUCT}' from {LEARN_PARTS} good parts in {time.monotonic() - started_s:.1f} s:"
        f" review from a score of {learned.thresholds.review:.4g},"
        f" reject from {learned.thresholds.reject:.4g}."
    )


@contextlib.contextmanager
def _watching(parts: int, say: Console) -> "Iterator[Callable[[Outcome, Defect | None], None]]":
    """Show each part as it is judged: a bar on a terminal, a line per flagged part in a pipe."""
    done = 0
    with progress_bar() as progress:

        def watch(outcome: "Outcome", defect: "Defect | None") -> None:
            nonlocal done
            done += 1
            progress("inspecting", done, parts)
            if not err.is_terminal and (defect is not None or outcome.decision.verdict is not Verdict.ACCEPT):
                say.print(_part_line(outcome, defect), markup=False)

        yield watch


def _part_line(outcome: "Outcome", defect: "Defect | None") -> str:
    decision = outcome.decision
    truth = "a good part" if defect is None else f"a part with a {defect.kind}"
    score = "" if decision.score is None else f" at a score of {decision.score:.4g}"
    reason = f" ({decision.reason})" if decision.reason else ""
    return f"trigger {outcome.trigger_id}: {decision.verdict.value}{score}, {truth}{reason}"


def _as_json(result: "DemoResult") -> dict[str, Any]:
    return {
        "parts": result.run.parts,
        **balance_json(result.run.balance),
        "escapes": result.escapes,
        "false_rejects": result.false_rejects,
        "latency_ms": result.latency_ms,
    }


def _print(result: "DemoResult") -> None:
    good = result.run.parts - result.defective
    out.print(f"Inspected {result.run.parts} parts, {result.defective} of them defective.")
    out.print(f"Ledger: {balance_line(result.run.balance)}")
    out.print(f"Escapes: {result.escapes} of {result.defective} defective parts passed the gate.")
    out.print(f"False rejects: {result.false_rejects} of {good} good parts did not.")
    latency = ", ".join(f"{name.replace('_', '.')} {value:.1f}" for name, value in result.latency_ms.items())
    out.print(f"Trigger to reject signal, in ms: {latency}")


def _serve(home: "Home", port: int, stop: "threading.Event") -> None:
    from partgate.review import serve

    def announce(sentence: str) -> None:
        out.print(sentence, markup=False)
        if sys.stdout.isatty() and (found := re.search(r"http://\S+", sentence)):
            webbrowser.open(found[0])

    serve(home, port=port, announce=announce, stop=stop)
