"""What control groups allow this process: what a container or a systemd unit was given."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC, ROOT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_NO_LIMIT_BYTES = 1 << 60  # what version 1 says where there is none is near 2**63
_FIELDS = 3  # of a line of /proc/self/cgroup: number, controllers, path


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLimits:
    """What control groups allow; None where they set no limit or there are none."""

    cores: float | None
    """Processor time, in cores."""

    memory_bytes: int | None


def group_limits(proc: Path = PROC, root: Path = ROOT) -> GroupLimits:
    """Return the tightest limits of the groups that this process is in, of version 2 or 1.

    Args:
        proc: the file that names this process's groups.
        root: where their file system is mounted.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
    """
    cores: list[float] = []
    memory: list[int] = []
    for folder in _folders(proc, root):
        if (share := _cores(folder)) is not None:
            cores.append(share)
        memory += [_number(folder / name) for name in ("memory.max", "memory.limit_in_bytes")]
    limited = [bytes_ for bytes_ in memory if 0 < bytes_ < _NO_LIMIT_BYTES]
    return GroupLimits(cores=min(cores, default=None), memory_bytes=min(limited, default=None))


def _folders(proc: Path, root: Path) -> Iterator[Path]:
    """Yield the folders of the groups of this process and of all groups around them.

    In a container the path may be that of the host, which is not mounted here: the root is ours.
    """
    with contextlib.suppress(OSError):
        for line in proc.read_text(encoding="utf-8", errors="replace").splitlines():
            fields = line.split(":", _FIELDS - 1)
            if len(fields) < _FIELDS:
                continue
            base = root / fields[1] if fields[1] else root
            group = base / fields[2].lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(base))


def _cores(folder: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    quota_us, period_us = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None


def _number(path: Path) -> int:
    """Return the number in a file, 0 where there is none."""
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text(encoding="ascii"))
    return 0
