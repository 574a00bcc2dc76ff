"""The disks that stations write to, for `partgate status`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partgate.records import Room

SCARCE_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Disks:
    """The room of each place of a home, by name: `home` for the rows, `images`, `maps`."""

    rooms: "Mapping[str, Room]"

    def lines(self) -> Iterator[tuple[str, str, str]]:
        """Yield what is said of each disk: its name, how much is free, and a style; a disk once."""
        seen: set[int] = set()
        for place, room in self.rooms.items():
            if room.device not in seen:
                yield ("disk" if place == "home" else place, *self._said(room))
            seen.add(room.device)

    def _said(self, room: "Room") -> tuple[str, str]:
        rows = self.rooms.get("home")
        has_images = any(
            room.device == self.rooms[place].device for place in ("images", "maps") if place in self.rooms
        )
        headroom = room.headroom(rows) if has_images and rows is not None else float("inf")
        if rows is not None and room.device == rows.device and not room.takes_rows:
            return f"{room.left}: rows can soon not be written, the station is not ready", "bold red"
        if headroom < 1:
            whose = "no images" if headroom < 0.5 else "no images of accepted parts"  # noqa: PLR2004
            return f"{room.left}: {whose} are kept", "bold red"
        return room.left, "yellow" if room.share_free < SCARCE_SHARE else ""


def disks_json(disks: Disks) -> dict[str, Any]:
    """Return the disks as programs rely on them: `disk` is that of the rows."""
    return {
        "disk": _sizes(disks.rooms["home"]) if "home" in disks.rooms else None,
        "disks": {
            place: _sizes(room) | {"free_files": room.free_files if room.total_files else None}
            for place, room in disks.rooms.items()
        },
    }


def _sizes(room: "Room") -> dict[str, int]:
    return {"free_bytes": room.free_bytes, "total_bytes": room.total_bytes}
