"""Means and covariances of patches, image by image: what the closed-form kinds learn from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bank import EVERY_IMAGE, MemoryBank
from partgate_engines._manifest import Source
from partgate_engines.anomaly._held_out import HeldOut
from partgate_engines.anomaly._images import Chosen, GoodImage
from partgate_engines.anomaly._kinship import parts_of
from partgate_engines.anomaly._outliers import SetAside, odd_ones, told
from partgate_engines.anomaly._provenance import renumbered
from partgate_engines.anomaly._reading import Reader
from partgate_engines.anomaly._sensitivity import weighed
from partgate_engines.anomaly._settings import LearnSettings
from partgate_engines.anomaly._settle import Settled, calibrated_by

Rows = NDArray[np.float32]
_FOLDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Count, sum and sum of squares of patches, at each place or at one for all; changed in place.

    Convention: p places, d features.
    """

    count: NDArray[np.float64]
    """(p,)"""

    total: NDArray[np.float64]
    """(p, d)"""

    square: NDArray[np.float64]
    """(p, d, d)"""

    @classmethod
    def none(cls, places: int, features: int) -> Self:
        """Return those of no patch."""
        return cls(
            count=np.zeros(places),
            total=np.zeros((places, features)),
            square=np.zeros((places, features, features)),
        )

    def add(self, patches: Rows, mask: NDArray[np.float32]) -> None:
        """Add the patches of an image.

        Args:
            patches: (t, d) float32; with places, one for each.
            mask: (t,), above 0 where a patch is judged.
        """
        judged = mask > 0
        if len(self.count) == 1:
            seen = patches[judged].astype(np.float64)
            self.count[0] += len(seen)
            self.total[0] += seen.sum(axis=0)
            self.square[0] += seen.T @ seen
            return
        seen = patches.astype(np.float64) * judged[:, None]
        self.count[:] += judged
        self.total[:] += seen
        self.square[:] += seen[:, :, None] * seen[:, None, :]

    def without(self, other: "Moments") -> "Moments":
        """Return those of what is left when the patches of the other are taken out."""
        return Moments(
            count=self.count - other.count, total=self.total - other.total, square=self.square - other.square
        )

    @property
    def mean(self) -> NDArray[np.float64]:
        """(p, d); 0 where there is no patch."""
        return np.asarray(self.total / np.maximum(self.count, 1)[:, None])

    @property
    def scatter(self) -> NDArray[np.float64]:
        """(p, d, d): the sums of products of differences from the mean of the place."""
        return np.asarray(self.square - self.total[:, :, None] * self.mean[:, None, :])


def summed(parts: Sequence[Moments]) -> Moments:
    """Return the moments of all together."""
    return Moments(
        count=np.sum([part.count for part in parts], axis=0),
        total=np.sum([part.total for part in parts], axis=0),
        square=np.sum([part.square for part in parts], axis=0),
    )


def fit(
    reader: Reader,
    good: Sequence[GoodImage],
    settings: LearnSettings,
    *,
    rows_of: Callable[[Moments], Rows],
    by_place: bool,
) -> Settled:
    """Learn rows from the moments of good images, and judge them by rows they had no part in.

    Images are dealt out to ten folds, those of one part to the same one; what is kept of a fold are its
    moments, so memory does not grow with the images. Images that do not belong are left out, and the
    rest is learned again.

    Args:
        reader: puts images through the graph.
        good: the images; read three times, five times if some do not belong.
        settings: for which budget, and whether odd images are learned.
        rows_of: makes affine rows, (k, d + 1) float32, of moments.
        by_place: whether every patch of the grid has moments of its own.
    """
    if by_place:
        places = reader.graph.grid[0] * reader.graph.grid[1]
        reader = replace(reader, blank_rows=places * reader.graph.features)
    sources = reader.patches(good, first=0, seed=settings.seed).sources
    first = _fitted(reader, good, sources, settings, rows_of, by_place=by_place)
    aside = () if settings.keep_outliers else odd_ones(first.scores, sources)
    if not aside:
        return first
    left_out = {one.position for one in aside}
    kept = [position for position in range(len(good)) if position not in left_out]
    left, _ = renumbered(sources, kept)
    return _fitted(reader, Chosen(good, kept), left, settings, rows_of, by_place=by_place, aside=aside)


def _fitted(
    reader: Reader,
    good: Sequence[GoodImage],
    sources: tuple[Source, ...],
    settings: LearnSettings,
    rows_of: Callable[[Moments], Rows],
    *,
    by_place: bool,
    aside: tuple[SetAside, ...] = (),
) -> Settled:
    folds = _folds(parts_of(sources), settings.seed)
    moments = _read(reader, good, folds, by_place=by_place)
    whole = summed(moments)
    bank = _bank(rows_of(whole))

    def held_out(one: Reader) -> HeldOut:
        held, done = HeldOut.none(len(good), one.regions), 0
        for fold, own in enumerate(moments if len(moments) > 1 else []):
            others = _bank(rows_of(whole.without(own)))
            for position in np.flatnonzero(folds == fold):
                held.put(int(position), one.judged(good[int(position)], others))
                done += 1
                one.progress("scores", done, len(good))
        return held

    judged = calibrated_by(
        weighed(reader, sources, held_out),
        bank,
        good,
        sources=sources,
        budget=settings.budget,
        warnings=told(aside, len(good) + len(aside)),
    )
    return Settled(
        bank=bank,
        coverage=0.0,
        sources=sources,
        scores=judged.scores,
        calibration=judged.calibration,
        regions=judged.regions,
        set_aside=aside,
    )


def _bank(rows: Rows) -> MemoryBank:
    return MemoryBank(rows=rows, origin=np.full(len(rows), EVERY_IMAGE, dtype=np.int32), form="affine")


def _folds(parts: Sequence[int], seed: int) -> NDArray[np.intp]:
    """Return the fold of every image; images of one part share it."""
    numbers, part = np.unique(parts, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(numbers))
    return np.asarray((order % min(_FOLDS, len(numbers)))[part])


def _read(
    reader: Reader, good: Sequence[GoodImage], folds: NDArray[np.intp], *, by_place: bool
) -> list[Moments]:
    places = reader.graph.grid[0] * reader.graph.grid[1] if by_place else 1
    moments = [Moments.none(places, reader.graph.features) for _ in range(int(folds.max()) + 1)]
    for position, image in enumerate(good):
        patches, mask = reader.look(image)
        moments[folds[position]].add(patches, mask.ravel())
        reader.progress("moments", position + 1, len(good))
    return moments
