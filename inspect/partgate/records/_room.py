"""How much room a home's disks have, in bytes and in files, and for whose images it is enough.

    free   |---- images of all parts ----|-- of flagged parts --|-- none: rows --|
                                       floor                 half of it          0

Images may lie on a disk of their own: their folders may be mounted or links. Where they share the rows' disk
the floor lies above what the rows need, so that images never take the last of it.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from partgate.records._home import Home

MIB, GIB = 1 << 20, 1 << 30
ROWS_FLOOR_BYTES = 256 * MIB  # the rows of 300,000 parts
ROWS_AGAIN_BYTES = ROWS_FLOOR_BYTES + ROWS_FLOOR_BYTES // 8  # so that a disk at its edge does not come and go
FLOOR_BYTES, FLOOR_FILES, FLOOR_SHARE = GIB, 10_000, 0.02
FEW_SHARE = 0.2  # of files: only then they are worth a word
AGAIN = 1.125  # of a floor that was fallen below


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a disk has, for a user who is not root."""

    device: int
    """Places with the same number share a disk."""

    free_bytes: int
    usable_bytes: int
    """What is free and what is taken; less than the disk's size where some is reserved for root."""

    total_bytes: int
    free_files: int
    total_files: int
    """0: the file system has no fixed number of them, such as btrfs; nothing is scarce then."""

    @property
    def share_free(self) -> float:
        """The free share of bytes or of files, whichever is less."""
        return min(_share(self.free_bytes, self.usable_bytes), _share(self.free_files, self.total_files))

    @property
    def floor_bytes(self) -> float:
        """Below so many bytes, beyond what is the rows', images of accepted parts are not kept."""
        return min(FLOOR_BYTES, FLOOR_SHARE * self.usable_bytes)

    @property
    def floor_files(self) -> float:
        """Below so many files they are not; 0 where there is no fixed number of them."""
        return min(FLOOR_FILES, FLOOR_SHARE * self.total_files)

    @property
    def takes_rows(self) -> bool:
        """Whether there is room for rows, if they lie here."""
        return self.free_bytes >= ROWS_FLOOR_BYTES

    @property
    def left(self) -> str:
        """What is left of bytes, or of files where those are scarcer, in words."""
        fewer_files = _times(self.free_files, self.floor_files) < _times(self.free_bytes, self.floor_bytes)
        if fewer_files and _share(self.free_files, self.total_files) < FEW_SHARE:
            return f"{self.free_files:,} of {self.total_files:,} files (inodes) free"
        return f"{self.free_bytes / GIB:.2f} GiB of {self.total_bytes / GIB:.2f} GiB free"

    def reserved_bytes(self, rows: "Room") -> int:
        """Return what of this disk is the rows', which have `rows`: nothing where that is another disk."""
        return ROWS_AGAIN_BYTES if rows.device == self.device else 0

    def headroom(self, rows: "Room") -> float:
        """Return how many times the floor is free, of bytes or files, whichever is less."""
        free_bytes = self.free_bytes - self.reserved_bytes(rows)
        return min(_times(free_bytes, self.floor_bytes), _times(self.free_files, self.floor_files))


AskRoom = Callable[[Path], Room]
"""Returns the room of the disk that a path lies on; raises OSError where it cannot be asked."""


def room_of(path: Path) -> Room:
    """Return the room of the disk that a path lies on; links and mounts are followed.

    Raises:
        OSError: it cannot be asked.
    """
    found = os.statvfs(path)
    return Room(
        device=path.stat().st_dev,
        free_bytes=found.f_bavail * found.f_frsize,
        usable_bytes=(found.f_blocks - found.f_bfree + found.f_bavail) * found.f_frsize,
        total_bytes=found.f_blocks * found.f_frsize,
        free_files=found.f_favail,
        total_files=found.f_files,
    )


def places_of(home: Home) -> Mapping[str, Path]:
    """Return what of a home may lie on a disk of its own, by name; the rows' first."""
    return {"home": home.path, "images": home.images_path, "maps": home.maps_path}


def rooms_of(home: Home, ask: AskRoom = room_of) -> Mapping[str, Room]:
    """Return the room of each place of a home, by name; one that cannot be asked is left out."""
    found: dict[str, Room] = {}
    for name, path in places_of(home).items():
        with contextlib.suppress(OSError):
            found[name] = ask(path)
    return found


class RowsRoom:
    """Whether there is room for rows; with a distance between too little and enough again.

    Used by one thread.
    """

    def __init__(self, home: Home, *, ask: AskRoom = room_of) -> None:
        """Begin with enough.

        Args:
            home: on whose disk the rows lie.
            ask: how the disk is asked.
        """
        self._path, self._ask, self._limit = home.path, ask, ROWS_FLOOR_BYTES

    def problem(self) -> str | None:
        """Ask the disk; return why rows can soon not be written, None while they can."""
        try:
            room = self._ask(self._path)
        except OSError as error:
            return f"{self._path}: its disk cannot be asked ({error.strerror})"
        is_full = room.free_bytes < self._limit
        self._limit = ROWS_AGAIN_BYTES if is_full else ROWS_FLOOR_BYTES
        if not is_full:
            return None
        return f"{self._path}: {room.free_bytes / MIB:.0f} MiB free, rows need {self._limit / MIB:.0f}"


class Keeping(StrEnum):
    """Whose images there is room for."""

    ALL = "all"
    FLAGGED = "flagged"
    """Not for those of accepted parts."""

    NONE = "none"


class ImageRoom:
    """Whether there is room for images; with a distance between too little and enough again.

    Used by one thread.
    """

    def __init__(self, home: Home, *, ask: AskRoom = room_of) -> None:
        """Begin with room for all.

        Args:
            home: whose folders of images and maps are looked at.
            ask: how a disk is asked.
        """
        self._home, self._ask = home, ask
        self.keeping = Keeping.ALL
        self.left = ""
        """Where room is scarcest, and how much there is, in words."""

    def look(self) -> Keeping:
        """Ask the disks, and return whose images there is room for.

        What cannot be asked changes nothing: that it cannot be written either is said by who tries.
        """
        try:
            rows = self._ask(self._home.path)
            found = {path: self._ask(path) for path in (self._home.images_path, self._home.maps_path)}
        except OSError:
            return self.keeping
        path = min(found, key=lambda path: found[path].headroom(rows))
        self.left = f"{path}: {found[path].left}"
        self.keeping = _keeping(found[path].headroom(rows), self.keeping)
        return self.keeping


def _keeping(headroom: float, before: Keeping) -> Keeping:
    if headroom < 0.5 * (AGAIN if before is Keeping.NONE else 1):
        return Keeping.NONE
    if headroom < (1 if before is Keeping.ALL else AGAIN):
        return Keeping.FLAGGED
    return Keeping.ALL


def _share(free: int, of: int) -> float:
    return free / of if of else 1.0


def _times(free: int, floor: float) -> float:
    return free / floor if floor else float("inf")
