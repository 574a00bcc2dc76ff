"""Whether too little is free where images lie, and whether what was removed shows already.

    ENOUGH --less than the share is free--> SHORT --a hundredth of the disk above the share--> ENOUGH

Nothing here is removed: `_making_room.py`.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from partgate.records._home import Home
from partgate.records._image_counts import ImageCounts
from partgate.records._room import AskRoom, Room

MARGIN = 0.01  # of the disk, beyond the share
FLOOR_MARGIN = 1.25  # of the floor, where that is more than the share


@dataclass(frozen=True, slots=True, kw_only=True)
class _Missing:
    """What is missing of a disk's room, when it was looked at."""

    bytes: float
    files: float

    @property
    def is_any(self) -> bool:
        return self.bytes > 0 or self.files > 0

    @classmethod
    def of(cls, room: Room, rows: Room, *, share: float, floor_times: float) -> Self:
        floor_bytes = room.reserved_bytes(rows) + floor_times * room.floor_bytes
        floor_files = floor_times * room.floor_files
        return cls(
            bytes=max(share * room.usable_bytes, floor_bytes) - room.free_bytes,
            files=max(share * room.total_files, floor_files) - room.free_files,
        )


class Shortage:
    """Looks at the disk of the images. Used by one thread.

    Args:
        home: whose images.
        share: of the disk, to be free.
        ask: how a disk is asked.
    """

    def __init__(self, home: Home, *, share: float, ask: AskRoom) -> None:
        self._home, self._share, self._ask = home, share, ask
        self._began: tuple[_Missing, ImageCounts] | None = None
        """What was missing, and what had been removed before; None while enough is free."""
        self._shows = True
        self.left = ""
        """How much was free, in words."""

    @property
    def is_over(self) -> bool:
        """Whether enough was free."""
        return self._began is None

    def look(self, removed: ImageCounts) -> bool:
        """Ask the disk; return whether something is to be removed now, rather than a while later.

        There are file systems that give back what was deleted half a minute later. Once as much was removed
        as was missing, and nothing of it could be seen, the next look is to come a while later.

        Args:
            removed: by this process, in all.
        """
        rows, room = self._asked(self._home.path), self._asked(self._home.images_path)
        if rows is None or room is None:  # nor can it be written: that is said by who tries
            return False
        self.left = room.left
        if self.is_over and not _Missing.of(room, rows, share=self._share, floor_times=1).is_any:
            return False
        missing = _Missing.of(room, rows, share=self._share + MARGIN, floor_times=FLOOR_MARGIN)
        if not missing.is_any:
            self._began = None
            return False
        if self._began is not None and not _was_removed(*self._began, removed):
            return True
        is_first, self._began = self._began is None, (missing, removed)
        return is_first or self._shows

    @contextlib.contextmanager
    def seeing(self) -> Iterator[None]:
        """See whether what is deleted meanwhile shows."""
        before = self._asked(self._home.images_path)
        yield
        now = self._asked(self._home.images_path)
        if before is not None and now is not None:
            self._shows = now.free_bytes > before.free_bytes or now.free_files > before.free_files

    def _asked(self, path: Path) -> Room | None:
        try:
            return self._ask(path)
        except OSError:
            return None


def _was_removed(missing: _Missing, before: ImageCounts, removed: ImageCounts) -> bool:
    """Return whether as much was removed as was missing."""
    freed_bytes = removed.removed_bytes - before.removed_bytes
    return freed_bytes >= missing.bytes and removed.removed - before.removed >= missing.files
