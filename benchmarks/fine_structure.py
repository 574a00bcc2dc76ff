"""Say what tiles are worth where defects are a few pixels large, and what they cost.

    python -m benchmarks.fine_structure [--kind cloth|print] [--tile-px N] [--size-px N] [--large]

Cloth and print of 640 px, drawn by `_fine_structure`: 100 good parts to learn from, 60 other good ones
and 60 with one defect of 2 to 6 px to score, once as one tile and once in tiles. With --large, frames of
5 Mpx with a defect of 4 px: 12 to learn from, 8 good and 8 defective to score.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._fine_structure import KINDS, FinePart, Kind, draw
from benchmarks.magnetic_tiles import auroc, interval
from partgate_engines import AnomalyResult, Bundle, open_runtime
from partgate_engines.anomaly import GoodImage, LearnSettings, learn

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """What is drawn for one comparison."""

    height_px: int = 640
    width_px: int = 640
    defect_px: float | None = None
    learned: int = 100
    scored: int = 60
    """Good ones, and as many defective ones."""

    def part(self, kind: Kind, number: int, *, defective: bool = False) -> FinePart:
        """Draw one; good parts that are scored come after those that are learned from."""
        return draw(
            kind,
            number,
            defective=defective,
            height_px=self.height_px,
            width_px=self.width_px,
            defect_px=self.defect_px,
        )


SMALL = Frames()
LARGE = Frames(height_px=2048, width_px=2448, defect_px=4, learned=12, scored=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one way of looking made of the parts."""

    learn_s: float
    frame_ms: float
    """Median, from a decoded frame to its score."""

    good: Scores
    defective: Scores
    found: int
    """Defective parts in whose map the highest value lies on the defect."""

    flagged: tuple[int, int]
    """Good and defective parts at or above review."""


class Drawn(Sequence[GoodImage]):
    """Draws a good part whenever it is asked for: a hundred of 5 Mpx are not kept."""

    def __init__(self, frames: Frames, kind: Kind) -> None:
        self._frames, self._kind = frames, kind

    def __len__(self) -> int:
        return self._frames.learned

    def __getitem__(self, index: int) -> GoodImage:  # type: ignore[override]  # nobody slices it
        if not 0 <= index < len(self):
            raise IndexError(index)
        return GoodImage(pixels=self._frames.part(self._kind, index).pixels, origin=f"{index}.png")


def outcome(frames: Frames, kind: Kind, settings: LearnSettings, home: Path) -> Outcome:
    """Learn the good parts and score the others."""
    started = time.perf_counter()
    good = Drawn(frames, kind)
    bundle = learn(good, settings=settings, graphs=home / "graphs").save(home / "bundles", product=kind)
    learn_s = time.perf_counter() - started
    return scored(frames, kind, bundle, learn_s)


def scored(frames: Frames, kind: Kind, bundle: Bundle, learn_s: float) -> Outcome:
    """Score the parts that were not learned from."""
    runtime = open_runtime(bundle, "openvino")
    took: list[float] = []

    def judge(part: FinePart) -> AnomalyResult:
        begun = time.perf_counter()
        result = runtime.judge(part.pixels)
        took.append(1000 * (time.perf_counter() - begun))
        return result

    numbers = range(frames.learned, frames.learned + frames.scored)
    good = np.array([judge(frames.part(kind, number)).score for number in numbers])
    defective = [frames.part(kind, number, defective=True) for number in numbers]
    results = [judge(part) for part in defective]
    runtime.close()
    bad = np.array([result.score for result in results])
    review = bundle.manifest.calibration.thresholds.review
    return Outcome(
        learn_s=learn_s,
        frame_ms=float(np.median(took)),
        good=good,
        defective=bad,
        found=sum(is_found(part, result) for part, result in zip(defective, results, strict=True)),
        flagged=(int((good >= review).sum()), int((bad >= review).sum())),
    )


def is_found(part: FinePart, result: AnomalyResult) -> bool:
    """Return whether the map's highest value lies within 1.5 of its cells of the defect."""
    if part.defect is None:
        raise ValueError("a good part has nothing to find")
    shape = np.array(result.anomaly_map.shape)
    cell_px = np.array(part.pixels.shape) / shape
    at = np.array(np.unravel_index(int(result.anomaly_map.argmax()), result.anomaly_map.shape)) + 0.5
    return bool((np.abs(at * cell_px - part.defect[:2]) <= 1.5 * cell_px + part.defect[2] / 2).all())


def report(name: str, found: Outcome) -> None:
    """Print what came of it."""
    low, high = interval(found.good, found.defective, 0)
    print(f"{name}")
    print(
        f"  AUROC {auroc(found.good, found.defective):.3f} (95 %: {low:.3f} to {high:.3f}),"
        f" {found.good.size} good, {found.defective.size} defective; highest on the defect in {found.found}"
    )
    print(f"  at or above review: {found.flagged[0]} good, {found.flagged[1]} defective")
    print(f"  learned in {found.learn_s:.1f} s, {found.frame_ms:.1f} ms a frame")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare one tile with tiles."""
    parser = argparse.ArgumentParser(
        prog="fine_structure", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    usual = LearnSettings()
    parser.add_argument("--kind", choices=KINDS, action="append", help="of structure; all if none is named")
    parser.add_argument("--tile-px", type=int, default=256, help="of the tiles")
    parser.add_argument("--size-px", type=int, default=usual.size_px, help="of the graph")
    parser.add_argument(
        "--large", action="store_true", help="frames of 5 Mpx with a defect of 4 px (minutes)"
    )
    options = parser.parse_args(arguments)
    frames = LARGE if options.large else SMALL
    settings = replace(usual, size_px=options.size_px)
    with tempfile.TemporaryDirectory(prefix="partgate-fine-") as home:
        first = GoodImage(pixels=SMALL.part("cloth", 0).pixels, origin="0.png")
        learn([first], settings=settings, graphs=Path(home) / "graphs")  # the export, once per machine
        for kind in options.kind or KINDS:
            size = f"{kind}, {frames.width_px} x {frames.height_px} px"
            report(f"{size}, one tile", outcome(frames, kind, settings, Path(home)))
            tiled = replace(settings, tile_px=options.tile_px)
            report(f"{size}, tiles of {options.tile_px} px", outcome(frames, kind, tiled, Path(home)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
