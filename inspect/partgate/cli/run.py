"""`partgate run`: the headless station."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from partgate._imports import uncollected
from partgate._recorder_start import recorder_started
from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, app
from partgate.cli._ledger_text import balance_json, balance_line
from partgate.cli._output import out, print_json
from partgate.cli._signals import stop_on_signals
from partgate_station import Verdict, load_station

if TYPE_CHECKING:
    from partgate.line import Outcome

log = structlog.get_logger(__name__)


@app.command()
def run(
    station: Annotated[Path, typer.Argument(help="The station file.", metavar="STATION.toml")],
    parts: Annotated[int | None, typer.Option(min=1, help="Stop after this many triggers.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Run a station until it is told to stop.

    Every trigger gets a row in the ledger before its verdict can leave the station. SIGTERM and
    Ctrl-C finish the part in work, record it, and end with exit code 0.

    A station whose file names no product, or a product without a model, collects images: every part
    is UNDECIDED, its frames are kept to learn from.

    Example: `partgate run station_config/stations/virtual.toml --parts 100`
    """
    config = load_station(station)
    with recorder_started() as recorder_process:  # which imports while this process does
        with uncollected():
            from partgate.line import run_station
            from partgate.records import Home
        with stop_on_signals() as stop:
            result = run_station(
                config,
                Home.open(home),
                stop=stop,
                parts=parts,
                on_outcome=_tell,
                recorder_process=recorder_process,
            )
    if as_json:
        print_json({"parts": result.parts, **balance_json(result.balance)})
    else:
        out.print(f"{result.parts} parts judged. Ledger of station '{config.station_id}':")
        out.print(balance_line(result.balance))


def _tell(outcome: "Outcome") -> None:
    from partgate.line import Reason

    collecting = (outcome.decision.reason or "").startswith(Reason.NO_RECIPE)
    if outcome.decision.verdict is not Verdict.ACCEPT and not collecting:
        log.info(
            "part flagged", trigger=outcome.trigger_id, part=str(outcome.part_id),
            verdict=outcome.decision.verdict.value, score=outcome.decision.score,
            reason=outcome.decision.reason,
        )  # fmt: skip
