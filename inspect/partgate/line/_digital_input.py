"""A digital input as trigger: edges, debounced, none lost."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

import structlog

from partgate.line._part import Reason, Trigger

TOLD_WITHIN_S = 0.005
LAG_S = 0.1
TURN_S = 0.05
JOIN_S = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A part has come into position."""

    at_s: float
    """When, on the monotonic clock: of the edge itself, not of its being noticed."""

    at: datetime
    """The same moment, UTC."""

    serial_number: str | None = None


class InputDevice(Protocol):
    """What reads an input. Used by one thread, but for `close`."""

    def wait(self, timeout_s: float) -> Edge | None:
        """Return the next edge, in order of time; None if there is none in time.

        An edge is told of within 0.1 s, and its time is right within that: a frame without a trigger
        closes the matching for so long.
        """
        ...

    def close(self) -> None:
        """Release the input; a `wait` in work returns."""
        ...


class SimulatedInput:
    """An input in this program. `fire` may be called by any thread."""

    def __init__(self, *, period_s: float | None = None) -> None:
        """Begin; with a period it has edges by itself, the first after one period."""
        self._edges: deque[Edge] = deque()
        self._period_s = period_s
        self._due_s = None if period_s is None else time.monotonic() + period_s
        self._changed = threading.Condition()

    def fire(self, serial_number: str | None = None, *, bounces: int = 0) -> Edge:
        """Have an edge now, and so many more right after it, as a worn contact does."""
        with self._changed:
            edge = Edge(at_s=time.monotonic(), at=datetime.now(UTC), serial_number=serial_number)
            self._edges.extend([edge] * (1 + bounces))
            self._changed.notify_all()
        return edge

    def wait(self, timeout_s: float) -> Edge | None:
        """Return the next edge."""
        until_s = time.monotonic() + timeout_s
        with self._changed:
            while not self._edges:
                now_s = time.monotonic()
                if self._due_s is not None and self._period_s is not None and self._due_s <= now_s:
                    at_s, self._due_s = self._due_s, self._due_s + self._period_s
                    ago = timedelta(seconds=now_s - at_s)
                    return Edge(at_s=at_s, at=datetime.now(UTC) - ago)
                if now_s >= until_s:
                    return None
                self._changed.wait(min(until_s, self._due_s or until_s) - now_s)
            return self._edges.popleft()

    def close(self) -> None:
        """Wake who waits."""
        with self._changed:
            self._changed.notify_all()


class Debounce:
    """Tells an edge from the bouncing of the one before."""

    def __init__(self, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._last_s: float | None = None
        self.bounces = 0

    def is_new(self, edge: Edge) -> bool:
        """Return whether an edge is a part; a bounce makes the quiet time begin anew."""
        last, self._last_s = self._last_s, edge.at_s
        bounced = last is not None and self._quiet_s > 0 and edge.at_s - last < self._quiet_s
        self.bounces += bounced
        return not bounced


@dataclass(slots=True, kw_only=True)
class _Entry:
    """Edges that wait: one, or any number that came when there was no room to note each."""

    edge: Edge
    overrun: bool
    count: int = 1
    merged: bool = False


class WaitingEdges:
    """Edges between the input's thread and the line's, in order.

    Args:
        capacity: edges that may wait to be judged.
        overflow: what happens to one more. `declare`: it waits to be declared UNDECIDED, unjudged.
    """

    def __init__(self, capacity: int, *, overflow: Literal["declare"]) -> None:
        self._capacity, self._overflow = capacity, overflow
        self._entries: deque[_Entry] = deque()
        self._judged = 0  # of those that wait, the ones that will be
        self._changed = threading.Condition()

    def put(self, edge: Edge) -> None:
        """Append an edge; never waits, never drops."""
        with self._changed:
            last = self._entries[-1] if self._entries else None
            if self._judged < self._capacity:
                self._entries.append(_Entry(edge=edge, overrun=False))
                self._judged += 1
            elif last is not None and last.merged:
                last.count += 1
            else:  # bounded, and none uncounted: those that are merged share a time and name no part
                merged = len(self._entries) >= 2 * self._capacity
                noted = replace(edge, serial_number=None) if merged else edge
                self._entries.append(_Entry(edge=noted, overrun=True, merged=merged))
            self._changed.notify_all()

    def take(self, timeout_s: float) -> tuple[Edge, bool] | None:
        """Remove and return the oldest edge and whether it is one too many; None if none is in time."""
        with self._changed:
            if not self._entries:
                self._changed.wait(timeout_s)
            if not self._entries:
                return None
            entry = self._entries[0]
            entry.count -= 1
            if entry.count == 0:
                self._entries.popleft()
                self._judged -= not entry.overrun
            return entry.edge, entry.overrun

    def waiting(self) -> list[tuple[Edge, bool]]:
        """Return what waits, in order."""
        with self._changed:
            return [(entry.edge, entry.overrun) for entry in self._entries for _ in range(entry.count)]


class DigitalInput:
    """A part at each edge of an input that a thread of its own reads."""

    told_within_s, lag_s = TOLD_WITHIN_S, LAG_S

    def __init__(self, device: InputDevice, *, debounce_s: float, waiting_parts: int) -> None:
        """Prepare; the first `wait` begins to read.

        Args:
            device: taken over, and closed by `close`.
            debounce_s: an edge so soon after another is the same.
            waiting_parts: triggers that may wait; one more is DECLARED as TRIGGER_OVERRUN, never dropped.
        """
        self._device, self._debounce = device, Debounce(debounce_s)
        self._edges = WaitingEdges(waiting_parts, overflow="declare")
        self._last_id = 0
        self._idle: Callable[[], None] = lambda: None
        self._failure: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="digital-input", daemon=True)

    @property
    def bounces(self) -> int:
        """Edges that were no part."""
        return self._debounce.bounces

    def on_idle(self, idle: Callable[[], None]) -> None:
        """Have something done now and then while no part is there, in the thread that waits."""
        self._idle = idle

    def wait(self, trigger_id: int, stop: threading.Event) -> Trigger | None:
        """Return the next part's trigger; None once `stop` is set and those that waited are declared.

        Raises:
            Exception: what the device raised: no edge is seen any more, so the station must not go on.
        """
        self._last_id = trigger_id - 1
        if self._thread.ident is None:
            self._thread.start()
        while not stop.is_set():
            if (taken := self._edges.take(TURN_S)) is not None:
                self._last_id = trigger_id
                return _trigger(trigger_id, *taken)
            if self._failure is not None:
                raise self._failure
            self._idle()
        return self._left_over(trigger_id)

    def ahead(self) -> Sequence[Trigger]:
        """Return the triggers that wait, in order."""
        first = self._last_id + 1
        return [_trigger(first + number, *taken) for number, taken in enumerate(self._edges.waiting())]

    def close(self) -> None:
        """Stop reading; say what was not taken any more."""
        self._stop.set()
        self._device.close()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)
        if left := len(self._edges.waiting()):
            log.warning("triggers came when the station had stopped", triggers=left)

    def _left_over(self, trigger_id: int) -> Trigger | None:
        """Return a trigger that came before the stop; its part was there, and is not judged any more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)
        if (taken := self._edges.take(0)) is None:
            return None
        self._last_id = trigger_id
        refused = f"{Reason.STATION_STOPPED}: it waited when the station was told to stop"
        return replace(_trigger(trigger_id, *taken), refused=refused)

    def _read(self) -> None:
        try:
            while not self._stop.is_set():
                edge = self._device.wait(TURN_S)
                if edge is not None and self._debounce.is_new(edge):
                    self._edges.put(edge)
        except Exception as error:
            # The top of this thread: `wait` raises it, in the line's.
            log.exception("the digital input failed")
            self._failure = error


def _trigger(trigger_id: int, edge: Edge, overrun: bool) -> Trigger:  # noqa: FBT001 - as it lies in the queue
    refused = f"{Reason.TRIGGER_OVERRUN}: it came when no more parts could wait" if overrun else None
    return Trigger(
        trigger_id=trigger_id,
        triggered_at=edge.at,
        monotonic_s=edge.at_s,
        serial_number=edge.serial_number,
        refused=refused,
    )
