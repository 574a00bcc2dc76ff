"""Which cores this process may use, and which of them are set aside for judging."""

import contextlib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from partgate_engines._cgroup import PROC, ROOT, group_limits
from partgate_station import ConfigError

TOPOLOGY = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSplit:
    """Who runs where: no number is in both."""

    judging: frozenset[int]
    """The processors, by the kernel's numbers, of the loop and of what computes scores."""

    others: frozenset[int]
    """Those of cameras, recorder and everything else."""

    def __str__(self) -> str:
        return f"judging on {core_list(self.judging)}, everything else on {core_list(self.others)}"


def affine_cores() -> int:
    """Return how many processors the scheduler may put the calling thread on."""
    return len(os.sched_getaffinity(0))


def usable_cores(cgroups: Path = ROOT, membership: Path = PROC) -> int:
    """Return how many cores this process may keep busy: by its affinity and its cgroups' quotas.

    A process with more threads than its quota has cores is stopped for the rest of every period
    (100 ms) once all of them together have used it up.

    Args:
        cgroups: where the cgroup file system is mounted.
        membership: the file that names this process's cgroups.
    """
    quota = group_limits(membership, cgroups).cores
    return max(affine_cores() if quota is None else min(affine_cores(), ceil(quota)), 1)


def split_cores(
    cores: int, *, allowed: Collection[int] | None = None, most: int | None = None, topology: Path = TOPOLOGY
) -> CoreSplit:
    """Set cores aside for judging, each with all of its hyperthreads.

    The quickest ones, of one package, with the highest numbers: interrupts and what else a machine does by
    itself are mostly dealt with by the first.

    Args:
        cores: how many, > 0.
        allowed: the processors to divide; None for those the calling thread may run on.
        most: how many cores may be kept busy; None for what `usable_cores` says.
        topology: where the kernel describes its processors.

    Raises:
        ConfigError: nothing would be left for the rest of the station.
    """
    processors = os.sched_getaffinity(0) if allowed is None else frozenset(allowed)
    whole = _whole_cores(processors, topology)
    there = min(len(whole), usable_cores() if most is None else most)
    if cores >= there:
        lower = f"at most {there - 1}, or 0 to set none aside" if there > 1 else "0: none can be set aside"
        raise ConfigError(
            f"judging.cores: {cores} to be set aside, and this station may use {there}"
            f" (processors {core_list(processors)}); one must be left for cameras and recorder: give {lower}"
        )
    judging = frozenset[int]().union(*whole[:cores])
    return CoreSplit(judging=judging, others=frozenset(processors - judging))


def _whole_cores(processors: Collection[int], topology: Path) -> Sequence[frozenset[int]]:
    """Return the cores that processors belong to, each as the processors it is, the best to judge first."""
    cores = {frozenset(_siblings(number, topology) & set(processors)) for number in processors}
    return sorted(cores, key=lambda core: _merit(min(core), topology), reverse=True)


def _merit(number: int, topology: Path) -> tuple[int, int, int]:
    folder = topology / f"cpu{number}"
    return (
        _number(folder / "cpufreq" / "cpuinfo_max_freq") or _number(folder / "cpu_capacity"),
        _number(folder / "topology" / "physical_package_id"),
        number,
    )


def _siblings(number: int, topology: Path) -> frozenset[int]:
    """Return the processors of a processor's core, itself among them."""
    with contextlib.suppress(OSError, ValueError):
        path = topology / f"cpu{number}" / "topology" / "thread_siblings_list"
        return listed_cores(path.read_text(encoding="ascii")) | {number}
    return frozenset({number})


def _number(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text(encoding="ascii"))
    return 0


def listed_cores(text: str) -> frozenset[int]:
    """Return the numbers of a list as the kernel writes it: `0-3,8`.

    Raises:
        ValueError: it is none.
    """
    spans = [span.partition("-") for span in text.strip().split(",") if span]
    return frozenset(n for first, _, last in spans for n in range(int(first), int(last or first) + 1))


def core_list(numbers: Collection[int]) -> str:
    """Return processors' numbers as the kernel writes them: `0-3,8`."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in spans)
