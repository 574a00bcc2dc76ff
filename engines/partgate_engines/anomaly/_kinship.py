"""Finding photographs of one and the same part among good images.

Thresholds come from scoring every good image by a bank without its own patches. Where a part was
photographed several times, its other photographs vouch for it, and good parts that are really new
score far higher: on magnetic tiles with six exposures each, 17 % of other good ones came to lie above
the review threshold, and 1 % once exposures are held out together. docs/decisions/0003 has the figures.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partgate_engines._manifest import Source
from partgate_engines._resize import resize_matrix

_CELLS = 4  # an image is described by this many cells down and across
# Exposures of one tile correlate with 0.71 (median), other tiles with 0.35 at most in 99 of 100 pairs.
_ALIKE = 0.7
# Where more images are alike than this, they are a kind of part or a kind of light, not one part.
_LARGEST_FAMILY, _LARGEST_SHARE = 8, 0.2
_PART_ORIGIN = "part:"
_BLOCK = 512  # images compared with all others at once


def describe(patches: NDArray[np.float32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what an image looks like from afar.

    Args:
        patches: (gh * gw, d) float32 features; of tiles, those of the stitched map.
        mask: (gh, gw), 1 where a patch is judged.

    Returns:
        (16 * d,) float32.
    """
    gh, gw = mask.shape
    grid = patches.reshape(gh, gw, -1) * mask[:, :, None]
    small = np.einsum(
        "ah,bw,hwd->abd", resize_matrix(gh, _CELLS), resize_matrix(gw, _CELLS), grid, optimize=True
    )
    return np.asarray(small, dtype=np.float32).ravel()


def alike(descriptions: NDArray[np.float32]) -> tuple[NDArray[np.intp], ...]:
    """Return which images show the same part: those that differ from the average in the same way.

    Compared in blocks: of 10,000 images, a table of every pair would take 400 MB.

    Args:
        descriptions: (n, f) float32, of images that were described together; not modified.

    Returns:
        For each image the ascending positions of the others like it.
    """
    own = descriptions - descriptions.mean(axis=0)
    length = np.linalg.norm(own, axis=1, keepdims=True)
    own /= np.maximum(length, 1e-6)
    most = max(_LARGEST_FAMILY, _LARGEST_SHARE * len(own))
    found: list[NDArray[np.intp]] = []
    for first in range(0, len(own), _BLOCK):
        same = own[first : first + _BLOCK] @ own.T >= _ALIKE
        found.extend(_others(row, first + here, most) for here, row in enumerate(same))
    # Whom a crowd was taken from is nobody's kin, so it is taken from the others as well.
    kept = [{int(other) for other in others} for others in found]
    return tuple(
        np.array([other for other in others if here in kept[other]], dtype=np.intp)
        for here, others in enumerate(found)
    )


def _others(same: NDArray[np.bool_], here: int, most: float) -> NDArray[np.intp]:
    """Return whom an image is like; nobody if it is like a crowd."""
    same[here] = False
    others = np.flatnonzero(same)
    return others if len(others) <= most else others[:0]


def related(
    sources: Sequence[Source], descriptions: NDArray[np.float32], *, first: int
) -> tuple[Source, ...]:
    """Return the sources with the positions of those that show the same part.

    Args:
        sources: of images described together.
        descriptions: (n, f) float32, in their order.
        first: the position of the first of them.
    """
    same = alike(descriptions)
    return tuple(
        source.model_copy(update={"alike": tuple(int(other) + first for other in others)})
        for source, others in zip(sources, same, strict=True)
    )


def kin(sources: Sequence[Source]) -> tuple[NDArray[np.intp], ...]:
    """Return whom each image is held out with: itself, its copies, and photographs of the same part.

    Returns:
        For each image ascending positions, its own among them.
    """
    together: list[set[int]] = [{position, *source.alike} for position, source in enumerate(sources)]
    for position, source in enumerate(sources):
        for other in source.alike:
            together[other].add(position)
    for same in copy_groups(sources):
        for position in same:
            together[position].update(same)
    return tuple(np.array(sorted(own), dtype=np.intp) for own in together)


def families(sources: Sequence[Source]) -> NDArray[np.bool_]:
    """Return which images are held out together, as a table; `kin` for many images.

    Returns:
        (n, n) bool, symmetric, true on the diagonal.
    """
    together = np.zeros((len(sources), len(sources)), dtype=np.bool_)
    for position, own in enumerate(kin(sources)):
        together[position, own] = True
    return together


def parts_of(sources: Sequence[Source]) -> tuple[int, ...]:
    """Return the number of the part that each image shows: that of the first image it is of.

    Images held out together are of one part, and so are all images that QA took from one.
    """
    together = [{int(other) for other in own} for own in kin(sources)]
    taken = [source.origin if source.origin.startswith(_PART_ORIGIN) else "" for source in sources]
    for same in _same(taken):
        for position in same:
            together[position].update(same)
    numbers = [-1] * len(sources)
    for first in range(len(sources)):
        if numbers[first] < 0:
            for position in _reached(together, first):
                numbers[position] = first
    return tuple(numbers)


def _reached(together: Sequence[set[int]], first: int) -> set[int]:
    reached, fresh = {first}, [first]
    while fresh:
        further = together[fresh.pop()] - reached
        reached |= further
        fresh.extend(further)
    return reached


def copy_groups(sources: Sequence[Source]) -> tuple[tuple[int, ...], ...]:
    """Return the positions of images that have all their pixels in common, group by group."""
    return _same([source.pixels_sha256 for source in sources])


def _same(names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Return the positions of equal names, where there are several; "" is nobody's name."""
    found: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        if name:
            found.setdefault(name, []).append(position)
    return tuple(tuple(same) for same in found.values() if len(same) > 1)


def copies(sources: Sequence[Source]) -> int:
    """Return how many images have the same pixels as an earlier one."""
    return len(sources) - len({source.pixels_sha256 for source in sources})
