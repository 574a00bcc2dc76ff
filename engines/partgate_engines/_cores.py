"""How many cores this process may use."""

import os
from collections.abc import Iterator
from math import ceil
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def affine_cores() -> int:
    """Return how many cores the scheduler may put this process on."""
    return len(os.sched_getaffinity(0))


def usable_cores(cgroups: Path = _CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Return how many cores this process may keep busy: by its affinity and its cgroups' quotas.

    A process with more threads than its quota has cores is stopped for the rest of every period
    (100 ms) once all of them together have used it up.

    Args:
        cgroups: where the cgroup file system is mounted.
        membership: the file that names this process's cgroups.
    """
    quotas = (ceil(quota) for quota in _quotas(cgroups, membership))
    return max(min([affine_cores(), *quotas]), 1)


def _quotas(cgroups: Path, membership: Path) -> Iterator[float]:
    try:
        lines = membership.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", maxsplit=2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / controllers if controllers else cgroups
        # In a container the path may be that of the host, which is not mounted here: the root is ours.
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            quota = _version_1(folder) if controllers else _version_2(folder)
            if quota is not None:
                yield quota
            if folder == root:
                break


def _version_2(folder: Path) -> float | None:
    found = _words(folder / "cpu.max")
    return _share(*found) if len(found) == 2 else None  # noqa: PLR2004 - quota and period


def _version_1(folder: Path) -> float | None:
    found = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
    return _share(*found) if len(found) == 2 else None  # noqa: PLR2004 - quota and period


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []


def _share(quota_us: str, period_us: str) -> float | None:
    """Return how many cores a quota is worth; None where it is unlimited (`max`, or -1)."""
    if not quota_us.isdecimal() or not period_us.isdecimal() or int(quota_us) == 0 or int(period_us) == 0:
        return None
    return int(quota_us) / int(period_us)
