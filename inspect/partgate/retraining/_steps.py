"""How long each step of learning takes."""

import time
from collections.abc import Callable

from partgate_engines.anomaly import Progress


class StepTimes:
    """Passes progress on and adds up the seconds of every step.

    A step ends with each of its calls but the one that says that nothing of it is done.
    """

    def __init__(self, progress: Progress, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = progress
        self._clock = clock
        self._last_s = clock()
        self._seconds: dict[str, float] = {}

    def __call__(self, step: str, done: int, total: int) -> None:
        """Count the time since the last call for this step, and pass the call on."""
        now_s = self._clock()
        if done:
            self._seconds[step] = self._seconds.get(step, 0.0) + now_s - self._last_s
        self._last_s = now_s
        self._progress(step, done, total)

    @classmethod
    def of(cls, progress: Progress) -> "StepTimes":
        """Return what counts the time already, or begin to."""
        return progress if isinstance(progress, cls) else cls(progress)

    def seconds(self) -> dict[str, float]:
        """Return what each step took so far, in the order of their beginning."""
        return {step: round(seconds, 3) for step, seconds in self._seconds.items()}
