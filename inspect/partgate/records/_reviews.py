"""Which review of a part is its latest: one rule, for whoever shows it and whoever learns from it."""

from typing import Any

from sqlalchemy import ColumnElement, Subquery, func, select
from sqlmodel import col

from partgate.records._tables import Review


def latest_first() -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Return how a part's reviews are ordered: the latest decided comes first."""
    return col(Review.decided_at).desc(), col(Review.id).desc()


def latest_reviews() -> Subquery:
    """Return `part_id` and `review_id` of every reviewed part's latest review, as a table to join."""
    place = func.row_number().over(partition_by=col(Review.part_id), order_by=latest_first())
    ranked = select(col(Review.part_id), col(Review.id).label("review_id"), place.label("place")).subquery()
    return select(ranked.c.part_id, ranked.c.review_id).where(ranked.c.place == 1).subquery()
