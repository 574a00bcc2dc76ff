"""`partgate status`: what the stations of a home are doing."""

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from partgate.cli._app import DEFAULT_HOME, HomeOption, JsonFlag, app
from partgate.cli._output import out, print_json
from partgate.cli._signals import stop_on_signals
from partgate.cli._status_disks import Disks
from partgate.cli._status_text import HomeNow, StationNow, status_json, status_text

if TYPE_CHECKING:
    from rich.live import Live

    from partgate.records import ActivityReader, Database, Home

# Of its time at most a tenth: where the disk is slow a look takes longer, and comes less often.
REST = 10.0


@app.command()
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Go on looking, until Ctrl-C.")] = False,
    every_s: Annotated[
        float, typer.Option("--every", min=0.2, max=3600, help="With --watch: seconds between two looks.")
    ] = 1.0,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonFlag = False,
) -> None:
    """Say what the stations of this home are doing, whether they run or not.

    Of each: whether it runs and since when, what it judges with, its last part and how long ago that was,
    the parts of the last minute, of today and in all, and why parts of the last hour were UNDECIDED. Last
    the room on the disks of rows and images: yellow where less than a tenth is free, red where images are
    not kept any more. Only rows and locks are read: the station does not notice.

    With --watch the lines are kept up to date; with --watch --json one object per look is printed.
    """
    from partgate.records import Database, Home

    opened = Home.open(home, create=False)
    with contextlib.closing(Database.open(opened)) as database:
        if not watch:
            _show(_Eye(opened, database).look(), as_json=as_json)
            return
        with stop_on_signals() as stop:
            _follow(_Eye(opened, database), stop, every_s=every_s, as_json=as_json)


class _Eye:
    """Looks at a home; what it has counted it does not count anew."""

    def __init__(self, home: "Home", database: "Database") -> None:
        self._home, self._database = home, database
        self._readers: dict[str, ActivityReader] = {}

    def look(self) -> HomeNow:
        """Return what the stations are doing at this moment."""
        from partgate.fitness import cores_of, running_stations
        from partgate.records import rooms_of, station_names

        running = running_stations(self._home)
        with self._database.read() as session:
            # One that has just started for the first time has a lock, and no row yet.
            names = dict.fromkeys(running, "") | station_names(session)
            doing = {id_: self._reader(id_).read(session, name=name) for id_, name in sorted(names.items())}
        stations = [
            StationNow(activity=one, holder=running.get(id_), cores=cores_of(running.get(id_)))
            for id_, one in doing.items()
        ]
        return HomeNow(stations=stations, disks=Disks(rooms=rooms_of(self._home)))

    def _reader(self, station_id: str) -> "ActivityReader":
        from partgate.records import ActivityReader

        return self._readers.setdefault(station_id, ActivityReader(station_id))


def _show(now: HomeNow, *, as_json: bool) -> None:
    if as_json:
        print_json(status_json(now))
    else:
        out.print(status_text(now))


def _follow(eye: _Eye, stop: threading.Event, *, every_s: float, as_json: bool) -> None:
    """Look again and again; on a terminal in one place, in a pipe one after the other."""
    with contextlib.ExitStack() as stack:
        live = stack.enter_context(_in_place()) if out.is_terminal and not as_json else None
        while True:
            before_s = time.monotonic()
            now = eye.look()
            if live is not None:
                live.update(status_text(now), refresh=True)
            else:
                _show(now, as_json=as_json)
            if stop.wait(max(every_s, REST * (time.monotonic() - before_s))):
                return


def _in_place() -> "Live":
    from rich.console import Console
    from rich.live import Live

    # A console of its own, which breaks lines: what is drawn over must know how many there are.
    return Live(console=Console(highlight=False), auto_refresh=False)
