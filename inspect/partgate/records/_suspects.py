"""Parts that a model judged before it was found to answer wrongly: named in the audit trail."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import Session, col, select

from partgate.records import audit
from partgate.records._tables import Audit, Part
from partgate_station import Verdict

WHAT = "part.suspect"
BY = "station"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspectParts:
    """A range of a station's parts whose verdicts may be wrong."""

    station_id: str
    first_trigger_id: int
    last_trigger_id: int
    """The last part that was judged before the wrong answer, included."""

    model_id: str | None
    runtime: str | None
    why: str


def flag_suspects(session: Session, suspects: SuspectParts) -> Audit:
    """Add a row to the audit trail that names the parts; their own rows stay as they were written."""
    return audit.append(
        session,
        who=f"{BY}:{suspects.station_id}",
        what=WHAT,
        subject=f"station:{suspects.station_id}",
        after={
            "first_trigger_id": suspects.first_trigger_id,
            "last_trigger_id": suspects.last_trigger_id,
            "model_id": suspects.model_id,
            "runtime": suspects.runtime,
        },
        why=suspects.why,
    )


def suspects(session: Session, station_id: str | None = None) -> list[SuspectParts]:
    """Return the ranges of parts that were flagged, of one station or of all, the oldest first."""
    return _after(session, station_id, 0)


class SuspectTriggers:
    """Which triggers of a station are suspect; what was read of the trail is not read again.

    For one thread.
    """

    def __init__(self, station_id: str) -> None:
        self._station_id, self._read_to = station_id, 0
        self._ranges: list[tuple[int, int]] = []

    def read(self, session: Session) -> None:
        """Take up what was flagged since."""
        last = session.exec(select(func.max(Audit.seq))).one() or 0
        if last > self._read_to:
            found = _after(session, self._station_id, self._read_to)
            self._ranges += [(one.first_trigger_id, one.last_trigger_id) for one in found]
            self._read_to = last

    def hold(self, trigger_id: int) -> bool:
        """Return whether a trigger is one of them."""
        return any(first <= trigger_id <= last for first, last in self._ranges)


def latest_triggers(session: Session, station_id: str, *, model_id: str, most: int) -> Sequence[int]:
    """Return the triggers of the last parts that a model judged at a station, at most so many."""
    statement = (
        select(Part.trigger_id)
        .where(Part.station_id == station_id, Part.model_id == model_id, Part.verdict != Verdict.UNDECIDED)
        .order_by(col(Part.trigger_id).desc())
        .limit(most)
    )
    return session.exec(statement).all()


def _after(session: Session, station_id: str | None, seq: int) -> list[SuspectParts]:
    statement = select(Audit).where(col(Audit.what) == WHAT, col(Audit.seq) > seq).order_by(col(Audit.seq))
    if station_id is not None:
        statement = statement.where(col(Audit.subject) == f"station:{station_id}")
    return [_read(row) for row in session.exec(statement)]


def _read(row: Audit) -> SuspectParts:
    after = row.after or {}
    return SuspectParts(
        station_id=row.subject.removeprefix("station:"),
        first_trigger_id=after["first_trigger_id"],
        last_trigger_id=after["last_trigger_id"],
        model_id=after["model_id"],
        runtime=after["runtime"],
        why=row.why,
    )
