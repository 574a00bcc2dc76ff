from collections.abc import Iterator
from typing import Any

import pytest

from partgate.review import _ledger
from partgate.review._ledger import Ledger


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
