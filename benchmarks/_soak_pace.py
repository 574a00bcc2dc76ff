"""The highest rate that the machine holds: found by raising it until parts are late or too many wait."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from partgate.line import Outcome
from partgate.line._digital_input import SimulatedInput

FIRST_PER_S, HIGHEST_PER_S, RISE = 4.0, 400.0, 1.3
STEP_S, FEWEST = 4.0, 20  # how long a rate is tried at least, and with how many parts
SETTLE_S = 60.0  # for what waits to be judged, once the rate was too high
TRIES = 2  # a single hiccup of the machine is no limit
IN_TIME_SHARE = 0.5  # of the deadline: a part that took longer has waited for others
SHARE = 0.7  # of the highest rate: the rest is for catching up after a fault
TURN_S = 0.05


class Pulses(SimulatedInput):
    """An input whose rate can be changed while it runs."""

    def pace(self, period_s: float) -> None:
        """Have edges so far apart from now on."""
        with self._changed:
            self._period_s, self._due_s = period_s, time.monotonic() + period_s
            self._changed.notify_all()


@dataclass(kw_only=True)
class Climb:
    """Raises a station's rate step by step. `done` is the line's; `find` belongs to another thread.

    Args:
        pace: changes the rate, by its period in seconds.
        deadline_s: of a part.
        stop: ends it early.
        wait: how time passes; a test's own.
    """

    pace: Callable[[float], None]
    deadline_s: float
    stop: threading.Event
    step_s: float = STEP_S
    wait: Callable[[float], object] = time.sleep
    tried: list[tuple[float, bool]] = field(default_factory=list)
    """Rates, per second, and whether each was held."""

    _step: list[bool] = field(default_factory=list)  # of each part: whether it was in time

    def done(self, outcome: Outcome) -> None:
        """Note how a part came out."""
        in_time = outcome.latency_ms < self.deadline_s * 1000 * IN_TIME_SHARE
        self._step.append(outcome.decision.reason is None and in_time)

    def find(self) -> float:
        """Return the highest rate per second that was held; the lowest tried, if none was."""
        held_per_s, per_s = FIRST_PER_S, FIRST_PER_S
        while per_s <= HIGHEST_PER_S and not self.stop.is_set():
            if not any(self._holds(per_s) for _ in range(TRIES)):
                break
            held_per_s, per_s = per_s, per_s * RISE
        self.pace(1 / (held_per_s * SHARE))
        self._settle()
        return held_per_s

    def _holds(self, per_s: float) -> bool:
        """Try a rate; then, if it was too high, let what waits be done with."""
        self.pace(1 / per_s)
        self._step.clear()
        self._until(lambda: False, max(self.step_s, FEWEST / per_s))
        parts, expected = list(self._step), max(self.step_s, FEWEST / per_s) * per_s
        # The second half: the first may be done with before a queue shows.
        held = len(parts) >= 0.9 * expected - 2 and all(parts[len(parts) // 2 :])
        self.tried.append((per_s, held))
        if not held:
            self.pace(1 / FIRST_PER_S)
            self._settle()
        return held

    def _settle(self) -> None:
        """Wait until the last parts were in time again."""
        self._step.clear()
        self._until(lambda: len(self._step) >= 3 and all(self._step[-3:]), SETTLE_S)

    def _until(self, over: Callable[[], bool], timeout_s: float) -> None:
        for _ in range(round(timeout_s / TURN_S)):
            if over() or self.stop.is_set():
                return
            self.wait(TURN_S)
