"""Learning drawn parts with a fine structure, and what their scores and maps are worth."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks._fine_structure import FinePart, Kind, draw
from benchmarks.models import aupro
from partgate_engines import AnomalyResult, Bundle, open_runtime
from partgate_engines.anomaly import GoodImage, LearnSettings, learn

Scores = NDArray[np.float64]

_CELL_PX = 2
"""Maps are compared with masks on squares of this many pixels: the smallest defect fills one."""

_MARKED = 0.25  # of a square, from where on it belongs to the defect


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """What is drawn for one comparison."""

    height_px: int = 640
    width_px: int = 640
    defect_px: float | None = None
    learned: int = 100
    scored: int = 60
    """Good ones, and as many defective ones."""

    first: int = 0
    """The number of the first part: another one draws other parts of the same kind."""

    def part(self, kind: Kind, number: int, *, defective: bool = False) -> FinePart:
        """Draw one; good parts that are scored come after those that are learned from."""
        return draw(
            kind,
            self.first + number,
            defective=defective,
            height_px=self.height_px,
            width_px=self.width_px,
            defect_px=self.defect_px,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one way of looking made of the parts."""

    learn_s: float
    frame_ms: float
    """Median, from a decoded frame to its score and map."""

    good: Scores
    defective: Scores
    diameters_px: Scores
    """Of the defects, in the order of `defective`."""

    found: int
    """Defective parts in whose map the highest value lies on the defect."""

    flagged: tuple[int, int]
    """Good and defective parts at or above review."""

    aupro: float


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
    return scored(frames, kind, bundle, time.perf_counter() - started)


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
    parts = [frames.part(kind, number, defective=spoilt) for spoilt in (False, True) for number in numbers]
    results = [judge(part) for part in parts]
    runtime.close()
    scores = np.array([result.score for result in results], dtype=np.float64)
    good, bad = scores[: frames.scored], scores[frames.scored :]
    review = bundle.manifest.calibration.thresholds.review
    pairs = list(zip(parts, results, strict=True))
    return Outcome(
        learn_s=learn_s,
        frame_ms=float(np.median(took)),
        good=good,
        defective=bad,
        diameters_px=np.array([part.defect[2] for part in parts if part.defect]),
        found=sum(is_found(part, result) for part, result in pairs[frames.scored :]),
        flagged=(int((good >= review).sum()), int((bad >= review).sum())),
        aupro=pixel_aupro(pairs),
    )


def is_found(part: FinePart, result: AnomalyResult) -> bool:
    """Return whether the map's highest value lies within 1.5 of its cells of the defect."""
    if part.defect is None:
        raise ValueError("a good part has nothing to find")
    shape = np.array(result.anomaly_map.shape)
    cell_px = np.array(part.pixels.shape) / shape
    at = np.array(np.unravel_index(int(result.anomaly_map.argmax()), result.anomaly_map.shape)) + 0.5
    return bool((np.abs(at * cell_px - part.defect[:2]) <= 1.5 * cell_px + part.defect[2] / 2).all())


def pixel_aupro(pairs: Sequence[tuple[FinePart, AnomalyResult]]) -> float:
    """Return anomalib's area under the per-region overlap, up to 30 % of the good pixels."""
    height_px, width_px = pairs[0][0].pixels.shape
    size = width_px // _CELL_PX, height_px // _CELL_PX
    maps = np.array([cv2.resize(result.anomaly_map, size) for _, result in pairs], dtype=np.float32)
    marks = np.stack([_covered(part, size) >= _MARKED for part, _ in pairs])
    return aupro(maps, marks)


def _covered(part: FinePart, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return how much of every square the defect covers: 0..1."""
    mask = part.mask().astype(np.float32)
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
