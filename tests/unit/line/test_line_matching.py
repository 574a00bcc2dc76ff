"""Frames find their triggers: by the window, by counting, by the camera's clock, and never by luck."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from partgate.line._matching import (
    Arrival,
    Expired,
    Matched,
    Matcher,
    Orphan,
    OrphanCause,
    Result,
    Window,
)
from partgate_cameras._numbers import FrameNumbers, NumberNotRisen

WINDOW = Window(earliest_s=0.01, latest_s=0.03)
SETTLE_S = 0.5


def matcher(**settings: float) -> Matcher[str]:
    return Matcher(WINDOW, settle_s=SETTLE_S, **settings)


def frame(name: str, at_s: float, lost: int = 0, clock_s: float | None = None) -> Arrival[str]:
    clock_ns = None if clock_s is None else round(clock_s * 1e9)
    return Arrival(content=name, arrived_s=at_s, lost_before=lost, camera_time_ns=clock_ns)


def said(results: Sequence[Result[str]]) -> list[object]:
    """Return results as a test writes them: (trigger, frame), (trigger, None) or (cause, frame)."""
    plain: list[object] = []
    for result in results:
        match result:
            case Matched():
                plain.append((result.trigger_id, result.arrival.content))
            case Expired():
                plain.append((result.trigger_id, None))
            case Orphan():
                plain.append((result.cause, result.arrival.content))
    return plain


def test_each_frame_in_its_triggers_window_is_matched() -> None:
    pairs = matcher()
    for number in range(1, 6):
        pairs.trigger(number, number * 0.1)
        assert said(pairs.arrive(frame(f"f{number}", number * 0.1 + 0.02))) == [(number, f"f{number}")]
        assert said(pairs.advance(number * 0.1 + 0.05)) == []
    assert not pairs.out_of_step


def test_a_late_frame_in_the_next_parts_window_is_an_orphan_and_the_order_holds() -> None:
    pairs = matcher()
    pairs.trigger(1, 0.0)
    assert said(pairs.advance(0.04)) == [(1, None)]
    pairs.trigger(2, 0.05)
    assert said(pairs.arrive(frame("f1", 0.065))) == [(OrphanCause.AMBIGUOUS, "f1")]
    assert said(pairs.arrive(frame("f2", 0.07))) == [(2, "f2")]
    pairs.trigger(3, 0.1)
    assert said(pairs.arrive(frame("f3", 0.12))) == [(3, "f3")]


def test_a_late_frame_between_two_parts_is_known_for_what_it_is() -> None:
    pairs = matcher()
    pairs.trigger(1, 0.0)
    pairs.advance(0.04)
    (orphan,) = pairs.arrive(frame("f1", 0.045))
    assert isinstance(orphan, Orphan)
    assert (orphan.cause, orphan.why) == (
        OrphanCause.LATE,
        "came 45 ms after trigger 1, which had been given up",
    )
    pairs.trigger(2, 0.1)
    assert said(pairs.arrive(frame("f2", 0.12))) == [(2, "f2")]


def test_a_lost_frame_shifts_nothing() -> None:
    pairs = matcher()
    pairs.trigger(1, 0.0)
    assert said(pairs.advance(0.04)) == [(1, None)]
    pairs.trigger(2, 0.1)
    assert said(pairs.arrive(frame("f2", 0.12, lost=1))) == [(2, "f2")]


def test_a_frame_lost_among_triggers_that_came_at_once_ends_its_own_only() -> None:
    pairs = matcher()
    for number in (1, 2, 3):
        pairs.trigger(number, number * 0.001)
    assert said(pairs.arrive(frame("f3", 0.02, lost=2))) == [(1, None), (2, None), (3, "f3")]


def test_frames_of_triggers_that_came_at_once_are_refused_until_counting_is_certain() -> None:
    pairs = matcher()
    for number in (1, 2):
        pairs.trigger(number, number * 0.001)
    assert said(pairs.arrive(frame("f1", 0.02))) == [(OrphanCause.AMBIGUOUS, "f1")]
    assert said(pairs.arrive(frame("f2", 0.021))) == [(1, None), (2, "f2")]


def test_a_trigger_that_the_camera_passed_over_ends_in_a_flush_not_in_a_shift() -> None:
    pairs = matcher()
    pairs.trigger(1, 0.0)
    pairs.advance(0.04)
    pairs.trigger(2, 0.05)
    assert said(pairs.arrive(frame("f2", 0.07))) == [(OrphanCause.AMBIGUOUS, "f2")]
    assert said(pairs.advance(0.09)) == [(2, None)]
    assert pairs.out_of_step
    pairs.reset(0.12)
    assert said(pairs.trigger(3, 0.11)) == [(3, None)], "its frame may have been flushed"
    pairs.trigger(4, 0.15)
    assert said(pairs.arrive(frame("f4", 0.17))) == [(4, "f4")]


def test_a_trigger_forgotten_may_be_the_owner_of_a_frame_refused_before() -> None:
    """Frame 1 came 480 ms late, frame 2 comes 110 ms late: two frames and two triggers, but not theirs."""
    pairs = matcher()
    pairs.trigger(1, 0.0)
    pairs.advance(0.04)
    pairs.trigger(2, 0.46)
    assert said(pairs.arrive(frame("f1", 0.48))) == [(OrphanCause.AMBIGUOUS, "f1")]
    pairs.advance(0.5)
    pairs.trigger(3, 0.55)
    assert said(pairs.arrive(frame("f2", 0.57))) == [(OrphanCause.AMBIGUOUS, "f2")]


def test_a_gap_before_a_refused_frame_is_counted_with_it() -> None:
    pairs = matcher()
    for number in (1, 2, 3):
        pairs.trigger(number, number * 0.001)
    assert said(pairs.arrive(frame("f2", 0.02, lost=1))) == [(OrphanCause.AMBIGUOUS, "f2")]
    assert said(pairs.arrive(frame("f3", 0.021)))[-1] == (3, "f3")


def test_a_clock_that_fits_two_triggers_decides_nothing() -> None:
    pairs = matcher()
    pairs.trigger(1, 0.0)
    pairs.arrive(frame("f1", 0.02, clock_s=100.0))
    pairs.trigger(2, 0.1)
    pairs.trigger(3, 0.11)
    assert said(pairs.arrive(frame("f3", 0.125, clock_s=100.105))) == [(OrphanCause.AMBIGUOUS, "f3")]


def test_on_a_slow_line_a_trigger_passed_over_is_forgotten() -> None:
    pairs = matcher()
    pairs.trigger(1, 0.0)
    pairs.advance(0.04)
    pairs.trigger(2, 1.0)
    assert said(pairs.arrive(frame("f2", 1.02))) == [(2, "f2")]
    pairs.trigger(3, 2.0)
    pairs.advance(2.1)
    pairs.trigger(4, 3.0)
    assert said(pairs.arrive(frame("f4", 3.02, lost=1))) == [(4, "f4")], "the gap is trigger 3's"


def test_more_frames_than_triggers_ask_for_a_flush() -> None:
    pairs = matcher()
    pairs.trigger(1, 0.0)
    assert said(pairs.arrive(frame("f", 0.02, lost=3))) == [(OrphanCause.SURPLUS, "f")]
    assert pairs.out_of_step


def test_a_frame_without_a_trigger_is_an_orphan() -> None:
    pairs = matcher()
    assert said(pairs.arrive(frame("f0", 0.0))) == [(OrphanCause.NO_TRIGGER, "f0")]
    pairs.trigger(1, 0.1)
    assert said(pairs.arrive(frame("early", 0.105))) == [(OrphanCause.NO_TRIGGER, "early")]
    assert said(pairs.arrive(frame("f1", 0.12))) == [(1, "f1")]


def test_where_triggers_lag_a_frame_without_one_closes_the_matcher_for_so_long() -> None:
    pairs = matcher(trigger_lag_s=0.5)
    assert said(pairs.arrive(frame("f1", 0.0))) == [(OrphanCause.NO_TRIGGER, "f1")]
    assert said(pairs.trigger(1, 0.08)) == [(1, None)], "told late: the next frame is not its"
    pairs.trigger(9, 0.6)
    assert said(pairs.arrive(frame("f9", 0.62))) == [(9, "f9")]


def test_the_cameras_clock_places_what_counting_cannot() -> None:
    pairs = matcher()
    pairs.trigger(1, 0.0)
    assert said(pairs.arrive(frame("f1", 0.02, clock_s=100.0))) == [(1, "f1")]
    pairs.trigger(2, 0.1)  # passed over by the camera
    pairs.advance(0.14)
    pairs.trigger(3, 0.15)
    assert said(pairs.arrive(frame("f3", 0.17, clock_s=100.151))) == [(3, "f3")]
    pairs.trigger(4, 0.2)  # late
    pairs.advance(0.24)
    pairs.trigger(5, 0.25)
    assert said(pairs.arrive(frame("f4", 0.27, clock_s=100.2))) == [(OrphanCause.LATE, "f4")]
    assert said(pairs.arrive(frame("f5", 0.275, clock_s=100.25))) == [(5, "f5")]


def test_a_trigger_given_up_before_its_window_is_over_goes_on_owing_its_frame() -> None:
    pairs = matcher()
    pairs.trigger(1, 0.0)
    pairs.give_up(1)
    assert said(pairs.arrive(frame("f1", 0.02))) == [(OrphanCause.LATE, "f1")]
    assert said(pairs.advance(1.0)) == [], "it ended once"


@pytest.mark.parametrize("bounds", [(0.2, 0.1), (float("nan"), 1.0)])
def test_a_window_that_is_none_is_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="is none"):
        Window(earliest_s=bounds[0], latest_s=bounds[1])


def test_a_frame_must_not_settle_sooner_than_its_window_ends() -> None:
    with pytest.raises(ValueError, match="shorter than the window"):
        Matcher[str](WINDOW, settle_s=0.02)


@dataclass(frozen=True, slots=True)
class OnItsWay:
    """A frame between a camera and the station; its owner is what the matcher must not see."""

    owner: int
    number: int
    arrives_s: float
    clock_ns: int


class Line(RuleBasedStateMachine):
    """A camera at a line's edge on which everything goes wrong; the world knows which frame is whose."""

    has_clock = False
    delays_s = st.floats(WINDOW.earliest_s, WINDOW.latest_s)

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 10.0
        self.pairs: Matcher[OnItsWay] = Matcher(WINDOW, settle_s=SETTLE_S)
        self.numbers = FrameNumbers()
        self.fired = 0
        self.exposed = 0
        self.on_their_way: list[OnItsWay] = []
        self.ended: Counter[int] = Counter()
        self.wrong: list[str] = []

    def take(self, results: Sequence[Result[OnItsWay]]) -> None:
        for result in results:
            if isinstance(result, Matched):
                if result.arrival.content.owner != result.trigger_id:
                    self.wrong.append(f"{result.arrival.content} given to {result.trigger_id}")
                self.ended[result.trigger_id] += 1
            elif isinstance(result, Expired):
                self.ended[result.trigger_id] += 1

    def fire(self) -> None:
        self.fired += 1
        self.take(self.pairs.trigger(self.fired, self.now_s))

    def expose(self, delay_s: float, *, lost: bool = False) -> None:
        self.exposed += 1
        before_s = self.on_their_way[-1].arrives_s if self.on_their_way else 0.0
        frame = OnItsWay(
            owner=self.fired,
            number=self.exposed,
            arrives_s=max(self.now_s + delay_s, before_s),
            clock_ns=round((self.now_s + WINDOW.earliest_s / 2 + 1e6) * 1e9),
        )
        if not lost:
            self.on_their_way.append(frame)

    @rule(delay_s=delays_s)
    def punctual(self, delay_s: float) -> None:
        self.fire()
        self.expose(delay_s)

    @rule(delay_s=st.floats(WINDOW.latest_s, SETTLE_S))
    def late(self, delay_s: float) -> None:
        self.fire()
        self.expose(delay_s)

    @rule()
    def lost(self) -> None:
        self.fire()
        self.expose(0.0, lost=True)

    @rule()
    def passed_over(self) -> None:
        self.fire()

    @precondition(lambda self: self.on_their_way)
    @rule()
    def duplicated(self) -> None:
        self.on_their_way.append(self.on_their_way[-1])

    @precondition(lambda self: len(self.on_their_way) > 1)
    @rule()
    def reordered(self) -> None:
        *rest, first, second = self.on_their_way
        moved = OnItsWay(second.owner, second.number, first.arrives_s, second.clock_ns)
        if first.arrives_s >= self.moment_exposed_s(second) + WINDOW.earliest_s:
            self.on_their_way = [*rest, moved, first]

    def moment_exposed_s(self, frame: OnItsWay) -> float:
        return frame.clock_ns / 1e9 - 1e6 - WINDOW.earliest_s / 2

    @rule(step_s=st.sampled_from([0.0, 0.001, 0.004, 0.011, 0.02, 0.035, 0.06, 0.1, 0.3, 0.7]))
    def time_passes(self, step_s: float) -> None:
        self.now_s += step_s
        while self.on_their_way and self.on_their_way[0].arrives_s <= self.now_s:
            self.deliver(self.on_their_way.pop(0))
        self.take(self.pairs.advance(self.now_s))

    def deliver(self, frame: OnItsWay) -> None:
        try:
            lost = self.numbers.follow(frame.number)
        except NumberNotRisen:
            return
        clock_ns = frame.clock_ns if self.has_clock else None
        self.take(
            self.pairs.arrive(
                Arrival(content=frame, arrived_s=frame.arrives_s, lost_before=lost, camera_time_ns=clock_ns)
            )
        )

    @precondition(lambda self: self.pairs.out_of_step)
    @rule()
    def flush(self) -> None:
        self.on_their_way.clear()
        self.numbers = FrameNumbers()
        self.take(self.pairs.reset(self.now_s))

    @invariant()
    def no_frame_is_ever_given_to_anothers_trigger(self) -> None:
        assert self.wrong == []

    @invariant()
    def no_trigger_ends_twice(self) -> None:
        assert all(times == 1 for times in self.ended.values())

    def teardown(self) -> None:
        self.time_passes(10.0)
        assert self.wrong == []
        assert self.ended == Counter(range(1, self.fired + 1)), "every trigger ends, once"


class LineWithClock(Line):
    has_clock = True


MANY = settings(max_examples=100, stateful_step_count=25, deadline=None, derandomize=True)
TestLine = Line.TestCase
TestLine.settings = MANY
TestLineWithClock = LineWithClock.TestCase
TestLineWithClock.settings = MANY
