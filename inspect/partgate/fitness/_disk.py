"""The disk that the home lies on: its room, its kind, and how long it takes to be sure."""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from partgate.fitness._check import Check, note, ok, unfit
from partgate.fitness._processor import GIB, gib
from partgate.records import file_system_of, refuse_network_disk

TOO_FULL_BYTES = GIB
SCARCE_BYTES = 10 * GIB
FEW_INODES = 100_000  # an image and a map take one each
SLOW_SYNC_MS = 20.0
SYNCS = 9
_PAGE = bytes(4096)  # what SQLite appends for a row


def room(path: Path) -> Iterator[Check]:
    """Say how much is free, in bytes and in files."""
    usage = shutil.disk_usage(path)
    value = f"{gib(usage.free)} of {gib(usage.total)} free"
    advice = "delete what is not partgate's, or choose a larger disk with --home"
    if usage.free < TOO_FULL_BYTES:
        yield unfit("disk space", value, advice, exit_code=73)
    elif usage.free < SCARCE_BYTES:
        yield note("disk space", value, advice)
    else:
        yield ok("disk space", value)
    # A file system without a fixed number of them, such as btrfs, says 0.
    files = os.statvfs(path)
    if files.f_files and files.f_favail < FEW_INODES:
        yield note("disk files", f"{files.f_favail:,} more files fit", "every image takes one; delete files")


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
