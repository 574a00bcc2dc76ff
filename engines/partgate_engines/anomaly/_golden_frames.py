"""Which frames a bundle's runtime is held to: real ones, and drawn ones that go wrong first.

A thin scratch at the camera's resolution shows a wrong resize (2 px of 2,448 keep 65 of 195 visible
pixels without antialiasing), a hole a wrong place, black and white a wrong normalisation and the
arithmetic at its ends.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from partgate_engines._golden import LARGEST_GOLDEN, GoldenFrame
from partgate_engines._tiles import inspected_box
from partgate_engines.anomaly._images import GoodImage
from partgate_station import Region, Thresholds

Pixels = NDArray[np.uint8]
Judge = Callable[[Pixels], tuple[float, NDArray[np.float32]]]
"""Gives the reference score and map of a frame."""

_WORST_TRIED = 3
_SCRATCH_PX = 2
_SMALLEST_HOLE_PX = 3

# A reference this near to a threshold, in parts of it, is not kept: twice what float32 may differ by,
# so that rounding alone never turns a golden frame's verdict. The worst good image may lie there: where
# it brought no row itself, its score is what `review` was set just above.
_TOO_NEAR = 2e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    name: str
    draw: Callable[[], Pixels]
    once: str = ""
    """Of those with the same word here only the first that fits is kept."""


def choose_golden(
    good: Sequence[GoodImage],
    scores: NDArray[np.floating],
    *,
    size_px: int,
    regions: Sequence[Region],
    thresholds: Thresholds,
    judge: Judge,
) -> tuple[GoldenFrame, ...]:
    """Return golden frames with their references, the most telling first.

    Args:
        good: the images that were learned from, in order; a few of them are read. None: only drawn
            frames are chosen.
        scores: (n,) held-out scores of those, not a number where there is none.
        size_px: of the model; how large frames are drawn where no image says it.
        regions: what of every frame is judged.
        thresholds: at which no golden frame may change its verdict by rounding.
        judge: gives the references.
    """
    chosen: list[GoldenFrame] = []
    kept: set[str] = set()
    room = LARGEST_GOLDEN
    for candidate in _candidates(good, scores, size_px=size_px, regions=regions):
        if candidate.once and candidate.once in kept:
            continue
        pixels = candidate.draw()
        if chosen and pixels.nbytes > room:
            continue
        score, anomaly_map = judge(pixels)
        if _is_usable(score, anomaly_map, thresholds):
            chosen.append(
                GoldenFrame(name=candidate.name, pixels=pixels, score=score, anomaly_map=anomaly_map)
            )
            kept.add(candidate.once)
            room -= pixels.nbytes
    return tuple(chosen)


def _is_usable(score: float, anomaly_map: NDArray[np.float32], thresholds: Thresholds) -> bool:
    if not np.isfinite(score) or not np.isfinite(anomaly_map).all():
        return False
    return all(
        abs(score - threshold) > _TOO_NEAR * max(abs(threshold), abs(score))
        for threshold in (thresholds.review, thresholds.reject)
    )


def _candidates(
    good: Sequence[GoodImage], scores: NDArray[np.floating], *, size_px: int, regions: Sequence[Region]
) -> Iterator[_Candidate]:
    order = _by_score(len(good), scores)
    size = _frame_size(size_px, regions)
    if order:
        typical = good[order[len(order) // 2]]
        pixels = _copied(typical)
        box = inspected_box(regions, width_px=pixels.shape[1], height_px=pixels.shape[0])
        size = (pixels.shape[0], pixels.shape[1])
        yield _Candidate(name=f"typical good image ({typical.origin})", draw=lambda: pixels)
        yield _Candidate(name="thin scratch", draw=lambda: scratched(pixels, box))
    yield _Candidate(name="all black", draw=lambda: np.zeros(size, np.uint8))
    if order:
        for position in reversed(order[-_WORST_TRIED:]):
            image = good[position]
            yield _Candidate(
                name=f"good image with the worst score ({image.origin})",
                draw=lambda image=image: _copied(image),  # type: ignore[misc]  # mypy: no type for a lambda's default
                once="worst",
            )
        yield _Candidate(name="hole", draw=lambda: holed(pixels, box))
    yield _Candidate(name="all white", draw=lambda: np.full(size, 255, np.uint8))
    if len(order) > 2:  # noqa: PLR2004 - neither the typical nor the worst
        best = good[order[0]]
        yield _Candidate(name=f"good image with the best score ({best.origin})", draw=lambda: _copied(best))


def _by_score(count: int, scores: NDArray[np.floating]) -> list[int]:
    """Return the positions of images from the best score to the worst; without scores, the first."""
    if count == 0:
        return []
    if len(scores) != count or not np.isfinite(scores).any():
        return [0]
    return [int(position) for position in np.argsort(scores, kind="stable") if np.isfinite(scores[position])]


def _frame_size(size_px: int, regions: Sequence[Region]) -> tuple[int, int]:
    """Return the height and width of a frame that every region fits into."""
    vertices = [vertex for region in regions for vertex in region.polygon]
    width_px = max([size_px, *(ceil(x) for x, _ in vertices)])
    return max([size_px, *(ceil(y) for _, y in vertices)]), width_px


def _copied(image: GoodImage) -> Pixels:
    return np.array(image.pixels, dtype=np.uint8)


def scratched(pixels: Pixels, box: tuple[int, int, int, int]) -> Pixels:
    """Return a copy with a scratch of 2 px across the box, in the contrast that shows most."""
    left, top, right, bottom = box
    steps = 2 * max(right - left, bottom - top)
    along = np.linspace(0.2, 0.8, steps)
    xs = (left + along * (right - left)).astype(np.intp)
    ys = (top + (0.7 - 0.4 * along) * (bottom - top)).astype(np.intp)
    drawn = pixels.copy()
    value = _contrast(pixels[top:bottom, left:right])
    for offset in range(_SCRATCH_PX):
        drawn[np.minimum(ys + offset, bottom - 1), xs] = value
    return drawn


def holed(pixels: Pixels, box: tuple[int, int, int, int]) -> Pixels:
    """Return a copy with a round hole at a third of the box, a sixteenth of its shorter side in radius."""
    left, top, right, bottom = box
    radius = max(min(right - left, bottom - top) / 16, _SMALLEST_HOLE_PX)
    y, x = np.ogrid[: pixels.shape[0], : pixels.shape[1]]
    inside = (x - (left + (right - left) / 3)) ** 2 + (y - (top + (bottom - top) / 3)) ** 2 <= radius**2
    drawn = pixels.copy()
    drawn[inside] = _contrast(pixels[top:bottom, left:right])
    return drawn


def _contrast(pixels: Pixels) -> int:
    return 255 if float(pixels.mean()) < 128 else 0  # noqa: PLR2004 - the middle of uint8
