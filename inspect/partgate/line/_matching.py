"""Which trigger a camera's frame belongs to, without a clock, a thread or a guess.

One matcher follows one camera whose frames come by themselves, at a line's edge. A trigger is due from
the moment it is known until its frame has come, is known to be lost, or can no longer come:

                 frame that can be no other's
    DUE(open) ──────────────────────────────────> matched
       │
       │ window over, or given up       frame comes, or a later one is placed
       └────────────> DUE(expired) ───────────────────────────────> settled
                          │  `settle_s` after the trigger
                          └────────────────> forgotten

An expired trigger goes on owing a frame: that is what keeps its late frame from the next part. A frame is
matched only if it lies in its trigger's window and can be no other trigger's, by the camera's clock or by
counting. Everything else is an orphan; where counting can say nothing more, `out_of_step` asks for the
camera to be flushed.

docs/decisions/0012 has the counting rule and why it holds.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

CLOCK_DRIFT = 1e-4  # a quartz is within 50 ppm, and there are two of them
NS_PER_S = 1e9

F = TypeVar("F")


class OrphanCause(StrEnum):
    """Why a frame belongs to no part. The text stored is `CODE: sentence`."""

    NO_TRIGGER = "NO_TRIGGER"
    LATE = "LATE"
    AMBIGUOUS = "AMBIGUOUS"
    SURPLUS = "SURPLUS"
    OUT_OF_ORDER = "OUT_OF_ORDER"
    FLUSHED = "FLUSHED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When a trigger's frame may arrive, in seconds after the trigger."""

    earliest_s: float
    latest_s: float

    def __post_init__(self) -> None:
        if not self.earliest_s <= self.latest_s:
            raise ValueError(f"a window from {self.earliest_s:g} s to {self.latest_s:g} s is none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival(Generic[F]):
    """A frame has come, or a sign of one that cannot be used."""

    content: F
    arrived_s: float
    """When it was complete, on the monotonic clock."""

    lost_before: int = 0
    """Frames that the camera numbered between the arrival before and this one."""

    camera_time_ns: int | None = None
    """On the camera's clock; None where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched(Generic[F]):
    """The frame is this trigger's, for certain."""

    trigger_id: int
    arrival: Arrival[F]


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan(Generic[F]):
    """The frame is given to no part."""

    arrival: Arrival[F]
    cause: OrphanCause
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """The trigger gets no frame."""

    trigger_id: int
    why: str


Result = Matched[F] | Orphan[F] | Expired


@dataclass(slots=True, kw_only=True)
class _Due:
    trigger_id: int
    at_s: float
    is_open: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """The last frame that was placed, for the camera's clock."""

    at_s: float
    camera_time_ns: int


class Matcher(Generic[F]):
    """Pairs one camera's frames with triggers. Pure: time comes in with what it is told.

    It is fed in order: triggers by their time; arrivals by theirs, each after every trigger that lies
    `earliest_s` or more before it; `advance(t)` after every arrival up to `t`.

    It relies on three things: the camera numbers every frame that it exposes, so that a lost one is a
    gap; a frame comes within `settle_s` of its trigger or never; a frame that comes while triggers are
    due was exposed for one of them. A trigger may be passed over by the camera without a number.
    """

    def __init__(self, window: Window, *, settle_s: float, trigger_lag_s: float = 0.0) -> None:
        """Begin with nothing due.

        Args:
            window: of every trigger.
            settle_s: the longest that a frame can be on its way, >= the window's end.
            trigger_lag_s: how much later than its own time a trigger may be told of. A frame without a
                trigger then ends the triggers of so long a time: its own may be told of after it, and would
                be paired with the next part's frame. They go on owing theirs.
        """
        if settle_s < window.latest_s:
            raise ValueError(f"settle_s: {settle_s:g} s is shorter than the window ({window.latest_s:g} s)")
        self._window, self._settle_s, self._lag_s = window, settle_s, trigger_lag_s
        self._due: deque[_Due] = deque()
        self._unplaced = 0  # frames of triggers due or forgotten, it is not known of which
        self._forgotten = 0  # triggers that ended without a frame and can get none any more
        self._reset_s = self._closed_until_s = -math.inf
        self._last: _Pair | None = None
        self.out_of_step = False
        """Whether counting says nothing more until the camera is flushed, and `reset` called."""

    def trigger(self, trigger_id: int, at_s: float) -> Sequence[Result[F]]:
        """Note a trigger; its frame may be waited for."""
        why = "it came before the camera was in step again"
        if at_s < self._reset_s:
            return [Expired(trigger_id=trigger_id, why=why)]
        is_open = at_s >= self._closed_until_s
        self._due.append(_Due(trigger_id=trigger_id, at_s=at_s, is_open=is_open))
        return [] if is_open else [Expired(trigger_id=trigger_id, why=why)]

    def arrive(self, arrival: Arrival[F]) -> Sequence[Result[F]]:
        """Place a frame: with its trigger, or with none."""
        results: list[Result[F]] = self._forget(arrival.arrived_s)
        candidates = [d for d in self._due if d.at_s + self._window.earliest_s <= arrival.arrived_s]
        if not candidates:
            self._closed_until_s = max(self._closed_until_s, arrival.arrived_s + self._lag_s)
            return [*results, _orphan(arrival, OrphanCause.NO_TRIGGER, "no trigger was due")]
        owner = self._by_clock(arrival, candidates)
        if owner is not None:
            return [*results, *self._place(arrival, owner)]
        at_least = max(0, self._unplaced + arrival.lost_before - self._forgotten) + 1
        if at_least == len(candidates):
            return [*results, *self._place(arrival, candidates[-1])]
        return [*results, self._refuse(arrival, candidates, at_least)]

    def advance(self, now_s: float) -> Sequence[Result[F]]:
        """End the triggers whose window is over; every frame that came until now has been fed."""
        over = [d for d in self._due if d.is_open and d.at_s + self._window.latest_s < now_s]
        return [
            self._expire(due, f"no frame within {self._window.latest_s * 1000:g} ms of the trigger")
            for due in over
        ]

    def give_up(self, trigger_id: int) -> None:
        """Stop waiting for a trigger's frame before its window is over; it goes on being owed."""
        for due in self._due:
            if due.trigger_id == trigger_id and due.is_open:
                self._expire(due, "given up")

    def reset(self, now_s: float) -> Sequence[Result[F]]:
        """Begin anew: no frame that was exposed before `now_s` can come any more."""
        ended: list[Result[F]] = [
            Expired(trigger_id=due.trigger_id, why="the camera was flushed")
            for due in self._due
            if due.is_open
        ]
        self._due.clear()
        self._unplaced = self._forgotten = 0
        self._reset_s, self._last = max(self._reset_s, now_s), None
        self.out_of_step = False
        return ended

    def _forget(self, now_s: float) -> list[Result[F]]:
        """Drop the triggers whose frame cannot come any more."""
        results: list[Result[F]] = []
        while self._due and self._due[0].at_s + self._settle_s < now_s:
            due = self._due.popleft()
            self._forgotten += 1
            if due.is_open:
                results.append(self._expire(due, "its frame never came"))
        return results

    def _by_clock(self, arrival: Arrival[F], candidates: Sequence[_Due]) -> _Due | None:
        """Return the only trigger that lies where the camera's clock says; None if it does not say."""
        if self._last is None or arrival.camera_time_ns is None:
            return None
        elapsed_s = (arrival.camera_time_ns - self._last.camera_time_ns) / NS_PER_S
        margin_s = self._window.latest_s - self._window.earliest_s + CLOCK_DRIFT * abs(elapsed_s)
        exposed_s = self._last.at_s + elapsed_s
        near = [due for due in candidates if abs(due.at_s - exposed_s) <= margin_s]
        return near[0] if len(near) == 1 else None

    def _place(self, arrival: Arrival[F], owner: _Due) -> list[Result[F]]:
        """Settle a trigger by its frame, and with it all before it: their frames came earlier or never."""
        results: list[Result[F]] = []
        in_window = arrival.arrived_s <= owner.at_s + self._window.latest_s
        is_match = owner.is_open and in_window
        while (due := self._due.popleft()) is not owner:
            if due.is_open:
                results.append(Expired(trigger_id=due.trigger_id, why="its frame was lost"))
        self._unplaced = self._forgotten = 0
        if arrival.camera_time_ns is not None:
            self._last = _Pair(at_s=owner.at_s, camera_time_ns=arrival.camera_time_ns)
        if is_match:
            return [*results, Matched(trigger_id=owner.trigger_id, arrival=arrival)]
        if owner.is_open:
            results.append(Expired(trigger_id=owner.trigger_id, why="its frame came late"))
        late_ms = (arrival.arrived_s - owner.at_s) * 1000
        why = f"came {late_ms:.0f} ms after trigger {owner.trigger_id}, which had been given up"
        return [*results, _orphan(arrival, OrphanCause.LATE, why)]

    def _refuse(self, arrival: Arrival[F], candidates: Sequence[_Due], at_least: int) -> Orphan[F]:
        first, last = candidates[0].trigger_id, candidates[-1].trigger_id
        self._unplaced += arrival.lost_before + 1
        if at_least > len(candidates):
            self.out_of_step = True
            return _orphan(arrival, OrphanCause.SURPLUS, f"more frames than triggers ({first} to {last})")
        return _orphan(arrival, OrphanCause.AMBIGUOUS, f"may be of any of the triggers {first} to {last}")

    def _expire(self, due: _Due, why: str) -> Expired:
        due.is_open = False
        self.out_of_step = self.out_of_step or self._unplaced > 0
        return Expired(trigger_id=due.trigger_id, why=why)


def _orphan(arrival: Arrival[F], cause: OrphanCause, why: str) -> Orphan[F]:
    return Orphan(arrival=arrival, cause=cause, why=why)
