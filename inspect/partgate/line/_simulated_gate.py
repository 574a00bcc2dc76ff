"""A gate in this program, at the other end of a real line: slow, deaf or hung as it is told to be."""

import random
import socket
import threading
import time
import uuid
from collections import deque

from partgate.line._gate_twin import GateTwin
from partgate.line._output_link import GateLink, LinkLost, SocketLink
from partgate.line._output_messages import Heard, Signal, Told

LEASE_S = 2.0
TURN_S = 0.05
JOIN_S = 5.0


class SimulatedGate:
    """Answers as a gate's controller does. `connect` and what shows its state may be called by any thread.

    Args:
        latency_s: before every answer.
        loss: the share of messages that get lost, on either way.
        stuck_after: hangs for ever after so many parts; None never does.
        seed: of what is lost.
        lease_s: a station that is silent for so long is taken for dead.
    """

    def __init__(
        self,
        *,
        latency_s: float = 0.0,
        loss: float = 0.0,
        stuck_after: int | None = None,
        seed: int = 0,
        lease_s: float = LEASE_S,
    ) -> None:
        self.loss, self.is_stuck = loss, False
        self._latency_s, self._stuck_after = latency_s, stuck_after
        self._random = random.Random(seed)
        self._twin = GateTwin(lease_s=lease_s)
        self._lock = threading.Lock()
        self._line: SocketLink | None = None
        self._answers: deque[tuple[float, Heard]] = deque()
        self._unread: tuple[SocketLink | None, Told | Heard | None] = (None, None)  # its thread's alone
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="simulated-gate", daemon=True)
        self._thread.start()

    def connect(self) -> GateLink:
        """Return a new line to this gate; an earlier one ends."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with self._lock:
            if self._line is not None:
                self._line.close()
            self._line = SocketLink(theirs)
            self._answers.clear()
        return SocketLink(ours)

    def drop_line(self) -> None:
        """End the line, as a controller does that is switched off."""
        self._drop(self._line)

    def _drop(self, line: SocketLink | None) -> None:
        with self._lock:
            if line is not None:
                line.close()
            if self._line is line:
                self._line = None
                self._twin.line_lost()

    @property
    def accepted(self) -> int:
        """How many parts' verdicts it has taken, each once."""
        return self._twin.accepted

    @property
    def duplicates(self) -> int:
        """How many verdicts came again."""
        return self._twin.duplicates

    @property
    def refused(self) -> int:
        """How many verdicts contradicted one of the same part."""
        return self._twin.refused

    @property
    def parts_may_come(self) -> bool:
        """Whether the station is known to be ready."""
        with self._lock:
            return self._twin.parts_may_come(time.monotonic())

    def opens_for(self, part_id: uuid.UUID) -> bool:
        """Return whether it would open if this part came to it now."""
        with self._lock:
            return self._twin.opens_for(part_id, time.monotonic())

    def close(self) -> None:
        """End it, and its line."""
        self._stop.set()
        self._thread.join(JOIN_S)
        self.drop_line()

    def _run(self) -> None:
        while not self._stop.is_set():
            line = self._line
            if line is None or self.is_stuck:
                self._stop.wait(TURN_S / 5)
                continue
            try:
                self._turn(line)
            except LinkLost:
                self._drop(line)

    def _turn(self, line: SocketLink) -> None:
        from_line, message = self._unread
        if message is None or from_line is not line:
            message = line.receive(self._until_next_answer_s())
        # It may have hung while it waited: what came since is read when it goes on.
        self._unread = (line, message) if self.is_stuck else (None, None)
        if self.is_stuck:
            return
        with self._lock:
            now_s = time.monotonic()
            if message is not None and not self._gets_lost():
                answer = self._twin.hear(message, now_s)
                if answer is not None and not self._gets_lost():
                    self._answers.append((now_s + self._latency_s, answer))
                if isinstance(message, Signal) and self._twin.accepted == self._stuck_after:
                    self.is_stuck = True
            while self._answers and self._answers[0][0] <= now_s and self._line is line:
                line.send(self._answers.popleft()[1])

    def _until_next_answer_s(self) -> float:
        if not self._answers:
            return TURN_S
        return min(TURN_S, max(0.0, self._answers[0][0] - time.monotonic()))

    def _gets_lost(self) -> bool:
        return self.loss > 0 and self._random.random() < self.loss
