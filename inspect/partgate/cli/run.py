"""`partgate run`: the headless station."""

from pathlib import Path
from typing import Annotated

import structlog
import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, app
from partgate.cli._ledger_text import balance_json, balance_line
from partgate.cli._output import out, print_json, start_logging
from partgate.cli._signals import stop_on_signals
from partgate_station import Verdict, load_station

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
    from partgate.line import Outcome, Reason, run_station
    from partgate.records import Home

    config = load_station(station)
    start_logging()

    def tell(outcome: Outcome) -> None:
        collecting = (outcome.decision.reason or "").startswith(Reason.NO_RECIPE)
        if outcome.decision.verdict is not Verdict.ACCEPT and not collecting:
            log.info(
                "part flagged", trigger=outcome.trigger_id, part=str(outcome.part_id),
                verdict=outcome.decision.verdict.value, score=outcome.decision.score,
                reason=outcome.decision.reason,
            )  # fmt: skip

    with stop_on_signals() as stop:
        result = run_station(config, Home.open(home), stop=stop, parts=parts, on_outcome=tell)
    if as_json:
        print_json({"parts": result.parts, **balance_json(result.balance)})
    else:
        out.print(f"{result.parts} parts judged. Ledger of station '{config.station_id}':")
        out.print(balance_line(result.balance))
