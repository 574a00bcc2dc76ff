"""The loop's sign of life, and who is told of it."""

import time

from partgate.line._notify import Notify

START_EVERY_S = 5.0
START_AGAIN_S = 30.0  # a loop that stands still for so long while starting is started anew


class Pulse:
    """Notes every turn of the loop. `beat` is the loop's own; the rest may be called by any thread.

    The service manager's watchdog is fed here and nowhere else: a thread that looks on would go on feeding
    it while parts stand still.
    """

    def __init__(self, notify: Notify) -> None:
        self._notify = notify
        self._last_s = time.monotonic()
        self._tell_at_s = 0.0
        self._beats = 0
        self.is_started = False
        """Set when the service manager was told READY; before, each sign asks it for more time."""

    @property
    def has_begun(self) -> bool:
        """Whether the loop has turned at all."""
        return self._beats > 0

    def beat(self) -> None:
        """Note a turn; tell the service manager if it is time."""
        self._beats += 1
        self._last_s = now_s = time.monotonic()
        if now_s >= self._tell_at_s:
            self._tell_at_s = now_s + self._tell()

    def problem(self, within_s: float) -> str | None:
        """Return that the loop has not turned for so long; None while it has."""
        stood_s = time.monotonic() - self._last_s
        if stood_s <= within_s:
            return None
        return f"the loop has not turned for {stood_s:.1f} s, {within_s:g} s are allowed"

    def _tell(self) -> float:
        """Give the sign that is wanted; return in how many seconds the next one is due."""
        if not self.is_started:
            self._notify.still_starting(START_AGAIN_S)
        if self._notify.watchdog_every_s is None:
            return START_EVERY_S
        self._notify.alive()
        return min(START_EVERY_S, self._notify.watchdog_every_s)
