"""The list of parts: pages by key, what comes next, and how much is left.

Texts of enums are read as texts: a row of a later version shows as what it says, never as a crash.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, and_, func, or_, select
from sqlmodel import Session, col

from partgate.records import Frame, ImageState, Part, Recipe, Review, User, latest_first
from partgate.review._filter import Filter
from partgate.review._rows import row, rows, text_of
from partgate.review._worst_frame import worst_of

PAGE_SIZE = 24
MOST_COUNTED = 1000
"""Nobody needs to know exactly how many more there are, and counting them takes its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewLine:
    """A review as a page shows it. `finding` is the row's text, whatever it says."""

    id: uuid.UUID
    part_id: uuid.UUID
    finding: str
    note: str
    reviewer: str
    reviewer_id: int
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PartLine:
    """A part as the list shows it. `verdict` is the row's text, None while the part is open."""

    id: uuid.UUID
    station_id: str
    trigger_id: int
    triggered_at: datetime
    serial_number: str | None
    product: str | None
    verdict: str | None
    reason: str | None
    score: float | None
    frame_id: uuid.UUID | None = None
    """Of the frames whose image is kept the one with the highest score, None if there is none."""
    review: ReviewLine | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePage:
    """One page of the list, newest first. `newer` and `older` name the part a neighbour page hangs on."""

    parts: tuple[PartLine, ...]
    newer: uuid.UUID | None
    older: uuid.UUID | None


def queue_page(
    session: Session, choice: Filter, *, before: uuid.UUID | None = None, after: uuid.UUID | None = None
) -> QueuePage:
    """Return a page: the newest parts, or those next to a part in one direction.

    A page hangs on a part and not on a count, so parts that arrive meanwhile move nothing.
    """
    anchor = before or after
    key = None if anchor is None else part_key(session, anchor)
    upwards = before is None and after is not None
    query = _lines().where(choice.condition()).limit(PAGE_SIZE + 1)
    if key is not None:
        query = query.where(newer_than(key) if upwards else older_than(key))
    found = rows(session, query.order_by(*_order(upwards=upwards)))
    return _as_page(session, found, anchored=key is not None, upwards=upwards)


def _as_page(session: Session, found: Sequence[RowMapping], *, anchored: bool, upwards: bool) -> QueuePage:
    more = len(found) > PAGE_SIZE
    lines = [PartLine(**line) for line in found[:PAGE_SIZE]]
    if upwards:
        lines.reverse()
    parts = with_details(session, lines)
    has_newer, has_older = (more, True) if upwards else (anchored, more)
    return QueuePage(
        parts=parts,
        newer=parts[0].id if parts and has_newer else None,
        older=parts[-1].id if parts and has_older else None,
    )


def neighbour(session: Session, choice: Filter, part_id: uuid.UUID, *, upwards: bool) -> uuid.UUID | None:
    """Return the next older part of a choice, or the next newer one with `upwards`."""
    key = part_key(session, part_id)
    if key is None:
        return None
    side = newer_than(key) if upwards else older_than(key)
    return _first(session, and_(choice.condition(), side), upwards=upwards)


def newest_open(session: Session, choice: Filter, *, busy: Collection[uuid.UUID] = ()) -> uuid.UUID | None:
    """Return the newest part of a choice that nobody has reviewed yet.

    Args:
        session: any.
        choice: of parts.
        busy: parts that others look at; they are stepped over as long as there is another.
    """
    return _first_free(session, [choice.open_condition()], busy)


def next_open(
    session: Session, choice: Filter, part_id: uuid.UUID, *, busy: Collection[uuid.UUID] = ()
) -> uuid.UUID | None:
    """Return the part to look at after this one: the next older unreviewed one, else the newest.

    Args:
        session: any.
        choice: of parts.
        part_id: the one that comes before; it need not be there.
        busy: parts that others look at; they are stepped over as long as there is another.
    """
    key = part_key(session, part_id)
    still_open = choice.open_condition()
    below = [] if key is None else [and_(still_open, older_than(key))]
    return _first_free(session, [*below, still_open], busy)


def _first_free(
    session: Session, conditions: Sequence[ColumnElement[bool]], busy: Collection[uuid.UUID]
) -> uuid.UUID | None:
    """Return the newest part under the first condition that has one; those that others look at come last."""
    free = [and_(condition, col(Part.id).not_in(busy)) for condition in conditions] if busy else []
    found = (_first(session, condition, upwards=False) for condition in [*free, *conditions])
    return next((part_id for part_id in found if part_id is not None), None)


def _first(session: Session, condition: ColumnElement[bool], *, upwards: bool) -> uuid.UUID | None:
    query = select(col(Part.id)).where(condition).order_by(*_order(upwards=upwards))
    return session.connection().scalar(query.limit(1))


def count_open(session: Session, choice: Filter) -> int:
    """Return how many parts of a choice nobody has reviewed yet; beyond `MOST_COUNTED` one more than that."""
    some = select(col(Part.id)).where(choice.open_condition()).limit(MOST_COUNTED + 1).subquery()
    return session.connection().scalar(select(func.count()).select_from(some)) or 0


def products(session: Session) -> list[str]:
    """Return the products that have a recipe, in the order of the alphabet."""
    query = select(col(Recipe.product)).distinct().order_by(col(Recipe.product))
    return list(session.connection().scalars(query).all())


def reviews_of(session: Session, part_ids: Sequence[uuid.UUID]) -> list[ReviewLine]:
    """Return all reviews of these parts, latest first."""
    query: Select[*tuple[Any, ...]] = (
        select(
            col(Review.id),
            col(Review.part_id),
            text_of(Review.finding),
            col(Review.note),
            col(User.name).label("reviewer"),
            col(Review.reviewer_id),
            col(Review.decided_at),
        )
        .join(User, col(User.id) == col(Review.reviewer_id))
        .where(col(Review.part_id).in_(part_ids))
        .order_by(*latest_first())
    )
    return [ReviewLine(**line) for line in rows(session, query)]


def with_details(session: Session, lines: Sequence[PartLine]) -> tuple[PartLine, ...]:
    """Return the lines with their latest review and the frame to show."""
    ids = [line.id for line in lines]
    latest = {review.part_id: review for review in reversed(reviews_of(session, ids))}
    frames = _worst_kept_frames(session, ids)
    return tuple(replace(line, review=latest.get(line.id), frame_id=frames.get(line.id)) for line in lines)


def _worst_kept_frames(session: Session, part_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    query: Select[*tuple[Any, ...]] = (
        select(col(Frame.part_id), col(Frame.id), col(Frame.score))
        .where(col(Frame.part_id).in_(part_ids), col(Frame.image_state) == ImageState.KEPT)
        .order_by(col(Frame.id))
    )
    kept: defaultdict[uuid.UUID, list[RowMapping]] = defaultdict(list)
    for frame in rows(session, query):
        kept[frame["part_id"]].append(frame)
    return {
        part_id: frames[worst_of([frame["score"] for frame in frames])]["id"]
        for part_id, frames in kept.items()
    }


def _lines() -> Select[*tuple[Any, ...]]:
    return select(
        col(Part.id),
        col(Part.station_id),
        col(Part.trigger_id),
        col(Part.triggered_at),
        col(Part.serial_number),
        col(Part.product),
        text_of(Part.verdict),
        col(Part.reason),
        col(Part.score),
    )


def part_key(session: Session, part_id: uuid.UUID) -> tuple[datetime, uuid.UUID] | None:
    """Return where a part stands in the list, None if there is no such part."""
    found = row(session, select(col(Part.triggered_at), col(Part.id)).where(col(Part.id) == part_id))
    return None if found is None else (found["triggered_at"], found["id"])


def older_than(key: tuple[datetime, uuid.UUID]) -> ColumnElement[bool]:
    """Return the condition of standing below a part in the list.

    The first half alone bounds the time, so that an index can serve it.
    """
    at, part_id = key
    time = col(Part.triggered_at)
    return and_(time <= at, or_(time < at, col(Part.id) < part_id))


def newer_than(key: tuple[datetime, uuid.UUID]) -> ColumnElement[bool]:
    """Return the condition of standing above a part in the list."""
    at, part_id = key
    time = col(Part.triggered_at)
    return and_(time >= at, or_(time > at, col(Part.id) > part_id))


def _order(*, upwards: bool) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    time, part_id = col(Part.triggered_at), col(Part.id)
    return (time.asc(), part_id.asc()) if upwards else (time.desc(), part_id.desc())
