"""One line of bench.json, and the machine it was made on."""

import os
import platform
import time
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from benchmarks._arms import Comparison
from benchmarks._processor_time import wanted_and_stolen

# What decides how fast a processor multiplies matrices, by the kernel's names.
_FLAGS = {"AVX2": "avx2", "AVX-512": "avx512f", "AVX-512 bf16": "avx512_bf16", "AMX bf16": "amx_bf16"}
_LIBRARIES = ("openvino", "torch", "anomalib", "timm", "numpy", "opencv-python-headless")
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a figure must keep."""

    value: float
    of: Literal["ratio", "ours"] = "ratio"
    relation: Literal[">=", "<="] = ">="

    def __str__(self) -> str:
        return f"{self.of} {self.relation} {self.value:g}"

    def holds(self, *, ours: float, ratio: float) -> bool:
        """Return whether a result keeps it."""
        found = ratio if self.of == "ratio" else ours
        return found >= self.value if self.relation == ">=" else found <= self.value


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
    low: float | None = None
    """Where the ratio's 95 % interval begins; None where it was not repeated."""
    high: float | None = None
    bound: str | None = None
    """Such as `ratio >= 4`; None where nothing is asked."""
    passed: bool | None = None
    note: str = ""
    """What one has to know to read it: precision, what was compared before timing."""
    busy_cores: float | None = None
    """How many cores other work took just before; figures made beside other work are no figures."""


def result(
    name: str,
    *,
    ours: float,
    other: float,
    unit: str = "ms",
    n: int,
    ratio: float | None = None,
    interval: tuple[float, float] | None = None,
    bound: Bound | None = None,
    note: str = "",
) -> Result:
    """Return a line of bench.json; without a ratio, it is other / ours."""
    ratio = other / ours if ratio is None else ratio
    low, high = (None, None) if interval is None else (round(interval[0], 3), round(interval[1], 3))
    return Result(
        name=name,
        ours=round(ours, 3),
        other=round(other, 3),
        ratio=round(ratio, 3),
        unit=unit,
        n=n,
        machine=machine(),
        low=low,
        high=high,
        bound=None if bound is None else str(bound),
        passed=None if bound is None else bound.holds(ours=ours, ratio=ratio),
        note=note,
    )


def compared(name: str, found: Comparison, *, bound: Bound | None = None, note: str = "") -> Result:
    """Return the line of two arms that were timed in turn."""
    return result(
        name,
        ours=found.ours_ms,
        other=found.other_ms,
        ratio=found.ratio,
        interval=found.interval,
        n=found.rounds * found.answers,
        bound=bound,
        note=note,
    )


@cache
def machine() -> str:
    """Return the processor, what it can do, how many cores there are here, and the versions."""
    cpu, flags = platform.processor() or platform.machine(), set[str]()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
        elif line.startswith("flags"):
            flags = set(line.partition(":")[2].split())
            break
    able = ", ".join(name if flag in flags else f"no {name}" for name, flag in _FLAGS.items())
    virtual = ", virtual" if "hypervisor" in flags else ""
    cores = len(os.sched_getaffinity(0))
    return f"{cpu}, {cores} cores{virtual} ({able}); as many threads as cores; {_versions()}"


def _versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for library in _LIBRARIES:
        try:
            found.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            found.append(f"no {library}")
    return ", ".join(found)


def busy_cores() -> float:
    """Look for a second how many cores are taken; call it while nothing of ours runs."""
    before = _busy_s()
    started_s = time.monotonic()
    time.sleep(_LOOK_S)
    return round((_busy_s() - before) / (time.monotonic() - started_s), 1)


def _busy_s() -> float:
    """Return the seconds all cores together have worked, or were kept from it, since the start."""
    return wanted_and_stolen()[0] / os.sysconf("SC_CLK_TCK")
