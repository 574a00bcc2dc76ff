"""The memory that learning takes, by the number of images.

    python -m benchmarks.learning_memory [--images 500,1000,2000] [--size-px N] [--limit-mib 2048]
                                         [--variants N]

Each count is learned in a process of its own, from images that are drawn as they are asked for, so that
what grows is what learning keeps. With variants, the images are of so many kinds of part, each much like
the others of its kind: the pairs that are alike then grow with the square of their number. Printed are the
peak of the process's memory, what it had before the first image, and the seconds. Exit code 1 if any peak
is above the limit.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np

from partgate_engines.anomaly import GoodImage, LearnSettings, learn

SIDE_PX = 256


class DrawnImages(Sequence[GoodImage]):
    """A weave with noise, another for every number, drawn when it is asked for."""

    def __init__(self, count: int, variants: int = 0) -> None:
        self._count = count
        random = np.random.default_rng(0)
        self._shapes = [np.kron(random.uniform(-60, 60, (4, 4)), np.ones((SIDE_PX // 4, SIDE_PX // 4)))
                        for _ in range(variants)]  # fmt: skip
        y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
        self._weave = 110 + 25 * np.sin(x / 3) + 25 * np.sin(y / 3)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> GoodImage: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[GoodImage]: ...
    def __getitem__(self, index: int | slice) -> GoodImage | Sequence[GoodImage]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(index)
        random = np.random.default_rng(index)
        noise = random.normal(0, 4, self._weave.shape)
        pixels = np.roll(self._weave, random.integers(19, size=2), (0, 1)) + noise
        if self._shapes:
            pixels = pixels + self._shapes[index % len(self._shapes)]
        return GoodImage(pixels=np.clip(pixels, 0, 255).astype(np.uint8), origin=f"{index}.png")


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def learned_once(count: int, size_px: int, variants: int, graphs: Path) -> dict[str, float]:
    """Learn so many images in this process."""
    settings = LearnSettings(size_px=size_px)
    learn(DrawnImages(2), settings=settings, graphs=graphs)
    before, started_s = peak_mib(), time.perf_counter()
    learned = learn(DrawnImages(count, variants), settings=settings, graphs=graphs)
    return {
        "images": count,
        "alike": sum(len(source.alike) for source in learned.good),
        "rows": len(learned.bank.rows),
        "before_mib": round(before),
        "peak_mib": round(peak_mib()),
        "seconds": round(time.perf_counter() - started_s, 1),
    }


def measured(count: int, size_px: int, variants: int, graphs: Path) -> dict[str, float]:
    """Learn so many images in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.learning_memory", "--size-px", str(size_px),
               "--variants", str(variants), "--graphs", str(graphs), "--once", str(count)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", default="500,1000,2000", help="counts, separated by commas")
    parser.add_argument("--size-px", type=int, default=256)
    parser.add_argument("--variants", type=int, default=0, help="kinds of part among the images")
    parser.add_argument("--limit-mib", type=float, default=2048)
    parser.add_argument("--graphs", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--once", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.once:
        print(json.dumps(learned_once(asked.once, asked.size_px, asked.variants, asked.graphs)))
        return
    with tempfile.TemporaryDirectory(prefix="partgate-memory-") as folder:
        graphs = asked.graphs or Path(folder)
        # The export, with torch, in a process that is not measured.
        measured(2, asked.size_px, 0, graphs)
        peaks = []
        for count in map(int, asked.images.split(",")):
            found = measured(count, asked.size_px, asked.variants, graphs)
            print(json.dumps(found), flush=True)
            peaks.append(found["peak_mib"])
    sys.exit(max(peaks) > asked.limit_mib)


if __name__ == "__main__":
    main()
