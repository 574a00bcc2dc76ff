"""What pages count: the ledger, and what is left to review."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from partgate.review import _ledger, _left, _queue, _resting
from partgate.review._filter import Filter
from partgate.review._ledger import Ledger
from partgate.review._left import Left
from partgate.review._resting import Resting


def _clock(*times_s: float) -> Any:
    times: Iterator[float] = iter(times_s)
    return lambda: next(times)


def test_a_ledger_that_is_quick_to_count_is_counted_each_time(line: Any) -> None:
    ledger = Ledger(clock=_clock(0, 0.1, 0.2, 0.3))
    assert line.read(ledger.count).triggers == 0
    line.part()
    assert line.read(ledger.count).triggers == 1


def test_a_ledger_that_is_slow_to_count_rests(line: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ledger, "FRESH_BELOW_S", 0.25)
    ledger = Ledger(clock=_clock(100, 101, 119.9, 120, 121))
    assert line.read(ledger.count).triggers == 0
    line.part()
    assert line.read(ledger.count).triggers == 0, "counting took 1 s: it rests until 120"
    assert line.read(ledger.count).triggers == 1


def test_what_is_left_is_counted_up_to_a_limit(
    reviewer: Any, line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (_queue, _left):
        monkeypatch.setattr(module, "MOST_COUNTED", 3)
    for _ in range(3):
        line.part(frames=0)
    assert '<span id="left">3</span> to review' in reviewer.get("/").text
    part = line.part(frames=0)
    line.part(frames=0)
    assert '<span id="left">3+</span> to review' in reviewer.get("/").text
    assert "3+ left" in reviewer.get(f"/parts/{part}").text
    assert reviewer.get("/waiting").json()["left"] == "3+"
    assert line.read(lambda session: _queue.count_open(session, Filter())) == 4, "no more than needed"


def test_a_count_that_is_slow_rests_for_its_own_choice(line: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_left, "FRESH_BELOW_S", 0.05)
    left = Left(clock=_clock(100, 101, 101, 102, 119.9, 120, 120.01))
    line.part(frames=0)
    bricks, gravel = Filter(product="brick"), Filter(product="gravel")
    assert line.read(lambda session: left.text(session, bricks)) == "1"
    assert line.read(lambda session: left.text(session, gravel)) == "0", "another choice"
    line.part(frames=0)
    assert line.read(lambda session: left.text(session, bricks)) == "1", "it took 1 s: it rests until 120"
    assert line.read(lambda session: left.text(session, bricks)) == "2"


def test_choices_that_were_counted_are_bounded(line: Any) -> None:
    left = Left(choices=4)
    for number in range(20):
        choice = Filter(product=f"product {number}")
        assert line.read(lambda session, choice=choice: left.text(session, choice)) == "0"
    assert len(left._counts) == 4


@contextmanager
def _counting(resting: Resting[int]) -> Iterator[None]:
    """Let another page count, and not come to an end."""
    begun, end = threading.Event(), threading.Event()

    def count() -> int:
        begun.set()
        end.wait(20)
        return 2

    thread = threading.Thread(target=resting.get, args=(count,))
    thread.start()
    assert begun.wait(20)
    try:
        yield
    finally:
        end.set()
        thread.join(20)


class _Hand:
    """A clock that is set by hand."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def _never() -> int:
    raise AssertionError("another page counts already")


def test_a_page_is_not_kept_by_another_ones_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_resting, "FIRST_WAIT_S", 0.01)
    hand = _Hand()
    resting: Resting[int] = Resting(fresh_below_s=0.25, clock=hand)
    one: Callable[[], int] = lambda: 1  # noqa: E731 - said where it is used
    began_s = time.monotonic()
    with _counting(resting):
        assert resting.get(one) == 1, "nothing was counted before: it counts for itself"
    assert resting.get(one) == 1
    with _counting(resting):
        assert resting.get(_never) == 1, "what was counted before"
        hand.now_s += _resting.STALE_S
        assert resting.get(lambda: 3) == 3, "that is too long ago"
    assert time.monotonic() - began_s < 3


def test_who_waited_takes_what_was_counted_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_resting, "FIRST_WAIT_S", 20)
    hand = _Hand()
    resting: Resting[int] = Resting(fresh_below_s=0.25, clock=hand)
    found: list[int] = []
    with _counting(resting):
        waiting = threading.Thread(target=lambda: found.append(resting.get(_never)))
        waiting.start()
        hand.now_s += 1  # so long it takes, and so it rests
    waiting.join(20)
    assert found == [2]
