"""A part on its way into the ledger: what opens its row, what closes it, and the two acts that do."""

import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sqlalchemy import bindparam, func, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlmodel import Session, col

from partgate.records._tables import Frame, ImageState, Part, SignalState, new_id, utc_now
from partgate_station import Verdict

LARGEST_INTEGER = 2**63 - 1
INTERRUPTED = "INTERRUPTED: the station ended before this part was closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPart:
    """A trigger: what is known of a part before it is judged."""

    trigger_id: int
    triggered_at: datetime
    part_id: uuid.UUID = field(default_factory=new_id)
    serial_number: str | None = None
    product: str | None = None
    recipe_id: int | None = None
    model_id: str | None = None
    runtime: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFrame:
    """A frame and what was seen in it.

    `image` is (h, w) or (h, w, c) uint8 and `anomaly_map` (h, w) float32; both must not be changed
    any more once they are given to the recorder.
    """

    camera_id: str
    frame_id: int
    received_at: datetime
    image: npt.NDArray[np.uint8]
    camera_timestamp_ns: int | None = None
    score: float | None = None
    anomaly_map: npt.NDArray[np.float32] | None = None
    map_box: tuple[int, int, int, int] | None = None
    """(left, top, right, bottom): the pixels that the map covers; None where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedPart:
    """A part's verdict and its frames."""

    part_id: uuid.UUID
    verdict: Verdict
    reason: str | None = None
    """Why it is UNDECIDED, as `CODE: sentence`; needed then."""
    score: float | None = None
    latency_ms: float | None = None
    signal_state: SignalState | None = None
    """None where nobody confirms."""
    frames: tuple[RecordedFrame, ...] = ()

    def __post_init__(self) -> None:
        if self.verdict is Verdict.UNDECIDED and not self.reason:
            raise ValueError(f"part {self.part_id} is UNDECIDED and must say why, as `CODE: sentence`")


class PartRecorder(Protocol):
    """What the line needs of a recorder, in its own process or in one beside it."""

    def next_trigger_id(self) -> int:
        """Return one more than the highest trigger id of the station, those not on disk yet included."""

    def open_part(self, part: OpenPart) -> Future[None]:
        """Make a trigger durable; its verdict may leave the station once the future has resolved."""

    def note_verdict(self, part: ClosedPart) -> None:
        """Note a verdict that is about to leave, so that no kill makes the ledger say otherwise."""

    def close_part(self, part: ClosedPart) -> None:
        """Hand over a part's verdict and frames; waits while too many wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFrame:
    """What became of a frame's pixels."""

    state: ImageState
    image_sha256: str | None = None
    map_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPart:
    """A part to be closed whose frames have been taken care of."""

    part: ClosedPart
    frames: tuple[StoredFrame, ...] = ()


_OPEN = insert(Part).on_conflict_do_nothing(index_elements=["id"])
_CLOSE = update(Part).where(col(Part.id) == bindparam("closed_id"), col(Part.verdict).is_(None))


def insert_open(session: Session, station_id: str, parts: Sequence[OpenPart]) -> int:
    """Write the rows of parts that are not judged yet; rows that are there already stay as they are.

    Returns:
        How many rows were new.

    Raises:
        ConstraintViolated: a trigger of that number has a row of another part.
    """
    rows = [_part_row(station_id, part) for part in parts]
    if not rows:
        return 0
    # Through the connection: a third of the ORM's time.
    return session.connection().execute(_OPEN, rows).rowcount


def close_open(session: Session, parts: Sequence[StoredPart]) -> list[uuid.UUID]:
    """Close parts' rows and write their frames' rows.

    Returns:
        The parts that were not open: never opened, or closed already. Nothing is written for them.
    """
    connection = session.connection()
    closed_at = utc_now()
    taken = [
        stored for stored in parts
        if connection.execute(_CLOSE, _verdict_row(stored.part, closed_at)).rowcount == 1
    ]  # fmt: skip
    frames = [
        _frame_row(stored.part.part_id, *pair)
        for stored in taken
        for pair in zip(stored.part.frames, stored.frames, strict=True)
    ]
    if frames:
        connection.execute(insert(Frame), frames)
    closed = {stored.part.part_id for stored in taken}
    return [stored.part.part_id for stored in parts if stored.part.part_id not in closed]


def close_interrupted(session: Session, station_id: str, own: frozenset[uuid.UUID]) -> int:
    """Close what a crash left open, as UNDECIDED; parts in `own` are still in work."""
    is_open = select(col(Part.id)).where(col(Part.station_id) == station_id, col(Part.verdict).is_(None))
    interrupted = [part_id for part_id in session.connection().scalars(is_open) if part_id not in own]
    close_open(
        session,
        [
            StoredPart(part=ClosedPart(part_id=part_id, verdict=Verdict.UNDECIDED, reason=INTERRUPTED))
            for part_id in interrupted
        ],
    )
    return len(interrupted)


def highest_trigger_id(session: Session, station_id: str) -> int:
    """Return the highest trigger id of a station, 0 if it has none."""
    statement = select(func.max(Part.trigger_id)).where(col(Part.station_id) == station_id)
    return session.connection().scalar(statement) or 0


def _part_row(station_id: str, part: OpenPart) -> dict[str, Any]:
    return {
        "id": part.part_id,
        "station_id": station_id,
        "trigger_id": part.trigger_id,
        "triggered_at": part.triggered_at,
        "serial_number": part.serial_number,
        "product": part.product,
        "recipe_id": part.recipe_id,
        "model_id": part.model_id,
        "runtime": part.runtime,
    }


def _verdict_row(part: ClosedPart, closed_at: datetime) -> dict[str, Any]:
    return {
        "closed_id": part.part_id,
        "verdict": part.verdict,
        "reason": part.reason,
        "score": part.score,
        "latency_ms": part.latency_ms,
        "signal_state": part.signal_state,
        "closed_at": closed_at,
    }


def storable(ticks_ns: int | None) -> int | None:
    """Return a camera's time as a row can hold it: of a clock that is beyond 63 bits nothing is known."""
    return ticks_ns if ticks_ns is None or abs(ticks_ns) <= LARGEST_INTEGER else None


def _frame_row(part_id: uuid.UUID, frame: RecordedFrame, stored: StoredFrame) -> dict[str, Any]:
    height_px, width_px, *channels = frame.image.shape
    return {
        "id": new_id(),
        "part_id": part_id,
        "camera_id": frame.camera_id,
        "frame_id": frame.frame_id,
        "camera_timestamp_ns": storable(frame.camera_timestamp_ns),
        "received_at": frame.received_at,
        "height_px": height_px,
        "width_px": width_px,
        "channels": channels[0] if channels else 1,
        "score": frame.score,
        "image_state": stored.state,
        "image_sha256": stored.image_sha256,
        "map_sha256": stored.map_sha256,
        "map_box": None if stored.map_sha256 is None or frame.map_box is None else list(frame.map_box),
    }
