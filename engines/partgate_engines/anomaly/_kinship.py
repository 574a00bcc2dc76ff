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


def alike(descriptions: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which images show the same part: those that differ from the average in the same way.

    Args:
        descriptions: (n, f) float32, of images that were described together.

    Returns:
        (n, n) bool, symmetric, false on the diagonal.
    """
    own = descriptions - descriptions.mean(axis=0)
    length = np.linalg.norm(own, axis=1, keepdims=True)
    own = own / np.maximum(length, 1e-6)
    same = own @ own.T >= _ALIKE
    np.fill_diagonal(same, val=False)
    crowd = same.sum(axis=1) > max(_LARGEST_FAMILY, _LARGEST_SHARE * len(same))
    same[crowd] = False
    same[:, crowd] = False
    return np.asarray(same)


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
        source.model_copy(update={"alike": tuple(int(other) + first for other in np.flatnonzero(row))})
        for source, row in zip(sources, same, strict=True)
    )


def families(sources: Sequence[Source]) -> NDArray[np.bool_]:
    """Return which images are held out together: copies, and photographs of the same part.

    Returns:
        (n, n) bool, symmetric, true on the diagonal.
    """
    digests = np.array([source.pixels_sha256 for source in sources])
    together = digests[:, None] == digests[None, :]
    for position, source in enumerate(sources):
        together[position, list(source.alike)] = True
    return np.asarray(together | together.T)


def parts_of(sources: Sequence[Source]) -> tuple[int, ...]:
    """Return the number of the part that each image shows: that of the first image it is of.

    Images held out together are of one part, and so are all images that QA took from one.
    """
    together = families(sources)
    origins = np.array([source.origin for source in sources])
    taken = np.char.startswith(origins, _PART_ORIGIN)
    together |= (origins[:, None] == origins[None, :]) & taken[:, None]
    numbers = np.full(len(sources), -1)
    for first in range(len(sources)):
        if numbers[first] < 0:
            numbers[_connected(together, first)] = first
    return tuple(int(number) for number in numbers)


def _connected(together: NDArray[np.bool_], first: int) -> NDArray[np.bool_]:
    reached = together[first]
    while not np.array_equal(further := together[reached].any(axis=0), reached):
        reached = further
    return np.asarray(reached)


def copies(sources: Sequence[Source]) -> int:
    """Return how many images have the same pixels as an earlier one."""
    return len(sources) - len({source.pixels_sha256 for source in sources})
