"""Processor, cores and memory."""

import os
from collections.abc import Iterator
from pathlib import Path

from partgate.fitness._check import Check, note, ok, unfit
from partgate_engines import GroupLimits, group_limits

GIB = 1 << 30
SCARCE_BYTES = 2 * GIB  # a station with one camera of 5 Mpx takes half of it
TOO_LITTLE_BYTES = GIB // 2
FEW_CORES = 2.0  # one judges, one is for cameras and recorder
GOVERNORS = Path("/sys/devices/system/cpu")
# What OpenVINO's CPU kernels are chosen by, in the order of what they bring.
_TELLING = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")


def processor(cpuinfo: str | None = None) -> Iterator[Check]:
    """Say which processor it is, and which of the instructions that judging profits from it has."""
    text = _read(Path("/proc/cpuinfo")) if cpuinfo is None else cpuinfo
    flags = set(_field(text, "flags").split())
    model = _field(text, "model name") or "unknown processor"
    there = [flag for flag in _TELLING if flag in flags]
    if flags and "avx2" not in flags:
        yield note("processor", f"{model}, without AVX2", "judging will be slow; check the deadline")
    else:
        yield ok("processor", f"{model}{' with ' if there else ''}{', '.join(there)}")


def cores(allowed: int | None = None, group: GroupLimits | None = None) -> Iterator[Check]:
    """Say how many cores this process may use."""
    usable = len(os.sched_getaffinity(0)) if allowed is None else allowed
    quota = (group_limits() if group is None else group).cores
    share = usable if quota is None else min(usable, quota)
    value = f"{usable} of {os.cpu_count() or usable} may be used" + (
        "" if quota is None else f", {quota:g} cores of time allowed by the control group"
    )
    if share < FEW_CORES:
        yield note("cores", value, "judging and recording share one core; give the station two or more")
    else:
        yield ok("cores", value)


def governor(root: Path = GOVERNORS) -> Iterator[Check]:
    """Say how the clock rate is chosen; nothing where the machine does not say."""
    found = {
        path.read_text(encoding="ascii").strip() for path in root.glob("cpu[0-9]*/cpufreq/scaling_governor")
    }
    if found and found != {"performance"}:
        yield note(
            "cpu governor",
            ", ".join(sorted(found)),
            "a clock that has to speed up first costs milliseconds: cpupower frequency-set -g performance",
        )
    elif found:
        yield ok("cpu governor", "performance")


def memory(meminfo: str | None = None, group: GroupLimits | None = None) -> Iterator[Check]:
    """Say how much memory is free, and how much this process may have."""
    text = _read(Path("/proc/meminfo")) if meminfo is None else meminfo
    total, free = (int(_field(text, name).split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    allowed = (group_limits() if group is None else group).memory_bytes
    usable = free if allowed is None else min(free, allowed)
    value = f"{gib(free)} of {gib(total)} free" + (
        "" if allowed is None else f", {gib(allowed)} allowed by the control group"
    )
    if usable < TOO_LITTLE_BYTES:
        yield unfit("memory", value, f"a station needs {gib(TOO_LITTLE_BYTES)}: end other programs")
    elif usable < SCARCE_BYTES:
        yield note("memory", value, f"{gib(SCARCE_BYTES)} or more leave room for large frames")
    else:
        yield ok("memory", value)


def gib(count: float) -> str:
    """Return a number of bytes as people read it."""
    return f"{count / GIB:.1f} GiB"


def _field(text: str, name: str) -> str:
    """Return the first value of a name in a file of `name: value` lines."""
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
