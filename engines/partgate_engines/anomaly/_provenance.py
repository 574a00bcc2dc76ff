"""Which images the rows of a memory bank are from, and taking them out."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bank import MemoryBank
from partgate_engines._manifest import Source

_PART_ORIGIN = "part:"


def near_duplicates(
    bank: MemoryBank, patch: NDArray[np.float32], *, within: float
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the rows of a bank near a patch, the nearest first, and how far each is.

    Args:
        bank: to search, all of it: a product of a matrix and a vector.
        patch: (d,) float32.
        within: the largest distance.
    """
    distance = np.linalg.norm(bank.rows - patch, axis=1).astype(np.float32)
    near = np.flatnonzero(distance <= within)
    order = near[np.argsort(distance[near], kind="stable")]
    return order, distance[order]


def rows_by_image(bank: MemoryBank, images: int) -> NDArray[np.intp]:
    """Return how many rows each image brought: (images,)."""
    return np.bincount(bank.origin, minlength=images)


def positions_of(sources: Sequence[Source], names: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Return the positions of the images that each name means, copies of them among them.

    A name is an image's origin, its last part (a file's name), or the id of a part that QA took it from.
    An image with the very same pixels brought the same patches under another name.
    """
    digests: dict[str, set[str]] = {name: set() for name in names}
    for source in sources:
        for name in names:
            if _means(name, source.origin):
                digests[name].add(source.pixels_sha256)
    return {
        name: tuple(n for n, source in enumerate(sources) if source.pixels_sha256 in found)
        for name, found in digests.items()
    }


def _means(name: str, origin: str) -> bool:
    if origin.startswith(_PART_ORIGIN):
        return name in {origin, origin.removeprefix(_PART_ORIGIN)}
    return name == origin or origin.endswith(f"/{name}")


def without_images(
    bank: MemoryBank, sources: Sequence[Source], kept: Sequence[int]
) -> tuple[MemoryBank | None, tuple[Source, ...]]:
    """Return what is left of a bank and of its images, counted anew.

    Args:
        bank: with origins that are positions in the sources.
        sources: of all images.
        kept: ascending positions of those that stay.

    Returns:
        The bank, None if all its rows go, and the sources that stay.
    """
    left, number = renumbered(sources, kept)
    origin = number[bank.origin]
    stays = origin >= 0
    return MemoryBank(rows=bank.rows[stays], origin=origin[stays]) if stays.any() else None, left


def renumbered(
    sources: Sequence[Source], kept: Sequence[int]
) -> tuple[tuple[Source, ...], NDArray[np.int32]]:
    """Return the sources that stay, counted anew.

    Args:
        sources: of all images.
        kept: ascending positions of those that stay.

    Returns:
        The sources, and for each position the new one, -1 where the image goes: (n,) int32.
    """
    number = np.full(len(sources), -1, dtype=np.int32)
    number[list(kept)] = np.arange(len(kept), dtype=np.int32)
    return tuple(_counted_anew(sources[position], number) for position in kept), number


def _counted_anew(source: Source, number: NDArray[np.int32]) -> Source:
    alike = tuple(int(number[other]) for other in source.alike if number[other] >= 0)
    return source.model_copy(update={"alike": alike})
