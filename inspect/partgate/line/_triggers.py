"""When the next part is there."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from partgate.line._part import Trigger

IDLE_EVERY_S = 0.5  # and not in the last half second before a part, which must not wait for it


class TriggerSource(Protocol):
    """Says when a part is in position. Used by the thread that takes parts in."""

    def wait(self, trigger_id: int, stop: threading.Event) -> Trigger | None:
        """Block until the next part is there; return None once `stop` is set."""
        ...


@runtime_checkable
class IdleSource(TriggerSource, Protocol):
    """A source that is told what to do while no part is there."""

    def on_idle(self, idle: Callable[[], None]) -> None:
        """Have `idle` called now and then while `wait` waits, in its thread."""
        ...


@runtime_checkable
class PacedSource(TriggerSource, Protocol):
    """A source whose parts come when the station has time for them."""

    parts_in_work: int
    """How many may be in work at once: with one, the next part comes when the last one is done."""


def _trigger_now(trigger_id: int) -> Trigger:
    return Trigger(trigger_id=trigger_id, triggered_at=datetime.now(UTC), monotonic_s=time.monotonic())


class Continuous:
    """The next part comes as soon as the last one has its verdict, or so many parts stand behind it.

    Args:
        waiting_parts: in front of the cameras while one is judged.
    """

    def __init__(self, *, waiting_parts: int = 0) -> None:
        self.parts_in_work = 1 + waiting_parts

    def wait(self, trigger_id: int, stop: threading.Event) -> Trigger | None:
        """Return at once, or None if the station is to stop."""
        return None if stop.is_set() else _trigger_now(trigger_id)


class Interval:
    """A part every `period_s`, whether the last one is done or not.

    Convention: a trigger that fell due while a part was in work comes at once afterwards, and its
    time is the moment it fell due: its latency counts from there, so a station that is too slow
    shows it instead of stretching the period (coordinated omission).
    """

    def __init__(self, *, period_s: float) -> None:
        self._period_s = period_s
        self._due_s: float | None = None
        self._idle: Callable[[], None] = lambda: None

    def on_idle(self, idle: Callable[[], None]) -> None:
        """Have something done now and then while no part is there, in that thread."""
        self._idle = idle

    def wait(self, trigger_id: int, stop: threading.Event) -> Trigger | None:
        """Sleep until the next part is due; return None once `stop` is set."""
        due_s = time.monotonic() if self._due_s is None else self._due_s
        while (left_s := due_s - time.monotonic()) > IDLE_EVERY_S:
            if stop.wait(IDLE_EVERY_S):
                return None
            self._idle()
        if stop.wait(max(0.0, left_s)):
            return None
        self._due_s = due_s + self._period_s
        now = _trigger_now(trigger_id)
        return Trigger(trigger_id=trigger_id, triggered_at=now.triggered_at, monotonic_s=due_s)
