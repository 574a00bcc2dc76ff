"""The disks that a station writes to: whether rows can be written, and what a person has to put right.

rows' disk below its floor --> the proof "disk" fails: no row, no verdict
images' disk below its floor, or nearly full with nothing to remove --> an alarm: parts go on
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from partgate.records import (
    AskRoom,
    Home,
    ImageRoom,
    Keeping,
    Room,
    RowsRoom,
    places_of,
    room_of,
    rooms_of,
)

NEARLY_FULL_BELOW, NO_MORE_FROM = 0.10, 0.11  # of a disk that is free

_KEPT = {
    Keeping.FLAGGED: "images of accepted parts are not kept",
    Keeping.NONE: "no images are kept",
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alarm:
    """What a person has to put right."""

    about: str
    """The same while the alarm lasts, whatever the figures."""

    says: str
    grade: str = ""
    """Changes where the same becomes better or worse."""


class StationDisks:
    """Asks the disks of a home. `problem` is one thread's at a time; the rest may be called by any.

    Args:
        home: where rows and images are written.
        makes_room: whether images of accepted parts are removed where room is short.
        nothing_to_remove: asked whether none is there that may be removed.
        ask: how a disk is asked.
    """

    def __init__(
        self,
        home: Home,
        *,
        makes_room: bool = False,
        nothing_to_remove: Callable[[], bool] = lambda: False,
        ask: AskRoom = room_of,
    ) -> None:
        self._home, self._ask = home, ask
        self._makes_room, self._nothing_to_remove = makes_room, nothing_to_remove
        self._images, self._rows = ImageRoom(home, ask=ask), RowsRoom(home, ask=ask)
        self._alarms: tuple[_Alarm, ...] = ()  # replaced, never changed: others read it
        self._lock = threading.Lock()

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is to be put right, as it was when `problem` was last called."""
        return tuple(alarm.says for alarm in self._alarms)

    def rooms(self) -> Mapping[str, Room]:
        """Return the room of each place, as `places_of` names them; one that cannot be asked is left out."""
        return rooms_of(self._home, self._ask)  # no figure rather than a wrong one: `problem` says why

    def problem(self) -> str | None:
        """Look at the disks; return why rows can soon not be written, None while they can."""
        with self._lock:
            before, self._alarms = self._alarms, tuple(self._found())
            _tell(before, self._alarms)
            return self._rows.problem()

    def _found(self) -> Iterator[_Alarm]:
        for path in (self._home.images_path, self._home.maps_path):
            yield from self._away(path)
        if (kept := self._images.look()) is not Keeping.ALL:
            says = f"{self._images.left}: {_KEPT[kept]}; free some room"
            yield _Alarm(about="floor", says=says, grade=kept)
        yield from self._nearly_full(self.rooms(), at_floor=kept is not Keeping.ALL)

    def _away(self, path: Path) -> Iterator[_Alarm]:
        try:
            self._ask(path)
        except OSError as error:
            why = f"its disk cannot be asked ({error.strerror})"
            yield _Alarm(about=f"{path} away", says=f"{path}: {why}; images are lost")

    def _nearly_full(self, rooms: Mapping[str, Room], *, at_floor: bool) -> Iterator[_Alarm]:
        """Yield the disks that go on filling up; each once, by the first place on it."""
        images = rooms.get("images")
        seen: set[int] = set()
        for name, room in rooms.items():
            about = f"{name} nearly full"
            limit = NO_MORE_FROM if about in {alarm.about for alarm in self._alarms} else NEARLY_FULL_BELOW
            has_images = images is not None and room.device == images.device
            room_is_made = has_images and self._makes_room and not self._nothing_to_remove()
            if room.device in seen or room.share_free >= limit or room_is_made or (has_images and at_floor):
                continue
            seen.add(room.device)
            path = places_of(self._home)[name]
            yield _Alarm(
                about=about, says=f"{path}: {room.left}, and nothing more is removed; free some room"
            )


def _tell(before: tuple[_Alarm, ...], now: tuple[_Alarm, ...]) -> None:
    """Log what has begun or changed, and what is over."""
    known, there = {(alarm.about, alarm.grade) for alarm in before}, {alarm.about for alarm in now}
    for alarm in now:
        if (alarm.about, alarm.grade) not in known:
            log.error("disk alarm", why=alarm.says)
    for alarm in before:
        if alarm.about not in there:
            log.warning("disk alarm is over", was=alarm.says)
