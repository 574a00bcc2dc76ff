"""Good images through the graph, one at a time: their features and their held-out scores."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bank import MemoryBank, without
from partgate_engines._errors import ImagesRefused
from partgate_engines._manifest import Source, Tiling
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines._placement import Placement, place
from partgate_engines.anomaly._images import GoodImage, checked, fingerprint
from partgate_engines.anomaly._kinship import describe, families, related
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Puts images through a graph."""

    graph: OpenVinoGraph
    regions: tuple[Region, ...]
    progress: Progress
    tiling: Tiling | None = None
    _placements: dict[tuple[int, int], Placement] = field(default_factory=dict)

    def patches(self, images: Sequence[GoodImage], *, first: int, seed: int) -> Patches:
        """Return the judged patches of all images.

        Args:
            images: read one at a time.
            first: the position of the first of them.
            seed: of the choice of patches where all would not fit into memory.

        Raises:
            ImagesRefused: names the image.
            ConfigError: a region does not fit into an image.
        """
        self.graph.bind_bank(np.zeros((1, self.graph.features + 1), dtype=np.float32))
        most = max(_LARGEST_POOL // (self.graph.features * len(images)), 1)
        random = np.random.default_rng(seed)
        rows: list[NDArray[np.float32]] = []
        sources: list[Source] = []
        descriptions: list[NDArray[np.float32]] = []
        for position, image in enumerate(images):
            patches, description = self._judged_patches(image)
            descriptions.append(description)
            if len(patches) > most:
                patches = patches[np.sort(random.permutation(len(patches))[:most])]
            rows.append(patches)
            sources.append(source_of(image))
            self.progress("features", position + 1, len(images))
        counts = [len(patches) for patches in rows]
        origin = np.repeat(np.arange(first, first + len(images), dtype=np.int32), counts)
        kin = related(sources, np.stack(descriptions), first=first)
        return Patches(rows=np.concatenate(rows), origin=origin, sources=kin)

    def held_out_scores(
        self, images: Iterable[GoodImage], sources: Sequence[Source], bank: MemoryBank
    ) -> NDArray[np.float32]:
        """Score every image by the bank without the rows that it, or its like, brought.

        Args:
            images: all that the bank was learned from, in order; read one at a time.
            sources: what they were when the bank was learned.
            bank: with origins that are positions in the images.

        Returns:
            (n,) float32, not a number where no other image brought a row.

        Raises:
            ImagesRefused: an image is not the one that the bank was learned from.
        """
        together = families(sources)
        augmented = bank.augmented()
        scores = np.full(len(sources), np.nan, dtype=np.float32)
        for position, (image, source) in enumerate(zip(images, sources, strict=True)):
            _check_same(image, source, position)
            own = together[position, bank.origin]
            if not own.all():
                self.graph.bind_bank(without(augmented, own))
                scores[position] = self._score(checked(image), image.origin)
            self.progress("scores", position + 1, len(sources))
        return scores

    def mirrored_scores(self, image: GoodImage, bank: MemoryBank) -> NDArray[np.float32]:
        """Score an image's three mirrors by the bank that it brought itself: (3,) float32."""
        self.graph.bind_bank(bank.augmented())
        pixels = checked(image)
        mirrors = (pixels[:, ::-1], pixels[::-1], pixels[::-1, ::-1])
        return np.array(
            [self._score(np.ascontiguousarray(mirror), image.origin) for mirror in mirrors], dtype=np.float32
        )

    def _judged_patches(self, image: GoodImage) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the patches that are judged, and what the whole image looks like."""
        pixels = checked(image)
        placement = self._place(pixels, image.origin)
        self.graph.run(pixels, placement)
        patches = self.graph.patches()
        whole = placement.stitch(patches.reshape(*placement.mask.shape, -1))  # (GH, GW, d)
        description = describe(whole.reshape(-1, whole.shape[2]), placement.stitch(placement.mask))
        return patches[placement.mask.ravel() > 0], description

    def _score(self, pixels: NDArray[np.uint8], origin: str) -> float:
        score, _ = self.graph.run(pixels, self._place(pixels, origin))
        if not np.isfinite(score):
            raise ImagesRefused(
                f"{origin}: its anomaly score is {score}; the weights or the bank are damaged"
            )
        return score

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
    return Source(origin=image.origin, pixels_sha256=fingerprint(image.pixels))


def _check_same(image: GoodImage, source: Source, position: int) -> None:
    given = source_of(image)
    if given.pixels_sha256 != source.pixels_sha256 or given.origin != source.origin:
        what = "its pixels have changed" if given.origin == source.origin else f"it was {source.origin}"
        raise ImagesRefused(
            f"good image number {position + 1}, {given.origin}: {what}; give the images the product was"
            " learned from, in the same order"
        )
