"""When to start a lost camera's process again."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast lost processes are started again."""

    first_s: float = 0.5
    longest_s: float = 10.0
    quick: int = 5
    """So many starts within `window_s` are quick, the next are `longest_s` apart."""

    window_s: float = 60.0
    jitter: float = 0.2
    """Up to so much of a wait is added, so that many cameras behind one switch do not return as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What to do before the next start."""

    wait_s: float
    attempt: int
    """Of this outage, from 1."""

    alarm: bool
    """Whether a person has to be told now: once until the camera has been well for a window."""


class Respawns:
    """Counts losses and says how long to wait. Not thread-safe, waits for nothing itself."""

    def __init__(self, pace: Pace, *, chance: Callable[[], float] = random.random) -> None:
        self._pace, self._chance = pace, chance
        self._starts: list[float] = []
        self._attempt = 0
        self._back_since_s: float | None = None
        self._alarmed = False

    def lost(self, now_s: float) -> Wait:
        """Count a loss: of a camera that was well, or of one that was just being started again.

        Starts are forgotten after `window_s`, but not in the middle of an outage: a camera that takes
        long to fail would otherwise be tried quickly for ever.
        """
        if self._back_since_s is not None:
            self._starts = [start for start in self._starts if now_s - start < self._pace.window_s]
            self._attempt = 0
            self._alarmed = self._alarmed and now_s - self._back_since_s < self._pace.window_s
        self._back_since_s = None
        slow = len(self._starts) >= self._pace.quick
        wait_s = self._pace.longest_s if slow else self._pace.first_s * 2 ** len(self._starts)
        wait_s = min(wait_s, self._pace.longest_s) * (1 + self._pace.jitter * self._chance())
        self._starts = [*self._starts, now_s + wait_s][-self._pace.quick :]
        self._attempt += 1
        alarm, self._alarmed = slow and not self._alarmed, self._alarmed or slow
        return Wait(wait_s=wait_s, attempt=self._attempt, alarm=alarm)

    def not_opened(self) -> Wait:
        """Count an attempt of a process that waits and tries again by itself."""
        self._attempt += 1
        many = self._attempt > self._pace.quick
        alarm, self._alarmed = many and not self._alarmed, self._alarmed or many
        return Wait(wait_s=0.0, attempt=self._attempt, alarm=alarm)

    def back(self, now_s: float) -> None:
        """Note that the camera is ready again."""
        self._back_since_s = now_s
