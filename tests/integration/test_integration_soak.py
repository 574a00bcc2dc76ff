"""A short soak: the harness puts its faults in, the station comes through, and what it prints says so."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from partgate.records import Balance

if TYPE_CHECKING:
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
