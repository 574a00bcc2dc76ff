"""When parts come."""

import threading
import time

from partgate.line._triggers import Continuous, Interval


def test_a_part_that_fell_due_in_the_meantime_keeps_its_own_time() -> None:
    source = Interval(period_s=0.01)
    stop = threading.Event()
    first = source.wait(1, stop)
    assert first is not None
    time.sleep(0.05)
    later = [source.wait(number, stop) for number in (2, 3)]
    due = [trigger.monotonic_s for trigger in later if trigger is not None]
    assert [round(moment - first.monotonic_s, 6) for moment in due] == [0.01, 0.02]


def test_waiting_ends_when_the_station_stops() -> None:
    source, stop = Interval(period_s=3600), threading.Event()
    assert source.wait(1, stop) is not None
    threading.Timer(0.05, stop.set).start()
    assert source.wait(2, stop) is None


def test_the_next_part_comes_at_once_until_the_station_stops() -> None:
    stop = threading.Event()
    assert [t.trigger_id for t in (Continuous().wait(n, stop) for n in (4, 5)) if t is not None] == [4, 5]
    stop.set()
    assert Continuous().wait(6, stop) is None


def test_a_line_that_waits_long_for_its_next_part_still_turns() -> None:
    source, stop = Interval(period_s=3600), threading.Event()
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if turns == 2:
            stop.set()

    source.on_idle(turn)
    assert source.wait(1, stop) is not None  # the first is due at once
    assert turns == 0
    assert source.wait(2, stop) is None
    assert turns == 2
