"""Which part a person means: by its id, its trigger's number or its serial number."""

import uuid

from sqlalchemy import ColumnElement, and_, or_
from sqlmodel import col, select

from partgate.records._tables import Part, Station

PREFIX = "part:"
MAX_INTEGER = 2**63 - 1
MAX_DIGITS = 19


def part_id_in(text: str) -> uuid.UUID | None:
    """Return the id that a text is, with `part:` before it or without; None if it is none."""
    try:
        return uuid.UUID(text.strip().removeprefix(PREFIX))
    except ValueError:
        return None


def part_named(text: str) -> ColumnElement[bool]:
    """Return the condition that a part is called so: `ID`, `part:ID`, a trigger's or a serial number.

    More than one part may be: a serial number may look like either of the others, every station counts its
    triggers for itself, and a part that came by twice keeps its serial number.
    """
    name = text.strip()
    # Each of the three by an index, or SQLite reads all parts. NOT NULL, as that of serial numbers says.
    meant = [and_(col(Part.serial_number) == name, col(Part.serial_number).is_not(None))]
    if (part_id := part_id_in(name)) is not None:
        meant.append(col(Part.id) == part_id)
    if name.isascii() and name.isdigit() and len(name) <= MAX_DIGITS and int(name) <= MAX_INTEGER:
        stations = select(Station.id)
        meant.append(and_(col(Part.station_id).in_(stations), col(Part.trigger_id) == int(name)))
    return or_(*meant)
