"""What a gate has shown of itself: that it answers, and that it confirms."""

import threading
import time
from dataclasses import dataclass

ANSWERS_WITHIN_S = 1.0
DOUBT_S = 1.0  # an unconfirmed signal is seen by who asks for readiness, and does not come and go


@dataclass(frozen=True, slots=True, kw_only=True)
class _Doubt:
    """Something that the gate did not do, believed to be over once it has answered anew."""

    why: str
    beat: int
    until_s: float


class GateTrust:
    """Whether the gate can be told. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lost: str | None = "there is no line to the gate yet"
        self._beat = 0
        self._answered = 0
        self._waiting_since_s: float | None = None
        self._doubt: _Doubt | None = None

    def connected(self) -> None:
        """Note a new line, on which nothing was answered yet."""
        with self._lock:
            self._lost, self._answered, self._waiting_since_s = None, 0, None

    def lost(self, why: str) -> None:
        """Note that there is no line."""
        with self._lock:
            self._lost = why

    def asked(self, beat: int) -> None:
        """Note a sign of life that wants its answer."""
        with self._lock:
            self._beat = beat
            if self._waiting_since_s is None:
                self._waiting_since_s = time.monotonic()

    def answered(self, beat: int) -> None:
        """Note an answer; an older one proves that the gate lives, though it is behind."""
        with self._lock:
            self._answered = max(self._answered, beat)
            self._waiting_since_s = None if beat >= self._beat else time.monotonic()

    def doubt(self, why: str) -> None:
        """Note that a signal was not confirmed."""
        with self._lock:
            self._doubt = _Doubt(why=why, beat=self._beat, until_s=time.monotonic() + DOUBT_S)

    @property
    def problem(self) -> str | None:
        """Why the gate cannot be told; None if it can."""
        with self._lock:
            if self._lost is not None:
                return f"the gate cannot be reached: {self._lost}"
            if (silent_s := self._silent_s()) > ANSWERS_WITHIN_S:
                return f"the gate has not answered for {silent_s:.1f} s"
            if self._answered == 0:
                return "the gate has not answered yet"
            return self._doubted()

    def _silent_s(self) -> float:
        return 0.0 if self._waiting_since_s is None else time.monotonic() - self._waiting_since_s

    def _doubted(self) -> str | None:
        doubt = self._doubt
        if doubt is None or (self._answered > doubt.beat and time.monotonic() >= doubt.until_s):
            self._doubt = None
            return None
        return doubt.why
