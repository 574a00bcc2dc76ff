"""What a camera's process and the station say to each other: numbers and texts, as JSON.

One message is one datagram of a SOCK_SEQPACKET pair: it arrives whole or not at all, so that a process
stopped in the middle of sending cannot leave half of one behind for the other side to wait on. JSON,
because the camera's process runs vendors' native code: what it sends is parsed, never executed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from partgate_cameras import _errors
from partgate_cameras._errors import CameraError
from partgate_cameras._image_measures import ImageMeasures, sketch_from_text
from partgate_cameras._ring import Place
from partgate_station import DataError, MissingInput, PartgateError, Unavailable

MAX_BYTES = 64 * 1024
MAX_TEXT = 8 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Grab:
    """Station to camera: the trigger has come."""

    number: int
    """Of the request, > 0 and rising."""

    deadline_s: float
    """When the frame must be there, on the monotonic clock, which the processes of a machine share."""

    released: int
    """Slots of requests up to this number may be written again."""

    kind: str = "grab"
    """`grab`; `next`: the oldest that came by itself, where none is no fault; `flush`: drop all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Station to camera: close it and end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The camera is open."""

    exhausted: bool
    serial_number: str | None = None
    """Of the device; None where there is none, or it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotOpened:
    """The camera cannot be opened; its process ends, or tries again where it was told to."""

    error: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """A request's frame; a new ring's descriptor comes with it where `new_ring`."""

    number: int
    """Of the request, and the sequence of the slot."""

    slot: int
    shape: tuple[int, ...]
    frame_id: int
    camera_timestamp_ns: int | None
    received_at: str
    arrived_s: float
    exhausted: bool
    new_ring: bool
    lost_before: int = 0
    brightness: float = 0.0
    focus: float = 0.0
    colour: float = 0.0
    sketch: str | None = None
    """As base64, 5.5 kB: less than a third slot to write and check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDelivered:
    """A request has no frame."""

    number: int
    error: str
    text: str
    exhausted: bool
    arrived_s: float | None = None
    """When a frame came that cannot be judged; None where none came."""

    lost_before: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A frame was dropped in the camera's process: its part had been given up."""

    frame_id: int | None
    camera_timestamp_ns: int | None
    received_at: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The camera's process lives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """Something the camera's process has to log."""

    level: int
    logger: str
    text: str


Message = Grab | Close | Opened | NotOpened | Delivered | NotDelivered | Stray | Beat | Logged
_KINDS: Mapping[str, type[Message]] = {
    kind.__name__: kind
    for kind in (Grab, Close, Opened, NotOpened, Delivered, NotDelivered, Stray, Beat, Logged)
}

# What may cross the boundary under its own name.
_ERRORS: Mapping[str, type[PartgateError]] = {
    name: kind
    for name, kind in vars(_errors).items()
    if isinstance(kind, type) and issubclass(kind, PartgateError)
} | {kind.__name__: kind for kind in (MissingInput, Unavailable, DataError)}


class Garbled(ValueError):
    """A message is not one: the process that sent it cannot be trusted any more."""


def encode(message: Message) -> bytes:
    """Return a message's datagram; of long texts the beginning."""
    values = [getattr(message, field.name) for field in fields(message)]
    short = [value[:MAX_TEXT] if isinstance(value, str) else value for value in values]
    return json.dumps([type(message).__name__, *short]).encode()


def decode(datagram: bytes) -> Message:
    """Return the message of a datagram.

    Raises:
        Garbled: it is none.
    """
    try:
        name, *values = json.loads(datagram)
        kind: Any = _KINDS[name]  # mypy would check the values against every kind
        names = [field.name for field in fields(kind)]
        plain = [tuple(value) if isinstance(value, list) else value for value in values]
        message: Message = kind(**dict(zip(names, plain, strict=True)))
    except (KeyError, TypeError, ValueError) as error:
        raise Garbled(f"{datagram[:40]!r} is no message ({type(error).__name__}: {error})") from error
    return message


def place_of(message: Delivered) -> Place:
    """Return where in the ring a frame lies."""
    return Place(sequence=message.number, slot=message.slot, shape=message.shape)


def measures_of(message: Delivered) -> ImageMeasures | None:
    """Return what was measured of a frame; None where the message is spoilt: it can be measured again."""
    try:
        sketch = None if message.sketch is None else sketch_from_text(message.sketch)
    except ValueError:
        return None
    return ImageMeasures(
        brightness=message.brightness,
        focus=message.focus,
        width_px=message.shape[1],
        height_px=message.shape[0],
        colour=message.colour,
        sketch=sketch,
    )


def is_known(error: str) -> bool:
    """Return whether an error's class name is one of ours."""
    return error in _ERRORS


def error_of(message: NotOpened | NotDelivered, *, camera_id: str) -> PartgateError:
    """Return the error that a message tells of, of its own class where it is one of ours."""
    kind = _ERRORS.get(message.error)
    if kind is None:
        return CameraError(f"camera {camera_id}: {message.error}: {message.text}")
    error = kind(message.text)
    if isinstance(error, CameraError) and isinstance(message, NotDelivered):
        error.arrived_s, error.lost_before = message.arrived_s, message.lost_before
    return error
