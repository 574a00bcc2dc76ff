"""What befalls the line to the gate (robustness F43): it is shut, and no part counts twice."""

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlmodel import select

from commands import opened, partgate
from partgate.line._gate_twin import GateTwin
from partgate.line._output_link import LinkLost, SocketLink
from partgate.line._output_messages import Accepted, Release, Signal, State
from partgate.records import Part, SignalState, balance, count_unconfirmed
from partgate_station import Verdict

# Each starts a process: a second on a quiet machine, twenty on a busy one.
pytestmark = pytest.mark.timeout(240)

LEASE_S = 1.0
GIVE_UP_S = 90.0

# A station's end of the line, and nothing else of a station: an ACCEPT after the other.
STATION = """
import socket, sys, time, uuid
import structlog
from partgate.line._acknowledged import AcknowledgedOutput
from partgate.line._output_link import SocketLink
from partgate.line._part import Decision, Outcome
from partgate_station import Verdict

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
line = SocketLink(socket.socket(fileno=int(sys.argv[1])))
output = AcknowledgedOutput(lambda: line, confirm_s=float(sys.argv[2]), resend_s=0.02)
for number in range(1, int(sys.argv[3]) + 1):
    output.ready(parts_may_come=True)
    outcome = Outcome(part_id=uuid.UUID(int=number), trigger_id=number, gate_open=True, latency_ms=1.0,
                      decision=Decision(verdict=Verdict.ACCEPT, score=0.1))
    print(output.signal(outcome).result(60).state.value, flush=True)
    time.sleep(0.05)
if len(sys.argv) > 4:
    sys.stdin.readline()
    output.close()
"""


@dataclass
class Gate:
    """A gate's controller in the test's own process: it outlives the station's."""

    process: subprocess.Popen[str]
    line: SocketLink
    twin: GateTwin = field(default_factory=lambda: GateTwin(lease_s=LEASE_S))
    heard: list[object] = field(default_factory=list)

    def work_until(self, wanted: Callable[[], bool], *, answers: bool = True) -> None:
        give_up_s = time.monotonic() + GIVE_UP_S
        while not wanted():
            assert time.monotonic() < give_up_s, self.heard[-5:]
            try:
                message = self.line.receive(0.02)
            except LinkLost:
                self.twin.line_lost()
                return
            if message is not None:
                self.heard.append(message)
                answer = self.twin.hear(message, time.monotonic())
                if answer is not None and answers:
                    self.line.send(answer)

    def opens_for(self, number: int) -> bool:
        return self.twin.opens_for(uuid.UUID(int=number), time.monotonic())


@contextmanager
def gate(*, confirm_s: float = 30.0, parts: int = 10_000, closes: bool = False) -> Iterator[Gate]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        arguments = [str(theirs.fileno()), str(confirm_s), str(parts), *(["close"] if closes else [])]
        process = subprocess.Popen(
            [sys.executable, "-c", STATION, *arguments],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    try:
        yield Gate(process, SocketLink(ours))
    finally:
        process.kill()
        process.communicate(timeout=10)
        ours.close()


def test_f43_a_station_that_is_killed_leaves_the_gate_shut_at_once() -> None:
    with gate() as it:
        it.work_until(lambda: it.opens_for(3))
        os.kill(it.process.pid, signal.SIGKILL)
        it.work_until(lambda: False)  # until the line's end is seen
        assert not any(it.opens_for(number) for number in range(1, 20))


def test_f43_a_station_that_is_stopped_leaves_the_gate_shut_when_its_sign_of_life_is_due() -> None:
    with gate() as it:
        it.work_until(lambda: it.opens_for(3))
        os.kill(it.process.pid, signal.SIGSTOP)
        stopped_s = time.monotonic()
        it.work_until(lambda: not it.opens_for(3))
        assert time.monotonic() - stopped_s < LEASE_S + 1
        os.kill(it.process.pid, signal.SIGCONT)
        it.work_until(lambda: it.opens_for(6))


@pytest.mark.parametrize("stops", ["before it reads", "before it answers", "before the release"])
def test_f43_a_gate_that_stops_at_each_step_counts_the_part_once_and_stays_shut(stops: str) -> None:
    with gate(parts=1) as it:
        if stops == "before it reads":
            time.sleep(1.0)  # the first signal, and what is sent again, lie in the socket
        elif stops == "before it answers":
            it.work_until(lambda: it.twin.duplicates > 3, answers=False)
        else:
            it.work_until(lambda: it.twin.accepted == 1)
        if stops != "before the release":
            assert not it.opens_for(1), "nothing was confirmed"
        it.work_until(lambda: it.opens_for(1))
        signals = {message for message in it.heard if isinstance(message, Signal)}
        assert len(signals) == 1, "sent again it is the same part and the same sequence"
        assert it.twin.accepted == 1
        assert it.process.stdout is not None
        assert it.process.stdout.readline() == "CONFIRMED\n"


def test_f43_an_acceptance_that_comes_too_late_releases_nothing() -> None:
    with gate(confirm_s=0.3, parts=1, closes=True) as it:
        it.work_until(lambda: it.twin.duplicates > 3, answers=False)
        assert it.process.stdout is not None
        assert it.process.stdout.readline() == "UNCONFIRMED\n"
        it.line.send(Accepted(part_id=uuid.UUID(int=1), sequence=1))
        time.sleep(0.3)
        assert it.process.stdin is not None
        it.process.stdin.write("\n")
        it.process.stdin.flush()
        it.work_until(lambda: False, answers=False)
        assert not [message for message in it.heard if isinstance(message, Release)]
        states = [message.parts_may_come for message in it.heard if isinstance(message, State)]
        assert states[-1] is False, "not ready is the last that is said"


RUN = """\
station_id = "gated"
[trigger]
kind = "interval"
period_s = 0.05
[output]
kind = "simulator"
{output}
[[cameras]]
kind = "virtual"
camera_id = "top"
size_px = 64
"""


def rows(home: Path) -> list[tuple[int, SignalState | None]]:
    with opened(home) as database, database.read() as session:
        return [
            (part.trigger_id, part.signal_state)
            for part in session.exec(select(Part).order_by(Part.trigger_id))  # type: ignore[arg-type]
        ]


def test_f43_a_gate_that_hangs_is_in_the_rows_and_takes_the_station_out_of_ready(tmp_path: Path) -> None:
    config, home = tmp_path / "station.toml", tmp_path / "line"
    config.write_text(RUN.format(output="stuck_after = 3\nconfirm_ms = 200"))
    done = partgate("run", config, "--parts", "12", home=home)
    assert done.returncode == 0, done.stderr
    states = [state for _, state in rows(home)]
    assert len(states) == 12
    assert states.count(SignalState.UNCONFIRMED) >= 8
    assert set(states[4:]) == {SignalState.UNCONFIRMED}
    said = [line for line in done.stderr.splitlines() if "station not ready" in line]
    assert any("output: the signal of trigger" in line for line in said), done.stderr
    assert done.stderr.count("signal not confirmed") == 1, "an outage is said once"
    with opened(home) as database, database.read() as session:
        assert balance(session).balanced
        assert count_unconfirmed(session) == states.count(SignalState.UNCONFIRMED)
    ledger = partgate("ledger", home=home)
    assert f"signals not confirmed: {states.count(SignalState.UNCONFIRMED)}" in ledger.stdout


def test_f43_a_line_that_loses_messages_costs_no_part(tmp_path: Path) -> None:
    config, home = tmp_path / "station.toml", tmp_path / "line"
    config.write_text(RUN.format(output="loss = 0.3\nconfirm_ms = 5000"))
    done = partgate("run", config, "--parts", "40", home=home)
    assert done.returncode == 0, done.stderr
    assert rows(home) == [(number, SignalState.CONFIRMED) for number in range(1, 41)]


def test_a_signal_is_what_its_part_was_judged() -> None:
    with gate(parts=2) as it:
        it.work_until(lambda: it.twin.accepted == 2)
        signals = [message for message in it.heard if isinstance(message, Signal)]
        assert {(one.sequence, one.verdict, one.gate_open) for one in signals} == {
            (1, Verdict.ACCEPT, True),
            (2, Verdict.ACCEPT, True),
        }
