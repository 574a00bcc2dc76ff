"""What a station and the controller of its gate say to each other: one JSON object each.

    station --> gate:  Signal (again until it is accepted), Release, State
    gate --> station:  Accepted, Answer

A gate opens on the Release of a part that it has accepted, which a station sends only for an ACCEPT whose
acceptance reached it in time: what was not confirmed is not open.
"""

import json
import uuid
from dataclasses import dataclass
from typing import Any

from partgate_station import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A part's verdict. Sent again it is the same, so that a part counts once."""

    part_id: uuid.UUID
    sequence: int
    """The trigger's number: the place of the part on the line."""

    verdict: Verdict
    gate_open: bool
    """What the station wants; the gate waits for the Release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The station knows that the part's verdict has arrived: its gate may open."""

    part_id: uuid.UUID
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A sign of life, and whether parts may come. Without one a gate shuts."""

    parts_may_come: bool
    beat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The gate has a part's verdict."""

    part_id: uuid.UUID
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The gate has heard a State."""

    beat: int


Told = Signal | Release | State
Heard = Accepted | Answer


def encode(message: Told | Heard) -> bytes:
    """Return a message's datagram."""
    match message:
        case Signal(part_id=part_id, sequence=sequence, verdict=verdict, gate_open=gate_open):
            fields: dict[str, Any] = {"part": part_id.hex, "sequence": sequence}
            fields |= {"verdict": verdict.value, "open": gate_open}
        case Release(part_id=part_id, sequence=sequence) | Accepted(part_id=part_id, sequence=sequence):
            fields = {"part": part_id.hex, "sequence": sequence}
        case State(parts_may_come=parts_may_come, beat=beat):
            fields = {"ready": parts_may_come, "beat": beat}
        case Answer(beat=beat):
            fields = {"beat": beat}
    return json.dumps({"kind": type(message).__name__.lower(), **fields}).encode("ascii")


def decode(datagram: bytes) -> Told | Heard:
    """Return a message.

    Raises:
        ValueError: it is none.
    """
    try:
        return _decoded(json.loads(datagram))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{datagram[:80]!r} is no message ({error})") from error


def _decoded(fields: Any) -> Told | Heard:
    match fields["kind"]:
        case "signal":
            return Signal(
                **_of_part(fields), verdict=Verdict(fields["verdict"]), gate_open=_typed(fields["open"], bool)
            )
        case "release":
            return Release(**_of_part(fields))
        case "state":
            return State(parts_may_come=_typed(fields["ready"], bool), beat=_typed(fields["beat"], int))
        case "accepted":
            return Accepted(**_of_part(fields))
        case "answer":
            return Answer(beat=_typed(fields["beat"], int))
        case kind:
            raise ValueError(f"kind {kind!r} is not known")


def _of_part(fields: Any) -> dict[str, Any]:
    return {"part_id": uuid.UUID(hex=fields["part"]), "sequence": _typed(fields["sequence"], int)}


def _typed(value: Any, kind: type[Any]) -> Any:
    if type(value) is not kind:
        raise ValueError(f"got {value!r}, expected {kind.__name__}")
    return value
