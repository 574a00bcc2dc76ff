"""How fast parts come, for how long the disk can take their images, and what happens then."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from partgate.fitness._cameras import Seen
from partgate.fitness._check import Check, note, ok, unfit
from partgate.fitness._judging import CONFIG, Pace
from partgate.fitness._processor import gib
from partgate.records import Home, ImageStore, Room
from partgate_station import IntervalTrigger, StationConfig

DAY_S = 86_400.0
MB = 1_000_000
FEW_DAYS = 14.0
HOURS_UNTIL_DAYS = 4.0
# Of the database for a part with one frame: 767 over a million of them, and 93 that find a kept image's row.
_ROWS_BYTES = 900


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
    config: StationConfig, seen: Iterable[Seen], pace: Pace | None, images: Room, rows: Room
) -> Iterator[Check]:
    """Say for how many days there is room for what this station keeps, and what happens then.

    Nothing where no frame is known.

    Args:
        config: of the station.
        seen: a frame of each camera.
        pace: what a part takes, None where it is not known.
        images: the disk of the images.
        rows: the disk of the rows, which may be the same.
    """
    kept = sum(_kept_bytes(each) + _ROWS_BYTES for each in seen)
    part_bytes = kept and kept + (pace.map_bytes if pace else 0)
    period_s = _period_s(config, pace)
    if not part_bytes or period_s is None:
        return
    records = config.records
    makes_room = records.room_share > 0 and records.images == "all"
    left_free = images.reserved_bytes(rows) + images.floor_bytes
    if makes_room:
        left_free = max(left_free, records.room_share * images.usable_bytes)
    spare = max(0, images.free_bytes - round(left_free))
    days = spare / part_bytes * period_s / DAY_S
    assumed = "" if records.images == "all" else ", if every part is flagged"
    then = "the oldest images of accepted parts make room" if makes_room else "images are not kept"
    value = (
        f"{_span(days)}: {_size(part_bytes)} a part, {1 / period_s:.3g} parts/s"
        f" into {gib(spare)}{assumed}; then {then}"
    )
    if days >= FEW_DAYS:
        yield ok("disk lasts", value)
    elif makes_room:
        yield note("disk lasts", value, "a larger disk keeps them for longer")
    else:
        yield note("disk lasts", value, f"a larger disk{_other_ways(config)}")


def _other_ways(config: StationConfig) -> str:
    return ', or images = "flagged" or a room_share under [records]' if config.records.images == "all" else ""


def _span(days: float) -> str:
    return f"{days:,.0f} days" if days >= HOURS_UNTIL_DAYS else f"{days * 24:.1f} hours"


def _size(count: int) -> str:
    return f"{count / MB:.2f} MB" if count >= MB / 10 else f"{count / 1e3:.1f} kB"


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
