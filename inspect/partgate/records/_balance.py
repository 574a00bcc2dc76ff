"""The ledger's balance: what became of every trigger."""

from dataclasses import dataclass

import sqlmodel
from sqlalchemy import ColumnElement, func, literal_column, select
from sqlmodel import Session, col

from partgate.records._tables import Part, SignalState, Station
from partgate_station import MissingInput, Verdict, did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Triggers, and the parts they became. It balances when every trigger has a closed part."""

    triggers: int
    """From the lowest to the highest trigger id of each station: one without a row counts as well."""
    accept: int
    review: int
    reject: int
    undecided: int
    open: int
    balanced: bool
    """`triggers = accept + review + reject + undecided`."""

    @property
    def closed(self) -> int:
        """Parts with a verdict."""
        return self.accept + self.review + self.reject + self.undecided

    @property
    def is_whole(self) -> bool:
        """Whether every trigger has a row, closed or open; what is open is in work, or was left behind."""
        return self.triggers == self.closed + self.open


def balance(session: Session, station_id: str | None = None) -> Balance:
    """Count the ledger of one station or of all, in one statement and so at one moment."""
    statement = select(
        (func.max(Part.trigger_id) - func.min(Part.trigger_id) + 1).label("triggers"),
        *(_count(col(Part.verdict) == verdict).label(verdict.value.lower()) for verdict in Verdict),
        _count(col(Part.verdict).is_(None)).label("open"),
    ).group_by(col(Part.station_id))
    if station_id is not None:
        statement = statement.where(col(Part.station_id) == station_id)
    per_station = session.connection().execute(statement).mappings().all()
    names = ("triggers", "accept", "review", "reject", "undecided", "open")
    counts = {name: sum(row[name] for row in per_station) for name in names}
    closed = counts["accept"] + counts["review"] + counts["reject"] + counts["undecided"]
    return Balance(**counts, balanced=counts["triggers"] == closed)


def stations_with_open_parts(session: Session, station_id: str | None = None) -> tuple[str, ...]:
    """Return the stations that have parts without a verdict."""
    statement = sqlmodel.select(Part.station_id).where(col(Part.verdict).is_(None)).distinct()
    if station_id is not None:
        statement = statement.where(col(Part.station_id) == station_id)
    return tuple(session.exec(statement).all())


def require_station(session: Session, station_id: str) -> None:
    """Do nothing where a station has run in this home.

    Raises:
        MissingInput: none of that name has; says which have. Its ledger would balance, with nothing in it.
    """
    known = session.exec(sqlmodel.select(Station.id).order_by(Station.id)).all()
    if station_id not in known:
        raise MissingInput(f"no station '{station_id}' has run in this home{did_you_mean(station_id, known)}")


def count_unconfirmed(session: Session, station_id: str | None = None) -> int:
    """Return how many closed parts' signals were not confirmed, of one station or of all."""
    # As a text in the statement, not as its parameter: only so SQLite knows that the index of those suits.
    unconfirmed: ColumnElement[str] = literal_column(f"'{SignalState.UNCONFIRMED.value}'")
    statement = select(func.count()).where(col(Part.signal_state) == unconfirmed)
    if station_id is not None:
        statement = statement.where(col(Part.station_id) == station_id)
    return session.connection().scalar(statement) or 0


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count().filter(condition)
