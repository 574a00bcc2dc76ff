"""`partgate check`: is this station, as its file says it, fit to run here."""

from pathlib import Path
from typing import Annotated

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, app
from partgate.cli._checks_text import checks_json, counted, looking, print_checks
from partgate.cli._output import out, print_json


@app.command()
def check(
    station: Annotated[Path, typer.Argument(help="The station file.", metavar="STATION.toml")],
    cameras: Annotated[
        bool, typer.Option("--cameras/--no-cameras", help="Open the cameras, and grab a frame of each.")
    ] = True,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Say whether a station is fit to run here, and what to do if not. Nothing is recorded.

    The way is the station's own: its file is read, each camera opened and asked for a frame, the
    product's recipe laid on it, the model verified and loaded, its proof of parity looked up, and the
    frame judged five times. From that follow whether the deadline can be kept, whether the station
    keeps up with its trigger, and for how many days the disk lasts.

    A station that runs is named with its process, and its cameras are left alone.

    Exit code: 0, or that of the first thing that is unfit: 78 file, recipe or deadline; 75 it runs
    already; 69 a camera or runtime; 66 no model; 65 a model or image that cannot be used.

    Example: `partgate check station_config/stations/virtual.toml`
    """
    from partgate.fitness import examine_station, exit_code
    from partgate.records import Home

    with looking() as show:
        found = examine_station(
            station, Home(path=home.expanduser().absolute()), cameras=cameras, on_look=show
        )
    code = exit_code(found.checks)
    if as_json:
        print_json({"station": found.station_id, "fit": not code, "exit_code": code,
                    "checks": checks_json(found.checks)})  # fmt: skip
    else:
        print_checks(found.checks)
        name = f"Station '{found.station_id}'" if found.station_id else f"{station.name}"
        out.print(
            f"{name} is {'NOT FIT' if code else 'fit'} to run here: {counted(found.checks)}.", markup=False
        )
    if code:
        raise typer.Exit(code)
