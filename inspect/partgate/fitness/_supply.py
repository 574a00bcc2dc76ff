"""How fast parts come, and for how long the disk can take their images."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from partgate.fitness._cameras import Seen
from partgate.fitness._check import Check, note, ok, unfit
from partgate.fitness._judging import CONFIG, Pace
from partgate.fitness._processor import gib
from partgate.records import Home, ImageStore
from partgate_station import IntervalTrigger, StationConfig

DAY_S = 86_400.0
MB = 1_000_000
FEW_DAYS = 14.0
HOURS_UNTIL_DAYS = 4.0
_ROWS_BYTES = 800  # of the database for a part with one frame: 767 over a million of them


def rate(config: StationConfig, pace: Pace) -> Iterator[Check]:
    """Say whether the station is done with a part before the next one comes."""
    if not isinstance(config.trigger, IntervalTrigger):
        return
    period_ms = config.trigger.period_s * 1000
    value = f"a part every {period_ms:.0f} ms, done in {pace.part_ms:.0f}"
    if pace.part_ms > period_ms:
        advice = "parts would queue and miss their deadline: a longer period_s, or a faster machine"
        yield unfit("rate", value, advice, exit_code=CONFIG)
    else:
        yield ok("rate", value)


def supply(
    config: StationConfig, seen: Iterable[Seen], pace: Pace | None, free_bytes: int
) -> Iterator[Check]:
    """Say for how many days the disk takes what this station keeps; nothing where no frame is known."""
    images = sum(_kept_bytes(each) + _ROWS_BYTES for each in seen)
    part_bytes = images and images + (pace.map_bytes if pace else 0)
    period_s = _period_s(config, pace)
    if not part_bytes or period_s is None:
        return
    days = free_bytes / part_bytes * period_s / DAY_S
    assumed = "" if config.records.images == "all" else ", if every part is flagged"
    value = (
        f"{_span(days)}: {_size(part_bytes)} a part, {1 / period_s:.3g} parts/s"
        f" into {gib(free_bytes)}{assumed}"
    )
    if days < FEW_DAYS:
        advice = 'a larger disk, or images = "flagged" under [records]'
        yield note("disk lasts", value, advice)
    else:
        yield ok("disk lasts", value)


def _span(days: float) -> str:
    return f"{days:,.0f} days" if days >= HOURS_UNTIL_DAYS else f"{days * 24:.1f} hours"


def _size(count: int) -> str:
    return f"{count / MB:.2f} MB" if count >= MB / 10 else f"{count / 1e3:.1f} kB"


def free_bytes(folder: Path) -> int:
    """Return how much of a disk is free."""
    return shutil.disk_usage(folder).free


def _period_s(config: StationConfig, pace: Pace | None) -> float | None:
    """Return the shortest time from part to part; None where nothing says it."""
    if isinstance(config.trigger, IntervalTrigger):
        return config.trigger.period_s
    return pace.part_ms / 1000 if pace is not None and pace.part_ms > 0 else None


def _kept_bytes(seen: Seen) -> int:
    """Return how large a frame is as the station keeps it."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(path=Path(folder))
        home.images_path.mkdir()
        ImageStore(home).put(seen.frame.image)
        return sum(file.stat().st_size for file in home.images_path.rglob("*") if file.is_file())
