"""An output whose signals are confirmed: sent, sent again, confirmed or given up.

    signal --> SENT --accepted within confirm_s--> CONFIRMED; of an ACCEPT the release is sent
                 | `--every resend_s: sent again, the same part id and sequence
                 `--confirm_s over, or closed--> UNCONFIRMED: no release, the gate stays shut

The line's thread sends and goes on; a thread in here listens, sends again and gives up.
"""

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import structlog

from partgate.line._gate_trust import GateTrust
from partgate.line._output_link import GateLink, LinkLost
from partgate.line._output_messages import Accepted, Answer, Heard, Release, Signal, State, Told
from partgate.line._outputs import Confirmation
from partgate.line._part import Outcome
from partgate.records import SignalState

FIRST_RETRY_S, LONGEST_RETRY_S = 0.1, 2.0
LONGEST_TURN_S = 0.1
JOIN_S = 5.0

log = structlog.get_logger(__name__)

Connect = Callable[[], GateLink]
"""Returns a new line to the gate; raises LinkLost where there is none. Must not wait for long."""


@dataclass(slots=True, kw_only=True)
class _Pending:
    """A signal that is not confirmed yet."""

    signal: Signal
    sent_s: float
    due_s: float
    give_up_s: float
    sends: int = 1
    future: Future[Confirmation] = field(default_factory=Future)

    def end(self, state: SignalState) -> None:
        took_ms = (time.monotonic() - self.sent_s) * 1000
        self.future.set_result(Confirmation(state=state, took_ms=took_ms, sends=self.sends))


class AcknowledgedOutput:
    """Tells a gate over a line that may lose messages, hang, or end and come back.

    Args:
        connect: makes the line, at first and again whenever it was lost.
        confirm_s: from sending a signal to giving it up.
        resend_s: without a confirmation for so long, it is sent again.
    """

    def __init__(self, connect: Connect, *, confirm_s: float, resend_s: float) -> None:
        self._connect, self._confirm_s, self._resend_s = connect, confirm_s, resend_s
        self._turn_s = min(resend_s, LONGEST_TURN_S)
        self._trust = GateTrust()
        self._pending: dict[uuid.UUID, _Pending] = {}
        self._lock = threading.Lock()
        self._link: GateLink | None = None
        self._sending = threading.Lock()  # nothing is sent on a line that is being closed
        self._retry_at_s, self._retry_s = 0.0, FIRST_RETRY_S
        self._beat, self._parts_may_come = 0, False
        self._unconfirmed_in_a_row = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._reconnect()
        self._thread.start()

    @property
    def problem(self) -> str | None:
        """Why the gate cannot be told; None if it can."""
        return self._trust.problem

    def ready(self, *, parts_may_come: bool) -> None:
        """Show whether parts may come; who tells no more is not there any more, and the gate shuts."""
        self._parts_may_come = parts_may_come
        self._tell_state()

    def signal(self, outcome: Outcome) -> Future[Confirmation]:
        """Send a part's verdict, once now, without waiting."""
        signal = Signal(
            part_id=outcome.part_id,
            sequence=outcome.trigger_id,
            verdict=outcome.decision.verdict,
            gate_open=outcome.gate_open,
        )
        now_s = time.monotonic()
        pending = _Pending(
            signal=signal, sent_s=now_s, due_s=now_s + self._resend_s, give_up_s=now_s + self._confirm_s
        )
        with self._lock:
            self._pending[signal.part_id] = pending
        self._send(signal)
        return pending.future

    def close(self) -> None:
        """Say that parts must not come any more, give up what is not confirmed, let go of the line."""
        self.ready(parts_may_come=False)
        self._stop.set()
        self._thread.join(JOIN_S)
        with self._lock:
            left = list(self._pending.values())
            self._pending.clear()
        for pending in left:
            pending.end(SignalState.UNCONFIRMED)
        self._drop_link()

    def _tell_state(self) -> None:
        self._beat += 1
        self._trust.asked(self._beat)
        self._send(State(parts_may_come=self._parts_may_come, beat=self._beat))

    def _send(self, message: Told) -> bool:
        with self._sending:
            if self._link is None:
                return False
            try:
                return self._link.send(message)
            except LinkLost:
                return False  # the thread in here finds that out with its next look, and says so

    def _drop_link(self) -> None:
        with self._sending:
            link, self._link = self._link, None
            if link is not None:
                link.close()

    # In the thread.

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._turn()
            except LinkLost as lost:
                self._lose(str(lost))
            except Exception as error:
                # The top of this thread: a fault here costs the line, as any other loss does.
                log.exception("the output's messages failed")
                self._lose(f"its messages failed: {error}")

    def _turn(self) -> None:
        link = self._link
        if link is None:
            self._stop.wait(self._turn_s)
            self._reconnect()
        elif (message := link.receive(self._turn_s)) is not None:
            self._hear(message)
        self._look_after()

    def _hear(self, message: Heard | Told) -> None:
        match message:
            case Answer(beat=beat):
                self._trust.answered(beat)
            case Accepted():
                self._accepted(message)
            case _:
                log.warning("the gate sent what only a station sends", message=type(message).__name__)

    def _accepted(self, message: Accepted) -> None:
        with self._lock:
            pending = self._pending.get(message.part_id)
            if pending is None or pending.signal.sequence != message.sequence:
                return  # once more, or after it was given up: then nothing is released
            if time.monotonic() > pending.give_up_s:
                return
            del self._pending[message.part_id]
        signal = pending.signal
        if signal.gate_open and not self._send(Release(part_id=signal.part_id, sequence=signal.sequence)):
            self._give_up(pending)
            return
        pending.end(SignalState.CONFIRMED)
        if self._unconfirmed_in_a_row:
            log.warning("signals are confirmed again", unconfirmed=self._unconfirmed_in_a_row)
        self._unconfirmed_in_a_row = 0

    def _look_after(self) -> None:
        """Send again what is due, give up what is over."""
        now_s = time.monotonic()
        with self._lock:
            over = [one for one in self._pending.values() if now_s >= one.give_up_s]
            for one in over:
                del self._pending[one.signal.part_id]
            due = [one for one in self._pending.values() if now_s >= one.due_s]
        for one in over:
            self._give_up(one)
        for one in due:
            one.sends += 1
            one.due_s = now_s + self._resend_s
            self._send(one.signal)

    def _give_up(self, pending: _Pending) -> None:
        signal = pending.signal
        why = f"the signal of trigger {signal.sequence} was not confirmed in {self._confirm_s * 1000:.0f} ms"
        self._trust.doubt(why)
        pending.end(SignalState.UNCONFIRMED)
        self._unconfirmed_in_a_row += 1
        if self._unconfirmed_in_a_row == 1:  # of the rest the rows and the figures tell
            log.warning("signal not confirmed", trigger=signal.sequence, part=str(signal.part_id),
                        verdict=signal.verdict.value, sends=pending.sends)  # fmt: skip

    def _lose(self, why: str) -> None:
        log.warning("the line to the gate was lost", why=why)
        self._trust.lost(why)
        self._drop_link()
        self._retry_at_s = time.monotonic() + self._retry_s

    def _reconnect(self) -> None:
        if time.monotonic() < self._retry_at_s:
            return
        try:
            link = self._connect()
        except LinkLost as lost:
            self._trust.lost(str(lost))
            self._retry_s = min(LONGEST_RETRY_S, self._retry_s * 2)
            self._retry_at_s = time.monotonic() + self._retry_s
            return
        self._retry_s = FIRST_RETRY_S
        self._trust.connected()
        with self._sending:
            self._link = link
        self._tell_state()
