"""What became of a soak's parts: in quiet, and during each fault."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from partgate.line import Outcome

LOWEST_MS, HIGHEST_MS, BINS = 0.1, 60_000.0, 1200
QUIET = "quiet"
WELL = 5  # so many judged parts in a row, and a fault that is over has no more of them waiting


class Latencies:
    """Counts in bins 1.1 % apart: a soak of days must not keep a number per part."""

    def __init__(self) -> None:
        self._bins = np.zeros(BINS, np.int64)
        self._step = math.log(HIGHEST_MS / LOWEST_MS) / BINS
        self.highest_ms = 0.0

    def add(self, latency_ms: float) -> None:
        """Count one."""
        where = int(math.log(max(latency_ms, LOWEST_MS) / LOWEST_MS) / self._step)
        self._bins[min(where, BINS - 1)] += 1
        self.highest_ms = max(self.highest_ms, latency_ms)

    def quantile(self, share: float) -> float:
        """Return the latency that such a share keep within; 0 where there are none."""
        whole = int(self._bins.sum())
        if not whole:
            return 0.0
        where = int(np.searchsorted(np.cumsum(self._bins), share * whole))
        return float(LOWEST_MS * math.exp((where + 1) * self._step))

    def shown(self) -> dict[str, float]:
        """Return what is reported."""
        quantiles = {"p50": 0.5, "p99": 0.99, "p99_9": 0.999}
        return {name: self.quantile(share) for name, share in quantiles.items()} | {"max": self.highest_ms}


@dataclass
class Tally:
    """Parts by verdict and reason, by what went wrong meanwhile, and how long the judged ones took."""

    during: str = QUIET
    """The fault that is in force, or that parts still suffer from."""

    outcomes: Counter[str] = field(default_factory=Counter)
    by_fault: dict[str, Counter[bool]] = field(default_factory=dict)
    """By fault: how many parts were judged (True) and how many were UNDECIDED."""

    quiet: Latencies = field(default_factory=Latencies)
    faulty: Latencies = field(default_factory=Latencies)
    _well: int | None = None  # judged parts in a row since the fault ended; None while it has not

    def begin(self, fault: str) -> None:
        """Count parts to a fault from now on."""
        self.during, self._well = fault, None

    def end(self) -> None:
        """Note that the fault is over: its parts are those until all that waited is done with."""
        self._well = 0

    @property
    def parts(self) -> int:
        """How many were counted."""
        return self.outcomes.total()

    def add(self, outcome: Outcome) -> None:
        """Count a part."""
        reason = (outcome.decision.reason or "").partition(":")[0]
        self.outcomes[outcome.decision.verdict.value + (f" {reason}" if reason else "")] += 1
        self.by_fault.setdefault(self.during, Counter())[not reason] += 1
        if not reason:
            (self.quiet if self.during == QUIET else self.faulty).add(outcome.latency_ms)
        if self._well is not None:
            self._well = 0 if reason else self._well + 1
            if self._well >= WELL:
                self.during, self._well = QUIET, None

    def shown(self) -> dict[str, Any]:
        """Return what is reported."""
        return {
            "outcomes": dict(self.outcomes.most_common()),
            "by_fault": {
                fault: {"judged": of[True], "undecided": of[False]} for fault, of in self.by_fault.items()
            },
            "latency_ms": {"quiet": self.quiet.shown(), "during faults": self.faulty.shown()},
        }
