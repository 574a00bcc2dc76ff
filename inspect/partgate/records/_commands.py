"""What the line has the recorder's process do: a part opened or closed, until it is said to be done."""

import uuid
from dataclasses import replace
from typing import Any

from partgate.records import _recorder_messages as wire
from partgate.records._frame_memory import Place
from partgate.records._parts import ClosedPart, OpenPart, RecordedFrame

# A frame over which the process was lost so often is not looked at any more; its part's row is closed.
LOSSES_OF_A_FRAME = 3


class Command:
    """A part on its way to the recorder's process. Belongs to the thread of the link once it is submitted.

    Args:
        number: rising.
        part: what to write.
        kept: whether its frames' pixels are to be kept.
    """

    def __init__(self, number: int, part: OpenPart | ClosedPart, *, kept: bool = False) -> None:
        self.number = number
        self.part_id: uuid.UUID = part.part_id
        self.closes = isinstance(part, ClosedPart)
        self.places: tuple[Place, ...] | None = None
        self._part = part
        self._fields: dict[str, Any] | None = None
        self._kept = kept
        self._again = False
        self._losses = 0

    @property
    def frames(self) -> tuple[RecordedFrame, ...]:
        """The frames whose pixels have to be placed, none once they are."""
        is_waiting = self._kept and self.places is None
        return self._part.frames if is_waiting and isinstance(self._part, ClosedPart) else ()

    def place(self, places: tuple[Place, ...]) -> None:
        """Note where the pixels lie now; the frames' own are let go."""
        self.places = places
        if isinstance(self._part, ClosedPart):
            self._fields = wire.closed_fields(self._part, places)
            self._part = replace(self._part, frames=())

    def lost_with_its_process(self, *, first: bool) -> None:
        """Note that a process was lost before it said that this is done.

        Args:
            first: it was the one that was being worked on.
        """
        self._again = True
        self._losses += first

    def datagram(self) -> bytes:
        """Return the message."""
        part = self._part
        if isinstance(part, OpenPart):
            return wire.encode("open", number=self.number, part=wire.opened_fields(part), again=self._again)
        return wire.encode(
            "close",
            number=self.number,
            part=self._fields or wire.closed_fields(part, None),
            again=self._again,
            images_lost=self._losses >= LOSSES_OF_A_FRAME,
        )
