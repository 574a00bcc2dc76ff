"""AUROC from few and from many good parts, beside anomalib's PatchCore: same weights, same images.

Three textures of the virtual line, and the magnetic tiles where the data set is there (parts that were not
learned from; all defective ones, of which a quick run takes every fourth). Both sides learn from the same
1, 2, 4, 8, 20 and 100 parts; a quick run goes to 8. Ours is the default of `partgate learn`. These figures
do not depend on the machine; the seconds to learn do.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks._apart import with_memory
from benchmarks._result import Bound, Result, result
from benchmarks.magnetic_tiles import Outcome, Split, anomalibs, auroc, ours, parts_split
from partgate_cameras import draw_part
from partgate_engines.anomaly import LearnSettings
from partgate_station import VirtualCamera

COUNTS = (1, 2, 4, 8, 20, 100)
QUICK_COUNTS = (1, 4, 8)
IN_EARNEST = 30  # rounds
Texture = Literal["brick", "grass", "gravel"]
TEXTURES: tuple[Texture, ...] = ("brick", "grass", "gravel")
ROWS, PATCHES = 2048, 1024  # of the bank, and of an image
TESTED = 60  # good and defective parts of a texture
TILES = Path(__file__).resolve().parents[2] / "shared" / "datasets" / "magnetic_tile"
NOT_LOWER = Bound(value=-0.005)


def run(*, rounds: int, folder: Path) -> list[Result]:
    """Learn and score on both sides, set by set and count by count."""
    quick = rounds < IN_EARNEST
    sets: dict[str, Split] = {name: _texture(name, folder) for name in TEXTURES}
    if (TILES / "good").is_dir():
        sets["magnetic tiles"] = _fewer_tested(parts_split(TILES, 0), every=4 if quick else 1)
    counts = QUICK_COUNTS if quick else COUNTS
    return [found for name, whole in sets.items() for found in _curve(name, whole, counts)]


def _curve(name: str, whole: Split, counts: Sequence[int]) -> Iterator[Result]:
    for count in counts:
        parts = Split(learn=whole.learn[:count], good=whole.good, defective=whole.defective)
        settings = LearnSettings(keep_outliers=True, bank_rows=min(ROWS, count * PATCHES))
        mine, _ = ours(parts, settings)
        theirs = with_memory(anomalibs, parts, settings)
        (own, other), tested = (_auroc(one) for one in (mine, theirs)), _tested(parts)
        yield result(
            f"AUROC, {name}, {count} good",
            ours=own,
            other=other,
            ratio=own - other,
            unit="AUROC",
            n=tested,
            bound=NOT_LOWER if count == COUNTS[-1] else None,
            note=f"the ratio is the difference; learned in {mine.learn_s:.1f} s and {theirs.learn_s:.1f} s",
        )


def _auroc(outcome: Outcome) -> float:
    return auroc(outcome.good, np.concatenate(list(outcome.defective.values())))


def _tested(parts: Split) -> int:
    return len(parts.good) + sum(len(paths) for paths in parts.defective.values())


def _fewer_tested(parts: Split, *, every: int) -> Split:
    defective = {kind: paths[::every] for kind, paths in parts.defective.items()}
    return Split(learn=parts.learn, good=parts.good[::every], defective=defective)


def _texture(name: Texture, folder: Path) -> Split:
    """Draw a texture's parts into files: those to learn from, good ones, and as many with a defect."""
    return Split(
        learn=_drawn(name, folder / "learn", first=0, count=COUNTS[-1], defect_rate=0),
        good=_drawn(name, folder / "good", first=1_000, count=TESTED, defect_rate=0),
        defective={"drawn": _drawn(name, folder / "bad", first=2_000, count=TESTED, defect_rate=1)},
    )


def _drawn(name: Texture, folder: Path, *, first: int, count: int, defect_rate: float) -> list[Path]:
    import cv2

    line = VirtualCamera(
        kind="virtual", camera_id="top", seed=3, size_px=256, texture=name, defect_rate=defect_rate
    )
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"{number:05}.png" for number in range(first, first + count)]
    for number, path in enumerate(paths, start=first):
        cv2.imwrite(str(path), draw_part(line, number).image)
    return paths
