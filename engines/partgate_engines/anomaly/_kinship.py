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
# Where more images are alike than this, they are a kind of part or a kind of light, not one part: a fifth of
# them, but 8 may always be, and more than 100 never are. Five kinds of 2,000 would be 20 million pairs.
_LARGEST_SHARE, _ALWAYS_A_FAMILY, _NEVER_A_FAMILY = 0.2, 8, 100
_PART_ORIGIN = "part:"
_BLOCK = 512  # images compared with all others at once
_MOST_KEPT = 50_000_000  # numbers of all descriptions: 200 MB


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


class Descriptions:
    """What many images look like from afar, in a bounded amount of memory.

    Where they would take more, what each is described by is projected at random to fewer numbers: with
    5,000 of them, which is where 10,000 images come to lie, correlations change by 0.014 (one deviation).
    """

    def __init__(self, images: int) -> None:
        """Make room for so many images."""
        self._images = images
        self._rows = np.empty((0, 0), dtype=np.float32)
        self._matrix: NDArray[np.float32] | None = None

    def put(self, position: int, description: NDArray[np.float32]) -> None:
        """Take an image's, as `describe` returns it."""
        if not self._rows.size:
            self._make_room(description.size)
        self._rows[position] = description if self._matrix is None else description @ self._matrix

    def related(self, sources: Sequence[Source], *, first: int, at: int = 0) -> tuple[Source, ...]:
        """Return the sources with who shows the same part, as `related` does; of all to be asked last.

        Args:
            sources: of the images from `at` on; all of them are there.
            first: the position of the first of them.
            at: where they begin in here.
        """
        rows = self._rows[at:].copy() if at else self._rows  # a second block only where the first is needed
        return related(sources, rows, first=first)

    def across(self, sources: Sequence[Source], *, first_new: int) -> tuple[Source, ...]:
        """Return the sources with which new images show the same part as an old one; to be asked once, last.

        What is known among the old ones and among the new ones stays. New ones may be of a kind of their own,
        and would all seem to be one part beside the others: of overturned parts of one look, each counts.

        Args:
            sources: of all images, as far as it is known who shows the same part.
            first_new: the position of the first new one.
        """
        found = []
        for position, (source, others) in enumerate(zip(sources, alike(self._rows), strict=True)):
            beyond = others[(others < first_new) != (position < first_new)]
            known = sorted({*source.alike, *map(int, beyond)})
            found.append(source.model_copy(update={"alike": tuple(known)}))
        return tuple(found)

    def _make_room(self, size: int) -> None:
        most = max(_MOST_KEPT // self._images, 1)
        if size > most:
            random = np.random.default_rng(0)
            self._matrix = random.standard_normal((size, most), dtype=np.float32) / np.float32(np.sqrt(most))
        self._rows = np.empty((self._images, min(size, most)), dtype=np.float32)


def alike(descriptions: NDArray[np.float32]) -> tuple[NDArray[np.intp], ...]:
    """Return which images show the same part: those that differ from the average in the same way.

    Compared in blocks: of 10,000 images, a table of every pair would take 400 MB. The time goes with the
    square of their number.

    Args:
        descriptions: (n, f) float32, of images that were described together; overwritten.

    Returns:
        For each image the ascending positions of the others like it.
    """
    own = descriptions
    own -= own.mean(axis=0)
    own /= np.maximum(np.sqrt(np.einsum("nf,nf->n", own, own))[:, None], 1e-6)
    most = min(max(_ALWAYS_A_FAMILY, _LARGEST_SHARE * len(own)), _NEVER_A_FAMILY)
    found: list[NDArray[np.intp]] = []
    for first in range(0, len(own), _BLOCK):
        same = own[first : first + _BLOCK] @ own.T >= _ALIKE
        found.extend(_others(row, first + here, most) for here, row in enumerate(same))
    return _mutual(found)


def _others(same: NDArray[np.bool_], here: int, most: float) -> NDArray[np.intp]:
    """Return whom an image is like; nobody if it is like a crowd."""
    same[here] = False
    others = np.flatnonzero(same)
    return others if len(others) <= most else np.zeros(0, dtype=np.intp)  # not a view, which keeps them all


def _mutual(found: Sequence[NDArray[np.intp]]) -> tuple[NDArray[np.intp], ...]:
    """Return the others that have kept an image too: who is like a crowd is nobody's kin from either side."""
    count = len(found)
    here = np.repeat(np.arange(count), [len(others) for others in found])
    there = np.concatenate(found) if count else here
    kept = np.isin(there * count + here, here * count + there)  # the pairs that are there the other way round
    ends = np.cumsum(np.bincount(here[kept], minlength=count))
    return tuple(np.split(there[kept], ends[:-1])) if count else ()


def related(
    sources: Sequence[Source], descriptions: NDArray[np.float32], *, first: int
) -> tuple[Source, ...]:
    """Return the sources with the positions of those that show the same part.

    Args:
        sources: of images described together.
        descriptions: (n, f) float32, in their order; overwritten.
        first: the position of the first of them.
    """
    same = alike(descriptions)
    return tuple(
        source.model_copy(update={"alike": tuple(int(other) + first for other in others)})
        for source, others in zip(sources, same, strict=True)
    )


def kin(sources: Sequence[Source]) -> tuple[NDArray[np.intp], ...]:
    """Return whom each image is held out with: itself, its copies, and photographs of the same part.

    Those are of one part that look alike, and those that QA took from one, whatever they look like.

    Returns:
        For each image ascending positions, its own among them; copies share one array.
    """
    number: dict[str, int] = {}
    picture = [number.setdefault(source.pixels_sha256, len(number)) for source in sources]
    copies_of: list[list[int]] = [[] for _ in number]
    beside: list[set[int]] = [{own} for own in range(len(number))]
    for position, source in enumerate(sources):
        own = picture[position]
        copies_of[own].append(position)
        for other in source.alike:
            beside[own].add(picture[other])
            beside[picture[other]].add(own)
    for same in _same(_parts_taken_from(sources)):
        shown = {picture[position] for position in same}
        for own in shown:
            beside[own] |= shown
    together = [
        np.array(sorted(position for one in own for position in copies_of[one]), dtype=np.intp)
        for own in beside
    ]
    return tuple(together[own] for own in picture)


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
    leads = list(range(len(sources)))  # to an earlier image of the same part, or to itself
    for position, source in enumerate(sources):
        for other in source.alike:
            _join(leads, position, other)
    for same in (*copy_groups(sources), *_same(_parts_taken_from(sources))):
        for other in same[1:]:
            _join(leads, same[0], other)
    return tuple(_first(leads, position) for position in range(len(sources)))


def _parts_taken_from(sources: Sequence[Source]) -> list[str]:
    """Return the part that QA took each image from; "" of one that comes from a file."""
    return [source.origin if source.origin.startswith(_PART_ORIGIN) else "" for source in sources]


def _join(leads: list[int], one: int, other: int) -> None:
    """Say that two images show the same part."""
    first, second = sorted((_first(leads, one), _first(leads, other)))
    leads[second] = first


def _first(leads: list[int], position: int) -> int:
    """Return the first image of the part that an image shows."""
    while leads[position] != position:
        leads[position] = leads[leads[position]]
        position = leads[position]
    return position


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
