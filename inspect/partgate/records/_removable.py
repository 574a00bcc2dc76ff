"""Which images may make room: the oldest accepted parts' that nobody reviewed and nothing else names.

Oldest by the order of triggers, never by a date: a clock that leaps must not empty the store.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, exists, func, select, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from partgate.records._suspects import SuspectTriggers
from partgate.records._tables import Frame, ImageState, OrphanFrame, Part, Review, SnapshotImage
from partgate_station import Verdict

WINDOW = 512  # triggers looked at by one act, of which none may make room
PARTS = 32  # twice as many as are written at once, so that removing keeps up with what comes
LATEST = 128  # triggers that may be in work still, and what a person has just seen: their images stay


@dataclass(frozen=True, slots=True, kw_only=True)
class Removable:
    """A kept frame whose image may go."""

    trigger_id: int
    closed_at: datetime
    """Of its part, after its files were written."""

    frame_id: uuid.UUID
    image_sha256: str
    map_sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What one look found."""

    frames: Sequence[Removable]
    reached: int
    """The trigger up to which all was looked at."""

    is_end: bool
    """Whether nothing more is there to look at."""


def choose(session: Session, station_id: str, after: int, suspects: SuspectTriggers) -> Chosen:
    """Return the frames of at most `PARTS` parts whose images may go, among the next `WINDOW` triggers.

    Args:
        session: of the act that removes them: what is found stays so.
        station_id: other stations look after their own.
        after: the trigger reached before.
        suspects: parts that somebody is to judge again.
    """
    first, last = _next(session, station_id, after), _newest(session, station_id) - LATEST
    if first is None or first > last:
        return Chosen(frames=(), reached=after, is_end=True)
    last = min(last, first + WINDOW - 1)
    frames: list[Removable] = []
    parts: set[int] = set()
    suspects.read(session)
    with session.connection().execute(_statement(station_id, first, last)) as rows:
        for row in rows.mappings():
            found = Removable(**row)
            if suspects.hold(found.trigger_id):
                continue
            if len(parts) == PARTS and found.trigger_id not in parts:
                last = found.trigger_id - 1
                break
            parts.add(found.trigger_id)
            frames.append(found)
    return Chosen(frames=frames, reached=last, is_end=False)


def let_go(session: Session, frames: Sequence[Removable]) -> Sequence[str]:
    """Have frames' rows name no files any more; return the maps that other rows still name."""
    if not frames:
        return ()
    connection = session.connection()
    connection.execute(_LET_GO, [{"gone": frame.frame_id} for frame in frames])
    maps = [frame.map_sha256 for frame in frames if frame.map_sha256 is not None]
    still_named = select(col(Frame.map_sha256)).where(col(Frame.map_sha256).in_(maps))
    return [name for name in connection.scalars(still_named) if name is not None] if maps else ()


_LET_GO = (
    update(Frame)
    .where(col(Frame.id) == bindparam("gone"))
    .values(image_state=ImageState.NOT_KEPT, image_sha256=None, map_sha256=None, map_box=None)
)


def _next(session: Session, station_id: str, after: int) -> int | None:
    statement = select(func.min(Part.trigger_id)).where(
        col(Part.station_id) == station_id, col(Part.trigger_id) > after
    )
    return session.connection().scalar(statement)


def _newest(session: Session, station_id: str) -> int:
    statement = select(func.max(Part.trigger_id)).where(col(Part.station_id) == station_id)
    return session.connection().scalar(statement) or 0


def _statement(station_id: str, first: int, last: int) -> Select[*tuple[Any, ...]]:
    other = aliased(Frame)
    return (
        select(
            col(Part.trigger_id).label("trigger_id"),
            col(Part.closed_at).label("closed_at"),
            col(Frame.id).label("frame_id"),
            col(Frame.image_sha256).label("image_sha256"),
            col(Frame.map_sha256).label("map_sha256"),
        )
        .join(Frame, col(Frame.part_id) == col(Part.id))
        .where(
            col(Part.station_id) == station_id,
            col(Part.trigger_id).between(first, last),
            col(Part.verdict) == Verdict.ACCEPT,
            col(Frame.image_state) == ImageState.KEPT,
            ~exists().where(col(Review.part_id) == col(Part.id)),
            ~exists().where(
                col(other.image_sha256) == col(Frame.image_sha256), col(other.id) != col(Frame.id)
            ),
            ~exists().where(col(SnapshotImage.image_sha256) == col(Frame.image_sha256)),
            ~exists().where(col(OrphanFrame.image_sha256) == col(Frame.image_sha256)),
        )
        .order_by(col(Part.trigger_id))
    )
