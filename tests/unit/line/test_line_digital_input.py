"""Edges of a digital input: debounced, in order, each one a part."""

import threading
import time
from datetime import UTC, datetime

import pytest

from edge_cameras import EdgeInput
from partgate.line._digital_input import Debounce, DigitalInput, Edge, SimulatedInput, WaitingEdges
from partgate.line._part import Trigger


def edge(at_s: float, serial_number: str | None = None) -> Edge:
    return Edge(at_s=at_s, at=datetime.now(UTC), serial_number=serial_number)


def collect(source: DigitalInput, parts: int) -> list[Trigger]:
    stop = threading.Event()
    triggers = [source.wait(number, stop) for number in range(1, parts + 1)]
    return [trigger for trigger in triggers if trigger is not None]


def test_an_edge_is_one_part_however_often_it_bounces() -> None:
    debounce = Debounce(0.005)
    moments = [0.0, 0.001, 0.004, 0.008, 0.02, 0.0249, 0.03]
    assert [moment for moment in moments if debounce.is_new(edge(moment))] == [0.0, 0.02, 0.03]
    assert debounce.bounces == 4
    assert all(Debounce(0.0).is_new(edge(moment)) for moment in (0.0, 0.0))


def test_fired_edges_become_triggers_with_their_time_and_serial_number() -> None:
    device = SimulatedInput()
    source = DigitalInput(device, debounce_s=0.001, waiting_parts=8)
    try:
        fired = []
        for part in range(3):
            fired.append(device.fire(f"SN{part}", bounces=2))
            time.sleep(0.002)
        triggers = collect(source, 3)
    finally:
        source.close()
    assert [trigger.trigger_id for trigger in triggers] == [1, 2, 3]
    assert [trigger.serial_number for trigger in triggers] == ["SN0", "SN1", "SN2"]
    assert [trigger.monotonic_s for trigger in triggers] == [edge.at_s for edge in fired]
    assert source.bounces == 6


def test_a_simulated_period_is_kept_whoever_is_late() -> None:
    device = SimulatedInput(period_s=0.01)
    time.sleep(0.06)
    edges = [device.wait(1) for _ in range(5)]
    moments = [edge.at_s for edge in edges if edge is not None]
    assert [round(later - moments[0], 6) for later in moments] == [0.0, 0.01, 0.02, 0.03, 0.04]


def test_what_waits_is_known_ahead_by_the_ids_it_will_have() -> None:
    source = DigitalInput(EdgeInput([edge(1.0), edge(2.0), edge(3.0)]), debounce_s=0.0, waiting_parts=8)
    try:
        (first,) = collect(source, 1)
        give_up_s = time.monotonic() + 20
        while len(source.ahead()) < 2 and time.monotonic() < give_up_s:
            time.sleep(0.001)
        ahead = source.ahead()
        assert (first.trigger_id, first.monotonic_s) == (1, 1.0)
        assert [(trigger.trigger_id, trigger.monotonic_s) for trigger in ahead] == [(2, 2.0), (3, 3.0)]
        second = source.wait(2, threading.Event())
        assert second == ahead[0]
    finally:
        source.close()


def test_edges_that_are_too_many_are_declared_in_their_order_and_none_is_dropped() -> None:
    waiting = WaitingEdges(2, overflow="declare")
    for number in range(10):
        waiting.put(edge(float(number), str(number)))
    taken = [waiting.take(0) for _ in range(3)]
    assert [(item[0].serial_number, item[1]) for item in taken if item] == [
        ("0", False),
        ("1", False),
        ("2", True),
    ]
    waiting.put(edge(10.0, "10"))
    assert len(waiting.waiting()) == 8
    rest = [item for item in (waiting.take(0) for _ in range(9)) if item]
    assert [item[1] for item in rest] == [True] * 7 + [False]
    assert rest[-1][0].serial_number == "10", "judged again as soon as there is room"
    assert {item[0].serial_number for item in rest[1:-1]} == {None}, "a merged one does not pose as a part"


def test_waiting_ends_when_the_station_stops_and_something_is_done_meanwhile() -> None:
    source, stop, turns = DigitalInput(SimulatedInput(), debounce_s=0, waiting_parts=1), threading.Event(), []

    def idle() -> None:
        turns.append(1)
        if len(turns) == 3:
            stop.set()

    source.on_idle(idle)
    try:
        assert source.wait(1, stop) is None
    finally:
        source.close()
    assert len(turns) == 3


class BrokenInput:
    def wait(self, timeout_s: float) -> Edge | None:
        raise OSError(5, "the input card has gone")

    def close(self) -> None: ...


def test_an_input_that_fails_stops_the_station_instead_of_going_blind() -> None:
    source = DigitalInput(BrokenInput(), debounce_s=0, waiting_parts=1)
    try:
        with pytest.raises(OSError, match="the input card has gone"):
            source.wait(1, threading.Event())
    finally:
        source.close()
