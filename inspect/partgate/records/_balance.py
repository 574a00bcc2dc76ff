"""The ledger's balance: what became of every trigger."""

from dataclasses import dataclass

import sqlmodel
from sqlalchemy import ColumnElement, func, select
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
    statement = select(_count(col(Part.signal_state) == SignalState.UNCONFIRMED))
    if station_id is not None:
        statement = statement.where(col(Part.station_id) == station_id)
    return session.connection().scalar(statement) or 0


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count().filter(condition)
