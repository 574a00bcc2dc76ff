"""What became of images that are not kept, in figures."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCounts:
    """Images that are not there although parts had frames; those that nobody asked to keep do not count."""

    removed: int = 0
    """To make room for newer ones."""

    removed_bytes: int = 0
    """Their files, maps included."""

    no_room: int = 0
    """Never kept, because there was no room."""

    lost: int = 0
    """They could not be written."""

    def __add__(self, more: Self) -> Self:
        return type(self)(
            removed=self.removed + more.removed,
            removed_bytes=self.removed_bytes + more.removed_bytes,
            no_room=self.no_room + more.no_room,
            lost=self.lost + more.lost,
        )
