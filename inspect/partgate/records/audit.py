"""Who did what, when and why: rows that are only ever added, each holding the hash of the one before.

A row that was changed, exchanged or taken out of the middle breaks the chain at its place. What a
chain cannot show is that its last rows were cut off; for that its head must be kept elsewhere.
"""

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session, col, select

from partgate.records._canonical import canonical, sha256
from partgate.records._tables import Audit, utc_now

__all__ = ["append", "verify"]

BEGINNING = "0" * 64


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


def verify(session: Session) -> int | None:
    """Return the number of the first row at which the chain is broken, None if it is whole."""
    expected_seq, previous = 1, BEGINNING
    for row in session.exec(select(Audit).order_by(col(Audit.seq)).execution_options(yield_per=1000)):
        linked = row.seq == expected_seq and row.previous_sha256 == previous
        if not linked or row.sha256 != _digest(row):
            return expected_seq
        expected_seq, previous = expected_seq + 1, row.sha256
    return None


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
