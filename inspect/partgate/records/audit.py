"""Who did what, when and why: rows that are only ever added, each holding the hash of the one before.

A row that was changed, exchanged or taken out of the middle breaks the chain at its place. What a
chain cannot show is that its last rows were cut off; for that its head must be kept elsewhere.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, or_
from sqlmodel import Session, col, select

from partgate.records._canonical import canonical, sha256
from partgate.records._errors import StoreDamaged
from partgate.records._tables import Audit, utc_now

__all__ = ["Chain", "append", "check", "entries", "verify"]

BEGINNING = "0" * 64
PAGE_ROWS = 1000
# A time that is none, or text that is no JSON: nothing here wrote it.
UNREADABLE = (TypeError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What a check of the chain came to."""

    entries: int
    """The rows there are."""

    last_sha256: str
    """Of the last row that is whole; zeros where there is none."""

    first_broken: int | None = None
    """The number of the first row that is not as it was written; None: all are."""

    is_missing: bool = False
    """Whether that row is gone."""


def append(
    session: Session,
    *,
    who: str,
    what: str,
    subject: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    why: str = "",
) -> Audit:
    """Add a row to the chain, in the transaction of the act that it tells of.

    Args:
        session: one that `Database.write` gave; there nobody can come in between.
        who: the user's name, or the program's part that acted by itself.
        what: the act as `noun.verb`, such as `recipe.activate`.
        subject: what was acted on, such as `recipe:7`.
        before: JSON values; what was so before, None where there was nothing.
        after: JSON values; what is so now.
        why: the reason given.
    """
    last = session.exec(select(Audit).order_by(col(Audit.seq).desc()).limit(1)).first()
    row = Audit(
        seq=1 if last is None else _seq(last) + 1,
        at=utc_now(),
        who=who,
        what=what,
        subject=subject,
        before=canonical(before)[0],
        after=canonical(after)[0],
        why=why,
        previous_sha256=BEGINNING if last is None else last.sha256,
        sha256="",
    )
    row.sha256 = _digest(row)
    session.add(row)
    session.flush()
    return row


def entries(
    session: Session, *, what: str = "", subject: str = "", limit: int | None = None
) -> Sequence[Audit]:
    """Return rows of the trail, the newest first.

    Args:
        session: one that `Database.read` gave.
        what: only this act, as `recipe.activate`, or all acts on a thing, as `recipe`; empty for all.
        subject: only of this, as `recipe:7`, or of all of its kind, as `recipe`; empty for all.
        limit: how many at most; None for all.

    Raises:
        StoreDamaged: one of them cannot be read.
    """
    query = select(Audit).where(*_called(Audit.what, what, "."), *_called(Audit.subject, subject, ":"))
    try:
        return session.exec(query.order_by(col(Audit.seq).desc()).limit(limit)).all()
    except UNREADABLE as error:
        raise StoreDamaged(
            "the audit trail has an entry that cannot be read; `partgate audit --verify` names it"
        ) from error


def check(session: Session, progress: Callable[[int, int], None] = lambda done, total: None) -> Chain:
    """Follow the chain from its beginning to its end, or to the first row at which it is broken.

    Args:
        session: one that `Database.read` gave; rows added since are not seen.
        progress: called with the rows done and all there are.
    """
    total = session.exec(select(func.count()).select_from(Audit)).one()
    seq, previous = 0, BEGINNING
    for page in _pages(session):
        for row in page:
            if row is None or not _follows(row, seq, previous):
                is_missing = row is not None and _seq(row) > seq + 1
                return Chain(entries=total, last_sha256=previous, first_broken=seq + 1, is_missing=is_missing)
            seq, previous = seq + 1, row.sha256
        progress(seq, total)
    return Chain(entries=total, last_sha256=previous)


def verify(session: Session) -> int | None:
    """Return the number of the first row at which the chain is broken, None if it is whole."""
    return check(session).first_broken


def _called(column: Any, name: str, separator: str) -> Iterator[ColumnElement[bool]]:
    if name:
        yield or_(col(column) == name, col(column).startswith(name + separator, autoescape=True))


def _pages(session: Session) -> Iterator[Sequence[Audit | None]]:
    """Yield the rows in their order; a row that cannot be read is None, and the last one."""
    after: int = 0
    while page := _page(session, after, PAGE_ROWS):
        yield page
        last = page[-1]
        if last is None:
            return
        after = _seq(last)


def _page(session: Session, after: int, rows: int) -> Sequence[Audit | None]:
    """Return the rows after one; fewer where one of them cannot be read, and None for that one itself."""
    query = select(Audit).where(col(Audit.seq) > after).order_by(col(Audit.seq)).limit(rows)
    try:
        return session.exec(query).all()
    except UNREADABLE:
        return [None] if rows == 1 else _page(session, after, rows // 2)


def _follows(row: Audit, seq: int, previous: str) -> bool:
    """Return whether a row is the one after `seq`, as it was written."""
    if _seq(row) != seq + 1 or row.previous_sha256 != previous:
        return False
    try:
        return row.sha256 == _digest(row)
    except (AttributeError, TypeError, ValueError):  # a column holds what no row was ever given
        return False


def _seq(row: Audit) -> int:
    if row.seq is None:
        raise ValueError("an audit row without a number was never in the table")
    return row.seq


def _digest(row: Audit) -> str:
    return sha256(
        {
            "seq": row.seq,
            "at": row.at.isoformat(),
            "who": row.who,
            "what": row.what,
            "subject": row.subject,
            "before": row.before,
            "after": row.after,
            "why": row.why,
            "previous_sha256": row.previous_sha256,
        }
    )
