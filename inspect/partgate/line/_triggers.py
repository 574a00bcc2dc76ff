"""When the next part is there."""

import threading
import time
from datetime import UTC, datetime
from typing import Protocol

from partgate.line._part import Trigger
from partgate_station import ContinuousTrigger, IntervalTrigger
from partgate_station import Trigger as TriggerConfig


class TriggerSource(Protocol):
    """Says when a part is in position."""

    def wait(self, trigger_id: int, stop: threading.Event) -> Trigger | None:
        """Block until the next part is there; return None once `stop` is set."""
        ...


def make_trigger_source(config: TriggerConfig) -> TriggerSource:
    """Return the trigger source that the station file names."""
    match config:
        case IntervalTrigger():
            return Interval(period_s=config.period_s)
        case ContinuousTrigger():
            return Continuous()


def _trigger_now(trigger_id: int) -> Trigger:
    return Trigger(trigger_id=trigger_id, triggered_at=datetime.now(UTC), monotonic_s=time.monotonic())


class Continuous:
    """The next part comes as soon as the last one has its verdict."""

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

    def wait(self, trigger_id: int, stop: threading.Event) -> Trigger | None:
        """Sleep until the next part is due; return None once `stop` is set."""
        due_s = time.monotonic() if self._due_s is None else self._due_s
        if stop.wait(max(0.0, due_s - time.monotonic())):
            return None
        self._due_s = due_s + self._period_s
        now = _trigger_now(trigger_id)
        return Trigger(trigger_id=trigger_id, triggered_at=now.triggered_at, monotonic_s=due_s)
