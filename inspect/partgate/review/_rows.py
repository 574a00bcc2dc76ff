"""Reads rows as plain columns: no object of the ORM, and so no enum that must be known, is made."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Executable, Label, RowMapping, String, type_coerce
from sqlmodel import Session, col


def rows(session: Session, query: Executable) -> Sequence[RowMapping]:
    """Return all rows of a query, each by its columns' names."""
    return session.connection().execute(query).mappings().all()


def row(session: Session, query: Executable) -> RowMapping | None:
    """Return the first row of a query, None if there is none."""
    return session.connection().execute(query).mappings().first()


def text_of(column: Any) -> Label[str]:
    """Return an enum's column as the text that is stored, whatever it says."""
    return type_coerce(col(column), String).label(column.key)
