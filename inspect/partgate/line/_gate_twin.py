"""The controller of a gate, as far as its messages go: each part once, open only for what was released.

    part:  (none) --Signal--> SHUT --Release, and the station wants it open--> OPEN
           Signal of the same part again: accepted again, counted once; with another verdict: refused

Without a sign of life for `lease_s`, or without a line, it is shut for every part.
"""

import uuid
from collections import OrderedDict

from partgate.line._output_messages import Accepted, Answer, Heard, Release, Signal, State, Told

REMEMBERED = 1024  # parts between the camera and the gate are a handful


class GateTwin:
    """Not for several threads.

    Args:
        lease_s: a station that is silent for so long is taken for dead.
    """

    def __init__(self, *, lease_s: float) -> None:
        self._lease_s = lease_s
        self._parts: OrderedDict[uuid.UUID, Signal] = OrderedDict()
        self._open: set[uuid.UUID] = set()
        self._heard_s: float | None = None
        self._parts_may_come = False
        self.accepted = 0
        self.duplicates = 0
        self.refused = 0
        self.skipped = 0
        """Places on the line of which no verdict came."""
        self._last: int | None = None

    def hear(self, message: Told | Heard, now_s: float) -> Heard | None:
        """Take a message in; return the answer to it, None where there is none."""
        self._heard_s = now_s
        match message:
            case State(parts_may_come=parts_may_come, beat=beat):
                self._parts_may_come = parts_may_come
                return Answer(beat=beat)
            case Signal():
                return self._signalled(message)
            case Release(part_id=part_id):
                known = self._parts.get(part_id)
                if known is not None and known.gate_open:
                    self._open.add(part_id)
        return None

    def line_lost(self) -> None:
        """Shut: the line to the station has ended."""
        self._heard_s, self._parts_may_come = None, False

    def opens_for(self, part_id: uuid.UUID, now_s: float) -> bool:
        """Return whether the gate would open if this part came to it now."""
        return part_id in self._open and self._station_lives(now_s)

    def parts_may_come(self, now_s: float) -> bool:
        """Return whether the station is known to be ready."""
        return self._parts_may_come and self._station_lives(now_s)

    def _station_lives(self, now_s: float) -> bool:
        return self._heard_s is not None and now_s - self._heard_s <= self._lease_s

    def _signalled(self, signal: Signal) -> Accepted | None:
        known = self._parts.get(signal.part_id)
        if known is None:
            self._take(signal)
        elif known == signal:
            self.duplicates += 1
        else:
            self._open.discard(signal.part_id)
            self.refused += 1
            return None
        return Accepted(part_id=signal.part_id, sequence=signal.sequence)

    def _take(self, signal: Signal) -> None:
        self.accepted += 1
        self._parts[signal.part_id] = signal
        if self._last is not None and signal.sequence > self._last + 1:
            self.skipped += signal.sequence - self._last - 1
        self._last = signal.sequence if self._last is None else max(self._last, signal.sequence)
        while len(self._parts) > REMEMBERED:
            self._open.discard(self._parts.popitem(last=False)[0])
