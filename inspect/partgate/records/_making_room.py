"""Making room for new images: the oldest accepted parts' go, a few at a time, between two batches.

    too little is free --> rows say NOT_KEPT, committed --> files deleted --> too little is free? ...

A kill after the commit leaves files that no row names, and no wrong row.

docs/decisions/0032 has why.
"""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import nullcontext
from dataclasses import dataclass

import structlog
from sqlmodel import Session

from partgate.records import audit
from partgate.records._database import Database
from partgate.records._image_counts import ImageCounts
from partgate.records._images import ImageStore
from partgate.records._removable import Removable, choose, let_go
from partgate.records._room import GIB, AskRoom, room_of
from partgate.records._shortage import Shortage
from partgate.records._suspects import SuspectTriggers

WHAT = "image.remove"
STEP_S = 0.02  # for files, and as long for rows: a batch that comes meanwhile waits no longer
REST_S = 10.0  # after an error, with nothing to remove, or nothing to be seen of what was removed
TELL_EVERY_S = 3600.0  # of a round that does not end
AUDIT_EVERY_S, AUDIT_EVERY_IMAGES = 86_400.0, 100_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gone:
    """Frames whose rows name no files any more."""

    frames: tuple[Removable, ...]
    maps_still_named: frozenset[str]
    reached: int
    is_end: bool
    audited: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file that no row names any more."""

    sha256: str
    is_map: bool
    frame: Removable


class RoomMaker:
    """Removes images while too little of their disk is free. Used by one thread.

    Args:
        database: its writing thread commits.
        images: of the home; only what this station's rows name is removed.
        station_id: whose images go.
        share: of the images' disk, to be free; 0: nothing is removed.
        ask: how a disk is asked.
        clock: in seconds, never going back.
    """

    def __init__(
        self,
        database: Database,
        images: ImageStore,
        *,
        station_id: str,
        share: float,
        ask: AskRoom = room_of,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._images, self._station_id = database, images, station_id
        self._shortage = Shortage(database.home, share=share, ask=ask) if share else None
        self._clock = clock
        self._suspects = SuspectTriggers(station_id)
        self._reached: int | None = None
        """The trigger up to which all was looked at; None: the trail has not been asked yet."""
        self._pending: Future[_Gone] | None = None
        self._files: deque[_File] = deque()
        self._rest_until_s = 0.0
        self._audit_at_s = 0.0
        self._tell_at_s = clock() + TELL_EVERY_S
        self._not_in_trail = 0
        self._all = self._round = self._told = ImageCounts()
        self._first: int | None = None
        self.nothing_to_remove = False
        """Whether there is too little room, and no image that may go."""

    def step(self) -> bool:
        """Go on, for some hundredths of a second at most; return whether there is more to do at once.

        Raises:
            StoreError: rows or files could not be changed; `step` does nothing for a while then.
        """
        if self._shortage is None or self._clock() < self._rest_until_s:
            return False
        try:
            return self._go_on(self._shortage)
        except Exception:
            self._rest_until_s = self._clock() + REST_S
            raise

    def take_counts(self) -> ImageCounts:
        """Return what was removed since this was last called."""
        told, self._told = self._told, ImageCounts()
        return told

    def finish(self, timeout_s: float) -> None:
        """Delete what rows name no more, and put into the trail what is not in it.

        Raises:
            StoreError: it could not be done; the trail's next entry covers it.
            TimeoutError: not in time.
        """
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._settle(pending.result(timeout_s))
        while self._files:
            self._delete(self._files.popleft())
        self._end_round()
        if self._not_in_trail:
            self._database.write(self._audit).result(timeout_s)
            self._not_in_trail = 0

    def _go_on(self, shortage: Shortage) -> bool:
        """Take up what was begun, or begin; what the disk takes long for is taken up by the next step."""
        is_begun = self._pending is not None
        if is_begun and not self._settled():
            return True
        self._delete_some(shortage)
        if self._files:
            return True
        if not self._look(shortage):
            return False
        self._pending = self._database.write(self._remove)
        if not is_begun and self._settled():
            self._delete_some(shortage)
        return self._clock() >= self._rest_until_s

    def _look(self, shortage: Shortage) -> bool:
        """Return whether something is to be removed now."""
        to_remove = shortage.look(self._all)
        if shortage.is_over:
            self.nothing_to_remove = False
        elif not to_remove:
            self._rest_until_s = self._clock() + REST_S
        if shortage.is_over or self._clock() >= self._tell_at_s:
            self._end_round(now=shortage.left)
        return to_remove

    def _end_round(self, now: str = "") -> None:
        if self._round.removed:
            log.info("images of accepted parts made room", images=self._round.removed,
                     gib=round(self._round.removed_bytes / GIB, 3), first_trigger=self._first,
                     last_trigger=self._reached, now=now)  # fmt: skip
        self._round, self._first = ImageCounts(), None
        self._tell_at_s = self._clock() + TELL_EVERY_S

    def _settled(self) -> bool:
        """Take note of what was committed; return False while it is not."""
        pending = self._pending
        if pending is None or not wait([pending], STEP_S).done:
            return False
        self._pending = None
        self._settle(pending.result())
        return True

    def _settle(self, gone: _Gone) -> None:
        for frame in gone.frames:
            self._files.append(_File(sha256=frame.image_sha256, is_map=False, frame=frame))
            if frame.map_sha256 is not None and frame.map_sha256 not in gone.maps_still_named:
                self._files.append(_File(sha256=frame.map_sha256, is_map=True, frame=frame))
        self._count(ImageCounts(removed=len(gone.frames)))
        self._reached = gone.reached
        if gone.frames and self._first is None:
            self._first = gone.frames[0].trigger_id
        self._not_in_trail = 0 if gone.audited else self._not_in_trail + len(gone.frames)
        if gone.audited:
            self._audit_at_s = self._clock() + AUDIT_EVERY_S
        if gone.is_end:
            self._rest_until_s = self._clock() + REST_S
            self._note_the_end()

    def _note_the_end(self) -> None:
        if not self.nothing_to_remove:
            log.warning("too little room for images, and none of an accepted part that may be removed",
                        station=self._station_id)  # fmt: skip
        self.nothing_to_remove = True  # until there is room: parts that are accepted meanwhile change little

    def _delete_some(self, shortage: Shortage) -> None:
        until_s = self._clock() + STEP_S
        with shortage.seeing() if self._files else nullcontext():
            while self._files and self._clock() < until_s:
                self._delete(self._files.popleft())

    def _delete(self, file: _File) -> None:
        remove = self._images.remove_map if file.is_map else self._images.remove
        self._count(ImageCounts(removed_bytes=remove(file.sha256, named_at=file.frame.closed_at)))

    def _count(self, more: ImageCounts) -> None:
        self._all += more
        self._round += more
        self._told += more

    # In the database's thread.

    def _remove(self, session: Session) -> _Gone:
        """Choose images, and have their rows say that they are not kept."""
        after = _reached_before(session, self._station_id) if self._reached is None else self._reached
        chosen = choose(session, self._station_id, after, self._suspects)
        still_named = let_go(session, chosen.frames)
        images = self._not_in_trail + len(chosen.frames)
        is_due = self._clock() >= self._audit_at_s or images >= AUDIT_EVERY_IMAGES
        audited = bool(chosen.frames) and is_due
        if audited:
            _append(session, self._station_id, last=chosen.reached, images=images)
        return _Gone(
            frames=tuple(chosen.frames),
            maps_still_named=frozenset(still_named),
            reached=chosen.reached,
            is_end=chosen.is_end,
            audited=audited,
        )

    def _audit(self, session: Session) -> None:
        _append(session, self._station_id, last=self._reached or 0, images=self._not_in_trail)


def _reached_before(session: Session, station_id: str) -> int:
    """Return the last trigger that the trail says was looked at: what is older is not looked at again."""
    found = audit.entries(session, what=WHAT, subject=f"station:{station_id}", limit=1)
    return int((found[0].after or {}).get("last_trigger_id", 0)) if found else 0


def _append(session: Session, station_id: str, *, last: int, images: int) -> None:
    """Put into the trail from which triggers on images went, joined to the entry before.

    So what a process removed that was killed before it said so is covered by the next entry.
    """
    audit.append(
        session,
        who=f"recorder:{station_id}",
        what=WHAT,
        subject=f"station:{station_id}",
        after={
            "first_trigger_id": _reached_before(session, station_id) + 1,
            "last_trigger_id": last,
            "images": images,
        },
        why="room for newer images: of accepted parts that nobody reviewed",
    )
