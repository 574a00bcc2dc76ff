"""What the line and the recorder's process say to each other: numbers and texts, as JSON.

One message is one datagram of a SOCK_SEQPACKET pair: it arrives whole or not at all.

    line --> recorder:  begin (for which station), open, close (by number), memory (with its descriptor), end
    recorder --> line:  ready, done (numbers, and what failed), trouble (why no row is written, or null),
                        images (what became of them), beat, logged
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from partgate.records._frame_memory import FrameMemoryReader, Place
from partgate.records._parts import ClosedPart, OpenPart, RecordedFrame
from partgate.records._tables import SignalState
from partgate_station import Verdict

MAX_BYTES = 128 * 1024
MAX_TEXT = 4 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A command as the recorder's process sees it: a part to open, or one to close."""

    number: int
    opened: OpenPart | None = None
    closed: ClosedPart | None = None
    again: bool = False
    """It was sent to another process before, which may have written it."""

    images_lost: bool = False
    """The process was lost over it, again and again: its frames are not to be looked at."""


def encode(kind: str, **fields: Any) -> bytes:
    """Return a message's datagram."""
    return json.dumps({"kind": kind, **fields}, ensure_ascii=False).encode("utf-8", "replace")


def decode(datagram: bytes) -> dict[str, Any]:
    """Return a message; `kind` says which. Raises ValueError where it is none."""
    message = json.loads(datagram)
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise ValueError(f"{datagram[:40]!r} is no message")  # noqa: TRY004 - what was sent is wrong, not how
    return message


def opened_fields(part: OpenPart) -> dict[str, Any]:
    """Return what a message says of a part to be opened."""
    return {
        "part_id": part.part_id.hex,
        "trigger_id": part.trigger_id,
        "triggered_at": part.triggered_at.isoformat(),
        "serial_number": part.serial_number,
        "product": part.product,
        "recipe_id": part.recipe_id,
        "model_id": part.model_id,
        "runtime": part.runtime,
    }


def closed_fields(part: ClosedPart, places: Sequence[Place] | None) -> dict[str, Any]:
    """Return what a message says of a part to be closed; without places its frames are not kept."""
    return {
        "part_id": part.part_id.hex,
        "verdict": part.verdict.value,
        "reason": part.reason,
        "score": part.score,
        "latency_ms": part.latency_ms,
        "signal_state": part.signal_state,
        "frames": [
            _frame_fields(frame, None if places is None else places[number])
            for number, frame in enumerate(part.frames)
        ],
    }


def command_of(message: Mapping[str, Any], memory: FrameMemoryReader | None) -> Received:
    """Return the command that a message is; its frames' pixels are views of the memory."""
    number = message["number"]
    if message["kind"] == "open":
        return Received(number=number, opened=_opened(message["part"]), again=message["again"])
    return Received(
        number=number,
        closed=_closed(message["part"], memory),
        again=message["again"],
        images_lost=message["images_lost"],
    )


def _frame_fields(frame: RecordedFrame, place: Place | None) -> dict[str, Any]:
    return {
        "camera_id": frame.camera_id,
        "frame_id": frame.frame_id,
        "received_at": frame.received_at.isoformat(),
        "camera_timestamp_ns": frame.camera_timestamp_ns,
        "score": frame.score,
        "shape": frame.image.shape,
        "map_shape": None if place is None else place.map_shape,
        "map_box": frame.map_box,
        "slot": None if place is None else place.slot,
    }


def _opened(fields: Mapping[str, Any]) -> OpenPart:
    return OpenPart(
        **{
            **fields,
            "part_id": uuid.UUID(hex=fields["part_id"]),
            "triggered_at": datetime.fromisoformat(fields["triggered_at"]),
        }
    )


def _closed(fields: Mapping[str, Any], memory: FrameMemoryReader | None) -> ClosedPart:
    return ClosedPart(
        part_id=uuid.UUID(hex=fields["part_id"]),
        verdict=Verdict(fields["verdict"]),
        reason=fields["reason"],
        score=fields["score"],
        latency_ms=fields["latency_ms"],
        signal_state=None if fields["signal_state"] is None else SignalState(fields["signal_state"]),
        frames=tuple(_frame(frame, memory) for frame in fields["frames"]),
    )


def _frame(fields: Mapping[str, Any], memory: FrameMemoryReader | None) -> RecordedFrame:
    shape, map_shape = tuple(fields["shape"]), fields["map_shape"]
    if fields["slot"] is None or memory is None:
        image, anomaly_map = np.broadcast_to(np.uint8(0), shape), None
    else:
        map_size = None if map_shape is None else (map_shape[0], map_shape[1])
        image, anomaly_map = memory.views(Place(slot=fields["slot"], image_shape=shape, map_shape=map_size))
    return RecordedFrame(
        camera_id=fields["camera_id"],
        frame_id=fields["frame_id"],
        received_at=datetime.fromisoformat(fields["received_at"]),
        image=image,
        camera_timestamp_ns=fields["camera_timestamp_ns"],
        score=fields["score"],
        anomaly_map=anomaly_map,
        map_box=None if fields["map_box"] is None else tuple(fields["map_box"]),
    )
