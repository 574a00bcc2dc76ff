"""A short soak: the harness puts its faults in, the station comes through, and what it prints says so."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from partgate.line import Decision, Outcome
from partgate.records import Balance
from partgate_station import Verdict

if TYPE_CHECKING:
    from benchmarks._soak_pace import Climb
    from benchmarks.soak import Soak

ROOT = Path(__file__).parents[2]
BALANCED = Balance(triggers=9, accept=5, review=0, reject=1, undecided=3, open=0, balanced=True)
SUMMARY = {"parts": 9, "gate": {"accepted": 9, "duplicates": 0, "refused": 0}}


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    """`benchmarks` is no installed package: it is found from the project's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield


@pytest.mark.slow
@pytest.mark.timeout(180)  # half a minute on a quiet machine
def test_a_short_soak_balances_and_ends_ready() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", "--seconds", "8", "--model", "stub", "--period-s", "0.1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    parts = re.search(r"^parts: (\d+) in", done.stdout, re.MULTILINE)
    ledger = re.search(r"^ledger: (\d+) triggers = .*: balanced", done.stdout, re.MULTILINE)
    faults = re.search(r"^(\d+) faults in all", done.stdout, re.MULTILINE)
    assert parts is not None
    assert ledger is not None
    assert faults is not None
    assert int(parts[1]) == int(ledger[1]) > 20
    assert int(faults[1]) >= 1
    for work in ("line", "recorder", "camera", "sim"):
        assert re.search(rf"^{work} +\d+ ", done.stdout, re.MULTILINE), work


def soak(memory_mb: float = 0.0, *, ended_ready: bool = True, exit_code: int = 0) -> "Soak":
    """Return a soak whose line grew by so much, evenly, in an hour."""
    from benchmarks._soak_watch import Held
    from benchmarks.soak import Soak

    made = Soak(summary=SUMMARY, exit_code=exit_code, ended_ready=ended_ready)
    made.watched.samples[("line", 1)] = [
        Held(at_s=60.0 * n, memory_mb=100 + memory_mb * n / 60, descriptors=20, threads=9) for n in range(61)
    ]
    return made


def test_what_must_not_be_is_named() -> None:
    from benchmarks.soak import _wrong

    assert _wrong(soak(), BALANCED) == []
    assert _wrong(soak(10.0), BALANCED) == []
    assert _wrong(soak(60.0), BALANCED) == ["line grows by 60 MB/h (+31.0 MB)"]
    assert _wrong(soak(ended_ready=False), BALANCED) == ["the station did not end ready"]
    assert _wrong(soak(exit_code=70), BALANCED)[0].startswith("the station ended with 70")
    short = Balance(triggers=10, accept=5, review=0, reject=1, undecided=3, open=1, balanced=False)
    assert [why.partition(":")[0] for why in _wrong(soak(), short)] == [
        "the ledger does not balance",
        "9 parts, and 10 triggers in the ledger",
    ]


def test_a_peak_is_no_growth_and_a_minute_is_too_short_to_say() -> None:
    from benchmarks._soak_watch import Growth, Held

    def at(n: int, memory_mb: float) -> Held:
        return Held(at_s=float(n), memory_mb=memory_mb, descriptors=n // 50, threads=4)

    grown = Growth.of([at(n, 500.0 if n == 190 else 100.0) for n in range(200)])
    assert grown.mb_per_hour == pytest.approx(0)
    assert grown.descriptors == (1, 3)
    assert Growth.of([at(n, 100.0 + n) for n in range(50)]).mb_per_hour is None


class Machine:
    """A station that judges so many parts a second, and no more wait than fit; time is the test's."""

    def __init__(self, per_s: float, *, hiccup_at_s: float = -1.0) -> None:
        self.per_s, self.hiccup_at_s = per_s, hiccup_at_s
        self.now_s = self.due_s = self.free_s = 0.0
        self.period_s = 1.0
        self.climb: Climb | None = None

    def pace(self, period_s: float) -> None:
        self.period_s, self.due_s = period_s, self.now_s + period_s

    def wait(self, seconds: float) -> None:
        """Let time pass: parts come, wait for the one before, and are judged."""
        self.now_s += seconds
        while self.due_s <= self.now_s:
            if 0 <= self.due_s - self.hiccup_at_s < 1:
                self.free_s = max(self.free_s, self.hiccup_at_s + 1)
            self.free_s = max(self.free_s, self.due_s) + 1 / self.per_s
            late = self.free_s - self.due_s > 0.5
            reason = "DEADLINE_MISSED: late" if late else None
            decision = Decision(verdict=Verdict.UNDECIDED if late else Verdict.ACCEPT, reason=reason)
            if late:  # what is over is not judged: queues of such parts are done with at once
                self.free_s -= 0.9 / self.per_s
            assert self.climb is not None
            self.climb.done(
                Outcome(
                    part_id=uuid4(),
                    trigger_id=1,
                    decision=decision,
                    gate_open=not late,
                    latency_ms=1000 * (self.free_s - self.due_s),
                )
            )
            self.due_s += self.period_s


@pytest.mark.parametrize("hiccup_at_s", [-1.0, 9.0], ids=["steady", "stands still once"])
@pytest.mark.parametrize("per_s", [5.5, 20.0, 90.0])
def test_the_rate_is_raised_until_parts_are_late_and_kept_below_that(
    per_s: float, hiccup_at_s: float
) -> None:
    from benchmarks._soak_pace import RISE, SHARE, Climb

    machine = Machine(per_s, hiccup_at_s=hiccup_at_s)
    machine.climb = climb = Climb(
        pace=machine.pace, deadline_s=0.5, stop=threading.Event(), wait=machine.wait
    )
    held_per_s = climb.find()
    assert per_s / RISE**2 < held_per_s <= per_s * 1.05
    assert machine.period_s == pytest.approx(1 / (SHARE * held_per_s))
    assert [held for _, held in climb.tried[-2:]] == [False, False], "not at its first hiccup"


def test_a_machine_that_holds_no_rate_gets_the_lowest_and_an_end_ends_the_search() -> None:
    from benchmarks._soak_pace import FIRST_PER_S, Climb

    machine, stop = Machine(1.0), threading.Event()
    machine.climb = Climb(pace=machine.pace, deadline_s=0.5, stop=stop, wait=machine.wait)
    assert machine.climb.find() == FIRST_PER_S
    stop.set()
    before_s = machine.now_s
    assert machine.climb.find() == FIRST_PER_S
    assert machine.now_s - before_s < 1


def test_parts_are_counted_to_the_fault_of_their_time() -> None:
    from benchmarks._soak_tally import QUIET, WELL, Tally

    tally = Tally()

    def done(latency_ms: float, reason: str | None = None, *, count: int = 1) -> None:
        verdict = Verdict.UNDECIDED if reason else Verdict.ACCEPT
        decision = Decision(verdict=verdict, reason=reason)
        for _ in range(count):
            tally.add(
                Outcome(
                    part_id=uuid4(), trigger_id=1, decision=decision, gate_open=False, latency_ms=latency_ms
                )
            )

    done(20.0, count=2)
    tally.begin("camera killed")
    done(1.0, "CAMERA_FAULT: gone")
    done(400.0, count=WELL)  # it is not over
    tally.end()
    done(400.0, count=WELL - 1)
    done(900.0, "DEADLINE_MISSED: it waited")
    done(400.0, count=WELL)  # and now it is
    done(10.0)
    shown = tally.shown()
    judged = 3 * WELL - 1
    assert shown["outcomes"] == {
        "ACCEPT": 3 + judged,
        "UNDECIDED CAMERA_FAULT": 1,
        "UNDECIDED DEADLINE_MISSED": 1,
    }
    assert shown["by_fault"] == {
        QUIET: {"judged": 3, "undecided": 0},
        "camera killed": {"judged": judged, "undecided": 2},
    }
    assert shown["latency_ms"][QUIET]["max"] == 20.0
    assert shown["latency_ms"]["during faults"]["p50"] == pytest.approx(400, rel=0.02)


def test_the_report_says_what_a_line_engineer_asks() -> None:
    from benchmarks._soak_faults import Recovery
    from benchmarks._soak_tally import QUIET
    from benchmarks.soak import _report

    made = soak()
    made.summary = SUMMARY | {
        "parts": 120, "ran_s": 60.0, "flooded": 5,
        "outcomes": {"ACCEPT": 90, "UNDECIDED CAMERA_FAULT": 10},
        "by_fault": {QUIET: {"judged": 60, "undecided": 0}, "camera killed": {"judged": 30, "undecided": 10}},
        "latency_ms": {"quiet": {"p50": 9.0, "p99_9": 30.0}},
    }  # fmt: skip
    made.period_s, made.held_per_s = 0.05, 28.6
    made.recoveries = [Recovery(fault="camera killed", seen_s=1.2, back_s=0.3)] * 2
    said = _report(made, BALANCED, 1, 2, 0.0)
    for line in (
        "triggers: one every 50.0 ms (20.0/s); the highest rate that was held before any fault: 28.6/s",
        "of the other 100, 90.0 % judged; 5 came in floods",
        "trigger to verdict of what was judged, quiet, ms: p50 9.0, p99.9 30.0",
        "9 triggers = 5 accept + 0 review + 1 reject + 3 undecided: balanced; orphan frames: 2",
        "camera killed            2  10 of 40           1.20, 1.20, 2 over 1 s       0.30, 0.30",
        "between faults              0 of 60",
    ):
        assert line in said
