"""`partgate cameras`: what is there, what it can be set to, and what it sees."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, app
from partgate.cli._cameras_text import cameras_table, features_json, features_table, surveys_json
from partgate.cli._grab import grab_frames, grabbed_json, grabbed_text, write_png
from partgate.cli._once import Commands
from partgate.cli._output import err, out, print_json, print_table, progress_bar
from partgate_station import AlreadyRunning, ConfigError, GenicamCamera, MissingInput, load_station

if TYPE_CHECKING:
    from partgate_cameras import CameraFeature
    from partgate_station import Camera

cameras = Commands(
    help="GenICam cameras: list what is there, show features; and grab a picture of any camera.",
    no_args_is_help=True,
)
app.add_typer(cameras, name="cameras")

StationArgument = Annotated[Path, typer.Argument(help="The station file.", metavar="STATION.toml")]
CameraArgument = Annotated[str, typer.Argument(help="The camera's `camera_id` in it.", metavar="CAMERA_ID")]


@cameras.command("list")
def list_cameras(home: HomeOption = DEFAULT_HOME, as_json: JsonFlag = False) -> None:
    """List the GenTL producers of this machine and the cameras that each sees.

    Producers are looked for in the folders of GENICAM_GENTL64_PATH and in the installed `genicam` package
    (`viky.cti` there is a simulator). The producer's file name and the serial number, or the
    user-defined name, are what a station file chooses a camera by.

    Not while a station of this home runs: some producers end its stream when they are asked.
    """
    from partgate_cameras import find_producers, survey_producer

    _refuse_while_running(home)
    surveys = [survey_producer(path) for path in find_producers()]
    if as_json:
        print_json(surveys_json(surveys))
        return
    if any(survey.devices for survey in surveys):
        print_table(cameras_table(surveys))
    for survey in surveys:
        if survey.problem is not None:
            err.print(f"{survey.path}: {survey.problem}", markup=False)
        elif not survey.devices:
            out.print(f"{survey.path}: no camera", markup=False)
    if not surveys:
        out.print("No GenTL producer: install the camera maker's and set GENICAM_GENTL64_PATH.")


@cameras.command()
def features(
    station: StationArgument,
    camera_id: CameraArgument,
    containing: Annotated[
        str, typer.Option("--filter", metavar="TEXT", help="Only features with this in their names.")
    ] = "",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Show a GenICam camera's features: name, access, value now, and what it may be.

    Any that can be written (`w`) may stand under `[cameras.features]` in the station file. Nothing is set
    here, not even what the file says: a line shows what the camera has by itself.

    Example: `partgate cameras features STATION.toml top --filter exposure`
    """
    from partgate_cameras import survey_features

    config = _camera(station, camera_id, home)
    if not isinstance(config, GenicamCamera):
        raise ConfigError(f"camera {camera_id}: is of kind {config.kind}; only genicam cameras have features")
    found = [one for one in survey_features(config) if containing.lower() in one.name.lower()]
    if as_json:
        print_json(features_json(found))
        return
    if found:
        print_table(features_table(found))
    out.print(_counted(found, containing), markup=False)


@cameras.command()
def grab(
    station: StationArgument,
    camera_id: CameraArgument,
    file: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE.png", help="Where the picture goes.", show_default="CAMERA_ID.png"
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, max=10_000, help="How many to grab; the last is kept.")] = 1,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.1, max=600, help="Seconds to wait for each frame.")
    ] = 5.0,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Open a camera of any kind as the station does, grab frames, and write the last as a picture.

    Says its size, its grey levels (0 to 255), how much of it is black or saturated, a focus measure that
    grows with sharpness, and with --frames the rate. A file that is there is replaced.

    To set a lens: grab again and again and turn until `focus` is highest. A camera that waits for a
    trigger line gives a frame when a part passes: choose a longer --timeout.

    Example: `partgate cameras grab station_config/stations/genicam_simulator.toml top --frames 50`
    """
    config = _camera(station, camera_id, home)
    with progress_bar() as progress:
        grabbed = grab_frames(config, frames, timeout_s=timeout_s, on_frame=progress)
    target = Path(f"{camera_id}.png") if file is None else file
    write_png(grabbed.frame.image, target)
    if as_json:
        print_json(grabbed_json(grabbed, target))
    else:
        for line in grabbed_text(grabbed, target):
            out.print(line, markup=False)


def _camera(station: Path, camera_id: str, home: Path) -> "Camera":
    """Return a camera's settings, unless its station runs.

    Raises:
        MissingInput: the station has no such camera.
        AlreadyRunning: the station runs; a camera serves one program at a time.
    """
    from partgate.records import Home

    config = load_station(station)
    found = next((camera for camera in config.cameras if camera.camera_id == camera_id), None)
    if found is None:
        there = ", ".join(config.camera_ids)
        raise MissingInput(
            f"{station}: station '{config.station_id}' has no camera '{camera_id}', it has {there}"
        )
    holder = Home(path=home.expanduser().absolute()).holder(f"station-{config.station_id}")
    if holder is not None:
        raise AlreadyRunning(
            f"station '{config.station_id}' runs ({holder}) and has the camera; stop it first"
        )
    return found


def _refuse_while_running(home: Path) -> None:
    from partgate.fitness import running_stations
    from partgate.records import Home

    for station_id, holder in running_stations(Home(path=home.expanduser().absolute())).items():
        raise AlreadyRunning(
            f"station '{station_id}' runs ({holder}); looking for cameras may end its stream: stop it first"
        )


def _counted(found: "list[CameraFeature]", containing: str) -> str:
    which = f" with '{containing}' in their names" if containing else ""
    settable = sum("w" in one.access for one in found)
    return f"{len(found)} features{which}, {settable} of them can be set now."
