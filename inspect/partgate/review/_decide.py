"""What a reviewer decides becomes a row, with its audit row in the same transaction."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select
from sqlmodel import Session, col

from partgate.records import Finding, Part, Review, audit, utc_now
from partgate.review._queue import ReviewLine, reviews_of
from partgate.review._rows import row, text_of

MAX_NOTE_LENGTH = 2000


class Outcome(StrEnum):
    """What became of a decision."""

    ADDED = "ADDED"
    REPEATED = "REPEATED"
    """The same person said the same a moment ago, as when a button is pressed twice; nothing was added."""
    OVERTAKEN = "OVERTAKEN"
    """Somebody found otherwise after this person opened the part; nothing was added."""
    NO_SUCH_PART = "NO_SUCH_PART"
    NOT_JUDGED_YET = "NOT_JUDGED_YET"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person decided, and what they knew: `seen` is the latest review on their page."""

    part_id: uuid.UUID
    finding: Finding
    note: str
    reviewer_id: int
    reviewer: str
    seen: uuid.UUID | None


def clean_note(note: str) -> str:
    """Return a note with plain line ends and without characters that nobody can type or see."""
    plain = note.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(letter for letter in plain if letter in "\n\t" or ord(letter) >= ord(" ")).strip()


def decide(session: Session, decision: Decision) -> Outcome:
    """Add a review and its audit row, unless something speaks against it."""
    part = row(session, select(text_of(Part.verdict)).where(col(Part.id) == decision.part_id))
    if part is None:
        return Outcome.NO_SUCH_PART
    if part["verdict"] is None:
        return Outcome.NOT_JUDGED_YET
    latest = next(iter(reviews_of(session, [decision.part_id])), None)
    if latest is not None and latest.id != decision.seen:
        if _says_the_same(latest, decision):
            return Outcome.REPEATED
        # Who found the same overrules nobody, and what they wrote is kept.
        if latest.finding != decision.finding.value:
            return Outcome.OVERTAKEN
    _add(session, decision, verdict=part["verdict"], latest=latest)
    return Outcome.ADDED


def _says_the_same(latest: ReviewLine, decision: Decision) -> bool:
    return (latest.reviewer_id, latest.finding, latest.note) == (
        decision.reviewer_id,
        decision.finding.value,
        decision.note,
    )


def _decided_at(latest: ReviewLine | None) -> datetime:
    """Return the time now, or just after the latest review where the clock has stepped back behind it."""
    now = utc_now()
    return now if latest is None else max(now, latest.decided_at + timedelta(microseconds=1))


def _add(session: Session, decision: Decision, *, verdict: str, latest: ReviewLine | None) -> None:
    review = Review(
        part_id=decision.part_id,
        finding=decision.finding,
        note=decision.note,
        reviewer_id=decision.reviewer_id,
        decided_at=_decided_at(latest),
    )
    session.add(review)
    session.flush()
    audit.append(
        session,
        who=decision.reviewer,
        what="review.add",
        subject=f"part:{decision.part_id}",
        before=None if latest is None else {"finding": latest.finding, "review": str(latest.id)},
        after={"finding": decision.finding.value, "review": str(review.id), "verdict": verdict},
        why=decision.note,
    )
