"""The disks that the home lies on: their room, their kind, and how long it takes to be sure."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from partgate.fitness._check import Check, note, ok, unfit
from partgate.fitness._home import nearest
from partgate.fitness._processor import GIB, gib
from partgate.records import (
    AskRoom,
    Home,
    Room,
    file_system_of,
    places_of,
    refuse_network_disk,
    room_of,
)

SCARCE_BYTES = 10 * GIB
FEW_INODES = 100_000  # an image and a map take one each
SLOW_SYNC_MS = 20.0
SYNCS = 9
_PAGE = bytes(4096)  # what SQLite appends for a row


def room(home: Home, ask: AskRoom = room_of) -> Iterator[Check]:
    """Say how much is free, in bytes and in files, on each disk that rows, images or maps lie on."""
    rooms = {name: ask(nearest(path)) for name, path in places_of(home).items()}
    rows, seen = rooms["home"], set[int]()
    for name, found in rooms.items():
        if found.device not in seen:
            has_images = any(rooms[place].device == found.device for place in ("images", "maps"))
            yield from _room("" if name == "home" else f" of {name}", found, rows, has_images=has_images)
        seen.add(found.device)


def _room(of: str, found: Room, rows: Room, *, has_images: bool) -> Iterator[Check]:
    name, value = f"disk space{of}", f"{gib(found.free_bytes)} of {gib(found.total_bytes)} free"
    advice = "delete what is not partgate's, or choose a larger disk"
    if found.device == rows.device and not found.takes_rows:
        yield unfit(name, f"{value}: too little for rows", advice, exit_code=73)
    elif has_images and found.headroom(rows) < 1:
        yield note(name, f"{found.left}: too little for images of accepted parts", advice)
    elif found.free_bytes < SCARCE_BYTES:
        yield note(name, value, advice)
    else:
        yield ok(name, value)
    if found.total_files and found.free_files < FEW_INODES:
        value = f"{found.free_files:,} more files fit"
        yield note(f"disk files{of}", value, "every image takes one (an inode); delete files")


def kind(path: Path) -> Iterator[Check]:
    """Say which file system it is, and refuse another machine's."""
    refuse_network_disk(path)
    found = file_system_of(path)
    if found in {"tmpfs", "ramfs"}:
        yield note("disk kind", f"{found}: memory, lost at the next start", "choose a disk with --home")
    else:
        yield ok("disk kind", f"{found or 'unknown'}, local")


def syncs(path: Path, clock_s: Callable[[], float] = time.perf_counter) -> Iterator[Check]:
    """Say how long a page takes to be on disk: every verdict waits for one such write."""
    times_ms = _times_ms(path, clock_s)
    median, worst = statistics.median(times_ms), max(times_ms)
    value = f"{median:.2f} ms, at worst {worst:.2f} of {len(times_ms)}"
    if median > SLOW_SYNC_MS:
        yield note("disk sync", value, "every verdict waits for one: choose an SSD with --home")
    else:
        yield ok("disk sync", value)


def _times_ms(path: Path, clock_s: Callable[[], float]) -> list[float]:
    times_ms = []
    with tempfile.TemporaryFile(dir=path, buffering=0) as file:
        for _ in range(SYNCS):
            file.write(_PAGE)
            before_s = clock_s()
            os.fsync(file.fileno())
            times_ms.append((clock_s() - before_s) * 1000)
    return times_ms
