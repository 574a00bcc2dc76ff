"""What becomes of a signal: confirmed once, or given up in time with the gate shut."""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from partgate.line._acknowledged import AcknowledgedOutput
from partgate.line._confirmations import Confirmations
from partgate.line._gate_twin import REMEMBERED, GateTwin
from partgate.line._make_output import output_of
from partgate.line._output_link import LinkLost
from partgate.line._output_messages import (
    Accepted,
    Answer,
    Heard,
    Release,
    Signal,
    State,
    Told,
    decode,
    encode,
)
from partgate.line._outputs import Confirmation, NoOutput
from partgate.line._part import Decision, Outcome, Reason
from partgate.line._simulated_gate import SimulatedGate
from partgate.records import ClosedPart, SignalState
from partgate_station import SimulatedOutput, StationConfig, Verdict, VirtualCamera

LONG_S = 30.0
"""What a machine that is busy with other things may take."""


def outcome(trigger_id: int, verdict: Verdict = Verdict.ACCEPT) -> Outcome:
    decision = (
        Decision.undecided(Reason.CAMERA_TIMEOUT, "no frame")
        if verdict is Verdict.UNDECIDED
        else Decision(verdict=verdict, score=1.0)
    )
    return Outcome(
        part_id=uuid.uuid4(),
        trigger_id=trigger_id,
        decision=decision,
        gate_open=verdict is Verdict.ACCEPT,
        latency_ms=10.0,
    )


@contextlib.contextmanager
def told(gate: SimulatedGate, *, confirm_s: float = LONG_S) -> Iterator[AcknowledgedOutput]:
    with (
        contextlib.closing(gate),
        contextlib.closing(AcknowledgedOutput(gate.connect, confirm_s=confirm_s, resend_s=0.01)) as output,
    ):
        yield output


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < give_up_s, "it did not happen in time"
        time.sleep(0.005)


def prove(output: AcknowledgedOutput) -> None:
    """Give the signs of life that a supervision gives, until there is nothing to complain of."""

    def proven() -> bool:
        output.ready(parts_may_come=True)
        return output.problem is None

    wait_until(proven)


def test_an_accept_that_is_confirmed_opens_the_gate_and_nothing_else_does() -> None:
    gate = SimulatedGate(lease_s=LONG_S)
    with told(gate) as output:
        outcomes = [outcome(number, verdict) for number, verdict in enumerate(Verdict, start=1)]
        for one in outcomes:
            confirmation = output.signal(one).result(LONG_S)
            assert (confirmation.state, confirmation.sends >= 1) == (SignalState.CONFIRMED, True)
        wait_until(lambda: gate.opens_for(outcomes[0].part_id))
        assert [gate.opens_for(one.part_id) for one in outcomes] == [
            one.decision.verdict is Verdict.ACCEPT for one in outcomes
        ]
        assert gate.accepted == len(outcomes)
    assert not any(gate.opens_for(one.part_id) for one in outcomes), "nobody is there any more"


def test_a_signal_does_not_wait_for_its_confirmation() -> None:
    with told(SimulatedGate(latency_s=1.0)) as output:
        began_s = time.monotonic()
        signalled = output.signal(outcome(1))
        assert time.monotonic() - began_s < 0.5
        assert not signalled.done()
        assert signalled.result(LONG_S).took_ms >= 1000


def test_a_signal_that_nobody_confirms_is_given_up_in_time_with_the_gate_shut() -> None:
    gate = SimulatedGate()
    with told(gate, confirm_s=0.2) as output, capture_logs() as logged:
        prove(output)
        gate.is_stuck = True
        parts = [outcome(1), outcome(2)]
        signalled = [output.signal(part) for part in parts]
        for confirmation in (one.result(LONG_S) for one in signalled):
            assert confirmation.state is SignalState.UNCONFIRMED
            assert confirmation.took_ms >= 200
            assert confirmation.sends > 1
        assert output.problem == "the signal of trigger 2 was not confirmed in 200 ms"
        gate.is_stuck = False  # now it reads all that was sent to it: the part counts, the gate stays shut
        wait_until(lambda: gate.accepted == 2 and gate.duplicates > 0)
        assert not any(gate.opens_for(part.part_id) for part in parts)
        assert output.problem is not None, "an answer to a sign of life from before proves nothing"
        prove(output)
        assert output.signal(outcome(3)).result(LONG_S).state is SignalState.CONFIRMED
    events = [entry["event"] for entry in logged if entry["log_level"] == "warning"]
    assert events == ["signal not confirmed", "signals are confirmed again"]


@pytest.mark.parametrize("seed", range(3))
def test_on_a_line_that_loses_half_of_all_each_part_counts_once(seed: int) -> None:
    gate = SimulatedGate(loss=0.5, seed=seed, lease_s=LONG_S)
    with told(gate, confirm_s=0.5) as output:
        parts = [outcome(number) for number in range(1, 41)]
        states = [one.result(LONG_S).state for one in [output.signal(part) for part in parts]]
        time.sleep(0.1)  # for the releases on their way
        assert states.count(SignalState.CONFIRMED) > 30
        assert gate.duplicates > 0
        assert states.count(SignalState.CONFIRMED) <= gate.accepted <= len(parts)
        for part, state in zip(parts, states, strict=True):
            assert state is SignalState.CONFIRMED or not gate.opens_for(part.part_id)


def test_a_line_that_ends_is_made_anew_and_the_station_is_ready_again() -> None:
    gate = SimulatedGate()
    with told(gate) as output:
        prove(output)
        gate.drop_line()
        assert not gate.parts_may_come
        wait_until(lambda: "cannot be reached" in (output.problem or "") or gate.accepted > 0
                   or output.problem is None)  # fmt: skip
        assert output.signal(outcome(1)).result(LONG_S).state is SignalState.CONFIRMED
        prove(output)
        assert gate.parts_may_come


def test_a_gate_that_is_not_there_is_asked_for_again_and_again() -> None:
    gate = SimulatedGate()
    there = threading.Event()

    def connect() -> object:
        if not there.is_set():
            raise LinkLost("connection refused")
        return gate.connect()

    with (
        contextlib.closing(gate),
        contextlib.closing(AcknowledgedOutput(connect, confirm_s=0.05, resend_s=0.01)) as output,  # type: ignore[arg-type]
    ):
        assert output.problem == "the gate cannot be reached: connection refused"
        assert output.signal(outcome(1)).result(LONG_S).state is SignalState.UNCONFIRMED
        there.set()
        prove(output)


def test_a_gate_that_hangs_is_found_out_without_a_part() -> None:
    gate = SimulatedGate()
    with told(gate) as output:
        prove(output)
        gate.is_stuck = True

        def found_out() -> bool:
            output.ready(parts_may_come=True)
            return "the gate has not answered for 1." in (output.problem or "")

        wait_until(found_out)
        gate.is_stuck = False
        prove(output)


def test_closing_gives_up_what_waits_and_shows_not_ready_first() -> None:
    heard: list[Told | Heard] = []

    class Deaf:
        def send(self, message: Told) -> bool:
            heard.append(message)
            return True

        def receive(self, timeout_s: float) -> None:
            time.sleep(min(timeout_s, 0.01))

        def close(self) -> None:
            heard.append(Answer(beat=-1))

    output = AcknowledgedOutput(Deaf, confirm_s=LONG_S, resend_s=LONG_S)
    output.ready(parts_may_come=True)
    signalled = output.signal(outcome(1))
    output.close()
    assert signalled.result(0).state is SignalState.UNCONFIRMED
    kinds = [message.parts_may_come if isinstance(message, State) else type(message) for message in heard]
    assert kinds == [False, True, Signal, False, Answer]


MESSAGES = [
    Signal(part_id=uuid.uuid4(), sequence=7, verdict=Verdict.REVIEW, gate_open=False),
    Release(part_id=uuid.uuid4(), sequence=7),
    State(parts_may_come=True, beat=3),
    Accepted(part_id=uuid.uuid4(), sequence=7),
    Answer(beat=3),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_out_as_it_went_in(message: Told | Heard) -> None:
    assert decode(encode(message)) == message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
KEYS = st.sampled_from(["kind", "part", "sequence", "verdict", "open", "ready", "beat"])
KINDS = st.sampled_from(["signal", "release", "state", "accepted", "answer", "hello"])


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine is slow, not the inputs
@given(st.binary(max_size=60) | st.dictionaries(KEYS, JSON | KINDS).map(lambda d: repr(d).encode()))
def test_b46_bytes_that_are_no_message_are_refused(datagram: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert decode(encode(decode(datagram))) == decode(datagram)


# Three parts, and all that may come of them in any order.
PARTS = [uuid.UUID(int=number) for number in range(3)]
TOLD = st.one_of(
    st.builds(
        Signal,
        part_id=st.sampled_from(PARTS),
        sequence=st.integers(0, 4),
        verdict=st.sampled_from(Verdict),
        gate_open=st.booleans(),
    ),
    st.builds(Release, part_id=st.sampled_from(PARTS), sequence=st.integers(0, 4)),
    st.builds(State, parts_may_come=st.booleans(), beat=st.integers(0, 4)),
    st.none(),  # the line is lost
)


@settings(max_examples=200)
@given(st.lists(st.tuples(TOLD, st.floats(0, 1.5)), max_size=25))
def test_b46_a_gate_opens_for_nothing_but_a_released_accept_of_a_station_that_lives(
    story: list[tuple[Told | None, float]],
) -> None:
    twin, now_s = GateTwin(lease_s=2.0), 0.0
    first: dict[uuid.UUID, Signal] = {}
    may_open: set[uuid.UUID] = set()
    for message, later_s in story:
        now_s += later_s
        match message:
            case None:
                twin.line_lost()
                assert not any(twin.opens_for(part, now_s) for part in PARTS)
                continue
            case Signal():
                known = first.setdefault(message.part_id, message)
                if known != message:
                    may_open.discard(message.part_id)
                assert twin.hear(message, now_s) == (
                    Accepted(part_id=message.part_id, sequence=message.sequence) if known == message else None
                )
            case Release(part_id=part_id):
                if part_id in first and first[part_id].gate_open:
                    may_open.add(part_id)
                assert twin.hear(message, now_s) is None
            case State():
                assert twin.hear(message, now_s) == Answer(beat=message.beat)
        assert {part for part in PARTS if twin.opens_for(part, now_s)} == may_open
        assert not any(twin.opens_for(part, now_s + 2.1) for part in PARTS)
        assert twin.accepted == len(first)


def test_b46_places_that_are_passed_over_are_counted_and_no_more_parts_kept_than_needed() -> None:
    twin = GateTwin(lease_s=2.0)
    for sequence in (5, 6, 9, 8, *range(10, 10 + 2 * REMEMBERED)):
        twin.hear(
            Signal(part_id=uuid.uuid4(), sequence=sequence, verdict=Verdict.REJECT, gate_open=False), 0.0
        )
    assert twin.skipped == 2
    assert len(twin._parts) == REMEMBERED


def closed() -> ClosedPart:
    return ClosedPart(part_id=uuid.uuid4(), verdict=Verdict.ACCEPT)


def said(state: SignalState) -> Confirmation:
    return Confirmation(state=state, took_ms=3.0, sends=1)


def test_parts_are_closed_in_order_with_what_became_of_their_signals() -> None:
    rows: list[ClosedPart] = []
    heard: list[Confirmation] = []
    confirmations = Confirmations(rows.append, on_confirmed=heard.append, waiting_parts=2)
    futures: list[Future[Confirmation]] = [Future() for _ in range(3)]
    parts = [closed() for _ in futures]
    for part, future in zip(parts, futures, strict=True):
        confirmations.hand_over(part, future)
    futures[2].set_result(said(SignalState.CONFIRMED))
    time.sleep(0.05)
    assert rows == []
    futures[0].set_result(said(SignalState.UNCONFIRMED))
    futures[1].set_result(said(SignalState.CONFIRMED))
    confirmations.finish()
    assert [(row.part_id, row.signal_state) for row in rows] == [
        (parts[0].part_id, SignalState.UNCONFIRMED),
        (parts[1].part_id, SignalState.CONFIRMED),
        (parts[2].part_id, SignalState.CONFIRMED),
    ]
    assert len(heard) == 3
    confirmations.hand_over(parts[0], None)  # nobody confirms: at once, and no thread for it
    assert rows[3] == parts[0]
    confirmations.finish()


def test_too_many_that_wait_have_the_line_wait() -> None:
    confirmations = Confirmations(lambda part: None, waiting_parts=1)
    futures: list[Future[Confirmation]] = [Future() for _ in range(4)]
    handed: list[int] = []

    def line() -> None:
        for number, future in enumerate(futures):
            confirmations.hand_over(closed(), future)
            handed.append(number)

    thread = threading.Thread(target=line)
    thread.start()
    wait_until(lambda: len(handed) == 2)  # one in work, one that waits
    time.sleep(0.2)
    assert handed == [0, 1]
    for future in futures:
        future.set_result(said(SignalState.CONFIRMED))
    thread.join(LONG_S)
    assert handed == [0, 1, 2, 3]
    confirmations.finish()


def test_a_part_that_cannot_be_closed_stops_the_line() -> None:
    def full(part: ClosedPart) -> None:
        raise OSError(28, "No space left on device")

    confirmations = Confirmations(full)
    future: Future[Confirmation] = Future()
    future.set_result(said(SignalState.CONFIRMED))
    confirmations.hand_over(closed(), future)
    with pytest.raises(OSError, match="No space left"):
        confirmations.finish()


def station(**output: object) -> StationConfig:
    camera = VirtualCamera(kind="virtual", camera_id="top")
    if not output:
        return StationConfig(station_id="one", cameras=(camera,))
    return StationConfig(
        station_id="one",
        cameras=(camera,),
        output=SimulatedOutput.model_validate({"kind": "simulator", **output}),
    )


def test_the_station_file_says_which_output() -> None:
    with output_of(station()) as output:
        assert isinstance(output, NoOutput)
        assert output.signal(outcome(1)) is None
    with output_of(station(confirm_ms=5000, stuck_after=1, resend_ms=5000)) as output:
        output.ready(parts_may_come=True)
        first = output.signal(outcome(1))
        assert first is not None
        assert first.result(LONG_S).state is SignalState.CONFIRMED
        second = output.signal(outcome(2))
        assert second is not None
        time.sleep(0.1)
        assert not second.done()
    assert second.result(0).state is SignalState.UNCONFIRMED
