"""What the processes of a station hold, second by second, and whether that grows."""

import contextlib
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MB = 1 << 20
WARM_UP_SHARE = 0.25
FEWEST_SAMPLES, SHORTEST_S = 20, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What one process held at one moment."""

    at_s: float
    memory_mb: float
    descriptors: int
    threads: int


def held(pid: int) -> Held | None:
    """Look at a process; None if it has gone."""
    with contextlib.suppress(OSError, ValueError):
        place = Path(f"/proc/{pid}")
        resident = int((place / "statm").read_text().split()[1])
        return Held(
            at_s=time.monotonic(),
            memory_mb=resident * PAGE_BYTES / MB,
            descriptors=sum(1 for _ in (place / "fd").iterdir()),
            threads=sum(1 for _ in (place / "task").iterdir()),
        )
    return None


def children(pid: int) -> Iterator[tuple[str, int]]:
    """Yield a station's processes by their work: `sim` (the simulator), `camera` and `recorder`."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                if (work := _work_of(child)) is not None:
                    yield work, child


def _work_of(pid: int) -> str | None:
    with contextlib.suppress(OSError):
        said = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"_recorder_child" in said:
            return "recorder"
        if b"partgate_cameras._child" in said:
            return "sim" if b"viky" in Path(f"/proc/{pid}/maps").read_bytes() else "camera"
    return None


@dataclass
class Watched:
    """The samples of all processes that there were, by work and process id."""

    samples: dict[tuple[str, int], list[Held]] = field(default_factory=dict)

    def look(self, line: int) -> None:
        """Take a sample of every process of a station."""
        for work, pid in (("line", line), *children(line)):
            if (now := held(pid)) is not None:
                self.samples.setdefault((work, pid), []).append(now)

    def growth(self) -> Mapping[str, "Growth"]:
        """Return by work how the process of it that lived longest grew."""
        longest: dict[str, Sequence[Held]] = {}
        for (work, _), samples in self.samples.items():
            if len(samples) > len(longest.get(work, ())):
                longest[work] = samples
        return {work: Growth.of(samples) for work, samples in sorted(longest.items())}


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How a process changed between its warm-up and its end."""

    lived_s: float
    first_mb: float
    last_mb: float
    mb_per_hour: float | None
    """None where it did not live long enough to say."""

    descriptors: tuple[int, int]
    """Medians of the quarter after the warm-up and of the last quarter."""

    threads: tuple[int, int]

    @classmethod
    def of(cls, samples: Sequence[Held]) -> "Growth":
        """Compare the quarter after the warm-up with the last: medians, which a peak does not move."""
        warm = samples[int(len(samples) * WARM_UP_SHARE) :]
        quarter = max(1, len(warm) // 3)
        first, last = warm[:quarter], warm[-quarter:]
        lived_s = samples[-1].at_s - samples[0].at_s
        grown_mb = _memory(last) - _memory(first)
        between_s = _moment(last) - _moment(first)
        long_enough = lived_s >= SHORTEST_S and len(samples) >= FEWEST_SAMPLES and between_s > 0
        return cls(
            lived_s=lived_s,
            first_mb=_memory(first),
            last_mb=_memory(last),
            mb_per_hour=grown_mb / between_s * 3600 if long_enough else None,
            descriptors=(_median(first, "descriptors"), _median(last, "descriptors")),
            threads=(_median(first, "threads"), _median(last, "threads")),
        )


def _memory(samples: Sequence[Held]) -> float:
    return statistics.median(sample.memory_mb for sample in samples)


def _moment(samples: Sequence[Held]) -> float:
    return statistics.median(sample.at_s for sample in samples)


def _median(samples: Sequence[Held], name: str) -> int:
    return int(statistics.median(getattr(sample, name) for sample in samples))
