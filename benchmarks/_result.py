"""One line of bench.json, and the machine it was made on."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One comparison, as bench.json holds it. `ratio` above 1 means ours is better."""

    name: str
    ours: float
    other: float
    ratio: float
    unit: str
    n: int
    """How many measurements stand behind each side."""
    machine: str


def machine() -> str:
    """Return the processor and the number of cores this process may use."""
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return f"{cpu}, {len(os.sched_getaffinity(0))} cores"
