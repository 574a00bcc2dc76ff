"""Parts as people name them on the command line."""

from typing import TYPE_CHECKING, Annotated

import typer

from partgate_station import MissingInput

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from sqlmodel import Session

SHOWN = 10

StationOption = Annotated[
    str | None,
    typer.Option(metavar="ID", help="With --part: whose part, where several stations have that trigger."),
]


def find_part(session: "Session", name: str, station: str | None) -> "uuid.UUID":
    """Return the id of the part that a person means.

    An id is returned as it is, also where these records have no such part: a model may know it all the same.

    Args:
        session: one that `Database.read` gave.
        name: `ID`, `part:ID`, a trigger's number or a serial number.
        station: whose part it is; None for any station's.

    Raises:
        MissingInput: no part is called so, or more than one.
    """
    from sqlmodel import col, select

    from partgate.records import Part, part_id_in, part_named

    query = select(Part.id, Part.station_id, Part.trigger_id).where(part_named(name))
    if station is not None:
        query = query.where(Part.station_id == station)
    found = session.exec(query.order_by(col(Part.station_id), col(Part.id)).limit(SHOWN + 1)).all()
    if len(found) == 1:
        return found[0][0]
    if found:
        raise MissingInput(_which(name, found))
    if (given := part_id_in(name)) is not None:
        return given
    where = "" if station is None else f" of station '{station}'"
    raise MissingInput(
        f"--part {name!r}: no part{where} has that id, trigger or serial number; the review site shows them"
    )


def _which(name: str, found: "Sequence[tuple[uuid.UUID, str, int]]") -> str:
    shown = [f"trigger {trigger} of station '{station}' (part:{id_})" for id_, station, trigger in found]
    many = f"{len(found)} parts" if len(found) <= SHOWN else f"more than {SHOWN} parts"
    # A station has a trigger once, but may have seen a serial number twice.
    differ = len({station for _, station, _ in found}) == len(found)
    remedy = "say which with --station ID" if differ else "give the id of the one you mean"
    return f"--part {name!r}: {many} have that trigger or serial number: {', '.join(shown[:SHOWN])}; {remedy}"
