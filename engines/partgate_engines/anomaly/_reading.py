"""Good images through the graph, one at a time: their features and their held-out scores."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bank import MemoryBank, without
from partgate_engines._errors import ImagesRefused
from partgate_engines._manifest import Source, Tiling
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines._placement import Placement, place
from partgate_engines.anomaly._held_out import HeldOut, region_scores
from partgate_engines.anomaly._images import GoodImage, checked, fingerprint
from partgate_engines.anomaly._kinship import Descriptions, describe, kin
from partgate_engines.anomaly._settings import Progress
from partgate_station import ConfigError, Region

_LARGEST_POOL = 150_000_000  # features kept for the choice of a bank: 600 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """The patches of images, and which image each is from."""

    rows: NDArray[np.float32]
    """(n, d) float32."""

    origin: NDArray[np.int32]
    """(n,) int32, positions in the images."""

    sources: tuple[Source, ...]
    """The images, and which of them show the same part."""


class _Pool:
    """Patches in one block of memory: pieces that are joined at the end would be there twice.

    A page of the block takes memory only once something is written to it.
    """

    def __init__(self, *, images: int, features: int, seed: int) -> None:
        self._most = max(_LARGEST_POOL // (features * images), 1)  # of one image
        self._rows = np.empty((max(_LARGEST_POOL // features, images), features), dtype=np.float32)
        self._counts: list[int] = []
        self._used = 0
        self._random = np.random.default_rng(seed)

    def add(self, patches: NDArray[np.float32]) -> None:
        """Take an image's patches, or an even choice of them where all images' would be too many."""
        if len(patches) > self._most:
            patches = patches[np.sort(self._random.permutation(len(patches))[: self._most])]
        self._rows[self._used : self._used + len(patches)] = patches
        self._used += len(patches)
        self._counts.append(len(patches))

    @property
    def rows(self) -> NDArray[np.float32]:
        """What was taken: (n, d) float32, a view."""
        return self._rows[: self._used]

    def origin(self, first: int) -> NDArray[np.int32]:
        """Return the position of each row's image, counted from `first`."""
        return np.repeat(np.arange(first, first + len(self._counts), dtype=np.int32), self._counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Puts images through a graph."""

    graph: OpenVinoGraph
    regions: tuple[Region, ...]
    progress: Progress
    tiling: Tiling | None = None
    blank_rows: int = 1
    """Rows of the bank that features are read with: as many as the graph needs."""

    _placements: dict[tuple[int, int], Placement] = field(default_factory=dict)

    def patches(
        self, images: Sequence[GoodImage], *, first: int, seed: int, among: Descriptions | None = None
    ) -> Patches:
        """Return the judged patches of all images.

        Args:
            images: read one at a time.
            first: the position of the first of them.
            seed: of the choice of patches where all would not fit into memory.
            among: where the images' descriptions go, the last ones there, if others are to be compared with
                them.

        Raises:
            ImagesRefused: names the image.
            ConfigError: a region does not fit into an image.
        """
        self.graph.bind_bank(np.zeros((self.blank_rows, self.graph.features + 1), dtype=np.float32))
        pool = _Pool(images=len(images), features=self.graph.features, seed=seed)
        sources: list[Source] = []
        descriptions, at = (Descriptions(len(images)), 0) if among is None else (among, first)
        for position, image in enumerate(images):
            patches, description = self._judged_patches(image)
            descriptions.put(at + position, description)
            pool.add(patches)
            sources.append(source_of(image))
            self.progress("features", position + 1, len(images))
        known = descriptions.related(sources, first=first, at=at)
        return Patches(rows=pool.rows, origin=pool.origin(first), sources=known)

    def with_regions(self, regions: tuple[Region, ...]) -> Self:
        """Return what puts images through the same graph and looks at other regions."""
        return replace(self, regions=regions, _placements={})

    def held_out(self, images: Iterable[GoodImage], sources: Sequence[Source], bank: MemoryBank) -> HeldOut:
        """Score every image by the bank without the rows that it, or its like, brought.

        Args:
            images: all that the bank was learned from, in order; read one at a time.
            sources: what they were when the bank was learned.
            bank: with origins that are positions in the images.

        Returns:
            Scores, not a number where no other image brought a row.

        Raises:
            ImagesRefused: an image is not the one that the bank was learned from.
        """
        together = kin(sources)
        augmented = bank.augmented()
        held = HeldOut.none(len(sources), self.regions)
        for position, (image, source) in enumerate(zip(images, sources, strict=True)):
            _check_same(image, source, position)
            found = self._by_others(image, bank, augmented, together[position])
            if found is not None:
                held.put(position, found)
            self.progress("scores", position + 1, len(sources))
        return held

    def held_out_anew(
        self,
        images: Sequence[GoodImage],
        sources: Sequence[Source],
        bank: MemoryBank,
        descriptions: Descriptions,
        *,
        described: int,
    ) -> tuple[HeldOut, tuple[Source, ...]]:
        """Score as `held_out` does, and say which of the last images show the same part as one of the first.

        The first ones are described while they are scored: nothing is read twice for it. Those whose kin
        turns out to be another than was known are scored once more, and the last ones then.

        Args:
            images: all that the bank was learned from, in order.
            sources: what is known of them.
            bank: with origins that are positions in the images.
            descriptions: of all; the first images' are put into it.
            described: how many of the first images are not described yet.

        Returns:
            The scores, and the sources with those that show the same part.
        """
        together = kin(sources)
        augmented = bank.augmented()
        held = HeldOut.none(len(sources), self.regions)
        for position in range(described):
            image = images[position]
            _check_same(image, sources[position], position)
            found = self._by_others(image, bank, augmented, together[position])
            if found is not None:
                held.put(position, found)
            else:  # described all the same
                self.graph.bind_bank(augmented)
                self._judged(checked(image), image.origin)
            descriptions.put(position, self._described(self._place(checked(image), image.origin)))
            self.progress("scores", position + 1, len(sources))
        known = descriptions.across(sources, first_new=described)
        now = kin(known)
        again = [n for n in range(described) if not np.array_equal(together[n], now[n])]
        for position in (*again, *range(described, len(sources))):
            _check_same(images[position], sources[position], position)
            found = self._by_others(images[position], bank, augmented, now[position])
            held.put(position, found or (float("nan"), np.full_like(held.by_region[position], np.nan)))
            self.progress("scores", max(position + 1, described), len(sources))
        return held, known

    def _by_others(
        self,
        image: GoodImage,
        bank: MemoryBank,
        augmented: NDArray[np.float32],
        together: NDArray[np.intp],
    ) -> tuple[float, NDArray[np.float32]] | None:
        """Return an image's score and its regions' by the rows that its kin did not bring; None: none."""
        own = np.isin(bank.origin, together)
        if own.all():
            return None
        self.graph.bind_bank(without(augmented, own))
        return self._judged(checked(image), image.origin)

    def mirrored_scores(self, image: GoodImage, bank: MemoryBank) -> NDArray[np.float32]:
        """Score an image's three mirrors by the bank that it brought itself: (3,) float32."""
        self.graph.bind_bank(bank.augmented())
        pixels = checked(image)
        mirrors = (pixels[:, ::-1], pixels[::-1], pixels[::-1, ::-1])
        return np.array(
            [self._judged(np.ascontiguousarray(mirror), image.origin)[0] for mirror in mirrors],
            dtype=np.float32,
        )

    def look(self, image: GoodImage) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return an image's patch features and which of them are judged, by the bank bound last.

        Returns:
            (t * gh * gw, d) float32, tile by tile, and the mask (t, gh, gw), above 0 where they are.
        """
        pixels = checked(image)
        placement = self._place(pixels, image.origin)
        self.graph.run(pixels, placement)
        return self.graph.patches(), placement.mask

    def score(self, image: GoodImage, bank: MemoryBank) -> float:
        """Return an image's score by a bank.

        Raises:
            ImagesRefused: it is not a number.
        """
        return self.judged(image, bank)[0]

    def judged(self, image: GoodImage, bank: MemoryBank) -> tuple[float, NDArray[np.float32]]:
        """Return an image's score by a bank, and what `region_scores` says of its regions.

        Raises:
            ImagesRefused: it is not a number.
        """
        self.graph.bind_bank(bank.augmented())
        return self._judged(checked(image), image.origin)

    def _judged_patches(self, image: GoodImage) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the patches that are judged, and what the whole image looks like."""
        pixels = checked(image)
        placement = self._place(pixels, image.origin)
        self.graph.run(pixels, placement)
        return self.graph.patches()[(placement.mask > 0).ravel()], self._described(placement)

    def _described(self, placement: Placement) -> NDArray[np.float32]:
        """Return what the image that was run last looks like as a whole."""
        whole = placement.stitch(self.graph.patches().reshape(*placement.mask.shape, -1))  # (GH, GW, d)
        seen = placement.stitch((placement.mask > 0).astype(np.float32))
        return describe(whole.reshape(-1, whole.shape[2]), seen)

    def _judged(self, pixels: NDArray[np.uint8], origin: str) -> tuple[float, NDArray[np.float32]]:
        placement = self._place(pixels, origin)
        score, anomaly_map = self.graph.run(pixels, placement)
        if not np.isfinite(score):
            raise ImagesRefused(
                f"{origin}: its anomaly score is {score}; the weights or the bank are damaged"
            )
        return score, region_scores(anomaly_map, placement, self.regions)

    def _place(self, pixels: NDArray[np.uint8], origin: str) -> Placement:
        """Return the placement for an image's size; only the last one is kept, sizes may all differ."""
        size = pixels.shape[0], pixels.shape[1]
        if size not in self._placements:
            self._placements.clear()
            self._placements[size] = self._placed(size, origin)
        return self._placements[size]

    def _placed(self, size: tuple[int, int], origin: str) -> Placement:
        try:
            return place(
                height_px=size[0],
                width_px=size[1],
                regions=self.regions,
                size_px=self.graph.size_px,
                grid=self.graph.grid,
                tiling=self.tiling,
            )
        except ConfigError as error:
            raise type(error)([f"{origin}: {problem}" for problem in error.problems]) from error


def source_of(image: GoodImage) -> Source:
    """Return what is kept of an image in a manifest."""
    return Source(origin=image.origin, pixels_sha256=image.pixels_sha256 or fingerprint(image.pixels))


def _check_same(image: GoodImage, source: Source, position: int) -> None:
    given = source_of(image)
    if given.pixels_sha256 != source.pixels_sha256 or given.origin != source.origin:
        what = "its pixels have changed" if given.origin == source.origin else f"it was {source.origin}"
        raise ImagesRefused(
            f"good image number {position + 1}, {given.origin}: {what}; give the images the product was"
            " learned from, in the same order"
        )
