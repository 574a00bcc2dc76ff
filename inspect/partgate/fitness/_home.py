"""The home: whether it can be written, who uses it, whom it trusts."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from partgate.fitness._check import Check, note, ok, unfit
from partgate.fitness._cores import cores_of
from partgate.records import Holder, Home, Keys, sqlite_version
from partgate_engines import CoreSplit

FEWEST_FILES, FEW_FILES = 256, 1024  # a station with four cameras has about 120 open, the review site 100
_STATION = "station-"


def ground(home: Home) -> Path:
    """Return the home's folder or, before it is made, the nearest folder that there is."""
    return nearest(home.path)


def nearest(path: Path) -> Path:
    """Return a folder or, where there is none yet, the nearest above it that there is."""
    return next(folder for folder in (path, *path.parents) if _is_folder(folder))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except PermissionError:  # it lies in a folder that this user may not enter
        return False


def running(home: Home) -> dict[str, Holder]:
    """Return the stations that run in this home, by their ids.

    Raises:
        CannotWrite: this user may not enter the home.
    """
    home.is_made()  # refuses a folder that may not be entered; one without a database may have a lock
    locks = sorted((home.path / "locks").glob(f"{_STATION}*.lock"))
    holders = {lock.stem: home.holder(lock.stem) for lock in locks}
    return {name.removeprefix(_STATION): holder for name, holder in holders.items() if holder is not None}


def folder(home: Home) -> Iterator[Check]:
    """Say whether the home is there and can be written."""
    is_made = home.is_made()
    if home.path.exists() and not home.path.is_dir():
        yield unfit("home", f"{home.path} is a file", "choose another --home", exit_code=73)
    elif not os.access(ground(home), os.W_OK | os.X_OK):
        advice = f"{ground(home)} cannot be written by this user: change that, or choose another --home"
        yield unfit("home", str(home.path), advice, exit_code=73)
    elif not is_made:
        yield note("home", f"{home.path}: none yet", "`partgate learn` or `partgate run` makes it")
    elif not home.database_path.exists():
        advice = "restore partgate.db from a backup; a home that had one never starts empty by itself"
        yield unfit("home", f"{home.path}: its database is gone", advice, exit_code=66)
    else:
        yield ok("home", str(home.path))


def stations(home: Home) -> Iterator[Check]:
    """Say which stations run in this home now, and on which cores they judge if on their own."""
    said = [
        f"'{station}' runs ({holder}){_on(cores_of(holder))}" for station, holder in running(home).items()
    ]
    yield ok("stations", "; ".join(said) or "none runs")


def _on(split: CoreSplit | None) -> str:
    return "" if split is None else f", {split}"


def keys(home: Home) -> Iterator[Check]:
    """Say whose bundles may judge parts here."""
    known = Keys(home).known() if home.is_made() else []
    if not known:
        advice = "the first `partgate learn` makes this home's own key; others: `partgate keys trust FILE`"
        yield note("trusted signers", "nobody", advice)
    else:
        names = [f"{key.name}{' (its own)' if key.is_own else ''}" for key in known]
        yield ok("trusted signers", ", ".join(names))


def sqlite() -> Iterator[Check]:
    """Say which SQLite keeps the records; one that can lose rows is refused."""
    yield ok("sqlite", sqlite_version())


def open_files(soft_limit: int | None = None) -> Iterator[Check]:
    """Say how many files one process may have open."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if soft_limit is None else soft_limit
    advice = "raise it: ulimit -n 4096, or LimitNOFILE= in the systemd unit"
    if limit == resource.RLIM_INFINITY or limit >= FEW_FILES:
        yield ok("open files", "no limit" if limit == resource.RLIM_INFINITY else f"{limit:,} allowed")
    elif limit >= FEWEST_FILES:
        yield note("open files", f"{limit:,} allowed", advice)
    else:
        yield unfit("open files", f"{limit:,} allowed", advice)
