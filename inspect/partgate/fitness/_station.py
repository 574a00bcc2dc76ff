"""Whether a station is fit: its file, its cameras, its product, on this machine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from partgate._health_port import require_free
from partgate.fitness import _disk, _home
from partgate.fitness._cameras import MakeProcess, Seen, look_at_camera
from partgate.fitness._check import Check, looked, note, ok, refused, unfit
from partgate.fitness._cores import cores_set_aside
from partgate.fitness._judging import Pace, judging
from partgate.fitness._supply import rate, supply
from partgate.fitness._windows import windows
from partgate.records import Home, room_of
from partgate_cameras import ProcessCamera
from partgate_station import (
    AlreadyRunning,
    ConfigError,
    Health,
    PartgateError,
    StationConfig,
    load_station,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StationFitness:
    """What was found of a station."""

    station_id: str | None
    """None where the file cannot be read."""

    checks: tuple[Check, ...]


def examine_station(
    path: Path,
    home: Home,
    *,
    cameras: bool = True,
    make: MakeProcess = ProcessCamera,
    on_look: Callable[[str], None] = lambda name: None,
) -> StationFitness:
    """Look at everything the station needs, in the order in which it would meet it.

    Args:
        path: of the station file.
        home: it need not be there, and is not made.
        cameras: open them, one after the other; those of a station that runs are left alone.
        make: makes a camera, not yet open.
        on_look: told what is looked at next.
    """
    on_look(path.name)
    try:
        config = load_station(path)
    except PartgateError as error:
        return StationFitness(station_id=None, checks=_file_problems(path, error))
    return StationFitness(
        station_id=config.station_id,
        checks=tuple(_all(path, config, home, make if cameras else None, on_look)),
    )


def _file_problems(path: Path, error: PartgateError) -> tuple[Check, ...]:
    problems = error.problems if isinstance(error, ConfigError) else (str(error),)
    advice = "docs/reference/station-file.md has every setting"
    return tuple(
        unfit("station file", problem.removeprefix(f"{path.name}: "), advice, exit_code=error.exit_code)
        for problem in problems
    )


def _all(
    path: Path,
    config: StationConfig,
    home: Home,
    make: MakeProcess | None,
    on_look: Callable[[str], None],
) -> Iterator[Check]:
    yield ok("station file", f"{path.absolute()}, station '{config.station_id}'")
    try:
        running = home.holder(f"station-{config.station_id}")
    except PartgateError as error:
        yield refused("home", error)
        return
    if running is not None:
        advice = "a camera serves one program: stop the station to check all of it"
        yield unfit("station", f"runs already ({running})", advice, exit_code=AlreadyRunning.exit_code)
    yield from looked("windows", lambda: windows(config))
    yield from looked("judging cores", lambda: cores_set_aside(config))
    if config.health is not None:
        yield from looked("health pages", partial(_health_pages, config.health))
    yield from looked("home", lambda: _home.folder(home))
    yield from looked("disk kind", lambda: _disk.kind(_home.ground(home)))
    yield from looked("disk space", lambda: _disk.room(home))
    seen: dict[str, Seen] = {}
    if make is None or running is not None:
        yield note("cameras", "not opened", "what they give is not known; a golden frame stands for it")
    else:
        yield from _look_at_cameras(config, make, seen, on_look)
    yield from _look_at_judging(config, home, seen, on_look)


def _health_pages(health: Health) -> Iterator[Check]:
    require_free(health.host, health.port)
    yield ok("health pages", f"{health.host}:{health.port} can be had")


def _look_at_cameras(
    config: StationConfig, make: MakeProcess, seen: dict[str, Seen], on_look: Callable[[str], None]
) -> Iterator[Check]:
    """Open the cameras one after the other: what a station's line opens side by side, a network may not."""
    for camera in config.cameras:
        on_look(f"camera {camera.camera_id}")
        check, frame = look_at_camera(camera, make)
        if frame is not None:
            seen[camera.camera_id] = frame
        yield check


def _look_at_judging(
    config: StationConfig, home: Home, seen: dict[str, Seen], on_look: Callable[[str], None]
) -> Iterator[Check]:
    on_look("product and model")
    paces: list[Pace] = []
    yield from looked("product", partial(judging, config, home, seen, on_pace=paces.append))
    pace = paces[0] if paces else None
    if pace is not None:
        yield from looked("rate", lambda: rate(config, pace))
    yield from looked("disk lasts", lambda: _lasts(config, home, seen, pace))


def _lasts(config: StationConfig, home: Home, seen: dict[str, Seen], pace: Pace | None) -> Iterator[Check]:
    images, rows = (room_of(_home.nearest(path)) for path in (home.images_path, home.path))
    yield from supply(config, seen.values(), pace, images, rows)
