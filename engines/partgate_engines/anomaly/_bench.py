"""How well a way of looking tells good images from the same with a defect drawn on them."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bank import MemoryBank
from partgate_engines._tiles import Box, inspected_box
from partgate_engines.anomaly._coreset import k_centre
from partgate_engines.anomaly._images import GoodImage
from partgate_engines.anomaly._kinship import parts_of
from partgate_engines.anomaly._reading import Patches
from partgate_engines.anomaly._settings import Progress
from partgate_engines.anomaly._synthetic import SizeClass, draw_defect, size_classes
from partgate_station import Region

_BANK_ROWS = 512
_ROUNDS = 200
_LEAST_PARTS = 2  # of a fold: one says nothing of the spread

Folds = list[list[NDArray[np.intp]]]
"""Two folds of parts, each the positions of its images."""


Pairs = Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]
"""Of every fold the positions of its images, and those of the other fold's, from which it is judged."""


class Looking(Protocol):
    """A way of looking at images, as `Reader` is one."""

    def patches(self, images: Sequence[GoodImage], *, first: int, seed: int) -> Patches:
        """Return the judged patches of images."""

    def look(self, image: GoodImage) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return an image's patches, and (t, gh, gw) which of its t tiles' are judged."""

    def score(self, image: GoodImage, bank: MemoryBank) -> float:
        """Return an image's score by a bank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What a way of looking said of every image by a bank of the other fold."""

    clean: NDArray[np.float64]
    """(n,), as it is."""

    spoilt: NDArray[np.float64]
    """(n, sizes, kinds), with a defect drawn on it."""

    tiles: int
    """Of a frame."""

    frame_ms: float
    """Median, from an image as it is to its score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What something said of every image, as it is and spoilt."""

    clean: NDArray[np.float64]
    """(n,), as it is."""

    spoilt: NDArray[np.float64]
    """(n, classes, draws), with a defect of a class drawn on it."""


class Bench:
    """Good images, as they are and with defects, on which ways of looking are compared.

    Images of one part stay in one fold. A small bank learned on one fold scores the other, as it is and
    with defects of every size, and the other way round.
    """

    def __init__(self, images: Sequence[GoodImage], regions: Sequence[Region], *, seed: int) -> None:
        """Take the images; which of them show the same part is known once one way has looked.

        Args:
            images: read anew for each way.
            regions: defects are drawn within the box around what is inspected.
            seed: of defects, folds, banks and draws.
        """
        self.images, self._regions, self._seed = images, regions, seed
        self.box = _middle([self._box(image) for image in images])
        self.sizes: tuple[SizeClass, ...] = size_classes(self.box)
        self._folds: Folds = []
        self._draws: list[list[NDArray[np.intp]]] = []

    @property
    def drawn(self) -> int:
        """How many defects are drawn."""
        return len(self.images) * (self.looks - 2)

    @property
    def looks(self) -> int:
        """How often each image is looked at: for its patches, as it is, and with every defect."""
        return 2 + sum(len(size.kinds) for size in self.sizes)

    def scores(self, looking: Looking, progress: Progress) -> Scores | None:
        """Learn each fold by a way of looking and score the other; None where there are too few parts.

        Args:
            looking: tells by itself of the first look at each image.
            progress: told of the others.
        """
        total, done = len(self.images) * self.looks, len(self.images)
        clean = looking.patches(self.images, first=0, seed=self._seed)
        self._deal(clean)
        if any(len(fold) < _LEAST_PARTS for fold in self._folds):
            return None
        found = np.zeros((len(self.images), self.looks - 1))
        took_ms = []
        for fold, others in (self._whole(), self._whole()[::-1]):
            bank = _bank(clean, others, self._seed)
            for position in fold:
                begun_s = time.perf_counter()
                found[position, 0] = looking.score(self.images[int(position)], bank)
                took_ms.append(1000 * (time.perf_counter() - begun_s))
                for which, image in enumerate(self._spoilt(int(position)), start=1):
                    found[position, which] = looking.score(image, bank)
                done += self.looks - 1
                progress("scores", done, total)
        return Scores(
            clean=found[:, 0],
            spoilt=found[:, 1:].reshape(len(found), len(self.sizes), -1),
            tiles=len(looking.look(self.images[0])[1]),
            frame_ms=float(np.median(took_ms)),
        )

    def aurocs(self, scores: Scores) -> NDArray[np.float64]:
        """Return for each size in how many of all pairs the image with a defect scored higher: (sizes,)."""
        return by_class(scores, self._whole())

    def draws(self, scores: Scores) -> NDArray[np.float64]:
        """Return the same in 200 draws of parts, which are the same ones for all ways: (200, sizes)."""
        return np.array([by_class(scores, draw) for draw in self._draws])

    def _deal(self, clean: Patches) -> None:
        """Make the folds and the draws of parts, once."""
        if self._folds:
            return
        self._folds = folds_of(parts_of(clean.sources), self._seed)
        self._draws = draws_of(self._folds, self._seed)

    def _whole(self) -> list[NDArray[np.intp]]:
        return [np.concatenate(fold) for fold in self._folds]

    def _spoilt(self, position: int) -> Iterator[GoodImage]:
        """Draw every kind of defect in every size on an image; the same ones every time."""
        image, random = self.images[position], np.random.default_rng((self._seed, position))
        for size in self.sizes:
            for kind in size.kinds:
                px = random.uniform(size.smallest_px, size.largest_px)
                pixels = draw_defect(image.pixels, kind, random, size_px=px, box=self._box(image))
                yield GoodImage(pixels=pixels, origin=f"{image.origin} with a {kind} of {px:.0f} px")

    def _box(self, image: GoodImage) -> Box:
        height_px, width_px = image.pixels.shape[:2]
        return inspected_box(self._regions, width_px=width_px, height_px=height_px)


def folds_of(parts: Sequence[int], seed: int) -> Folds:
    """Deal parts out to two folds, each to the one with fewer images.

    Args:
        parts: the number of the part that each image shows.
        seed: of the order they are dealt in.
    """
    folds: Folds = [[], []]
    for part in np.random.default_rng(seed).permutation(np.unique(parts)):
        smaller = min(folds, key=lambda fold: sum(map(len, fold)))
        smaller.append(np.flatnonzero(np.array(parts) == part))
    return folds


def draws_of(folds: Folds, seed: int) -> list[list[NDArray[np.intp]]]:
    """Draw parts 200 times, as many of each fold as it has: the positions of their images, fold by fold."""
    random = np.random.default_rng(seed)
    return [
        [
            np.concatenate([fold[index] for index in random.integers(len(fold), size=len(fold))])
            for fold in folds
        ]
        for _ in range(_ROUNDS)
        if all(folds)
    ]


def few_rows(rows: NDArray[np.float32], origin: NDArray[np.int32], seed: int) -> MemoryBank:
    """Choose the small bank by which the other fold is scored: of (n, d) rows and where they are from."""
    chosen = k_centre(rows, count=_BANK_ROWS, seed=seed).chosen
    return MemoryBank(rows=rows[chosen], origin=origin[chosen])


def _bank(clean: Patches, positions: NDArray[np.intp], seed: int) -> MemoryBank:
    own = np.flatnonzero(np.isin(clean.origin, positions))
    return few_rows(clean.rows[own], clean.origin[own], seed)


def _middle(boxes: Sequence[Box]) -> Box:
    """Return the box with as many smaller as larger ones."""
    ordered = sorted(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
    return ordered[len(ordered) // 2]


def by_class(scores: Scores | Told, folds: Sequence[NDArray[np.intp]]) -> NDArray[np.float64]:
    """Return for each class of defects in how many of all pairs the spoilt image scored higher: (classes,).

    Means over the folds, because each is scored by a bank of its own.
    """
    sizes = range(scores.spoilt.shape[1])
    return np.array(
        [
            np.mean([_higher(scores.clean[fold], scores.spoilt[fold, size].ravel()) for fold in folds])
            for size in sizes
        ]
    )


def _higher(clean: NDArray[np.float64], spoilt: NDArray[np.float64]) -> float:
    """Return the chance that a spoilt image scores higher than a clean one; a tie counts half."""
    ordered = np.sort(clean)
    below = np.searchsorted(ordered, spoilt, "left") + np.searchsorted(ordered, spoilt, "right")
    return float(below.mean() / 2 / len(clean))
