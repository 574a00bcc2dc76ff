"""The good images a product is learned from."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from partgate_engines._errors import ImagesRefused

SMALLEST_PX = 32  # one patch of the coarsest usual layer; less has no texture to learn
ADVISED = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodImage:
    """An image of a part that is known to be good."""

    pixels: NDArray[np.uint8]
    """(h, w) grey or (h, w, 3) red, green, blue; uint8; not modified."""

    origin: str
    """Where it came from: a file's name, or `part:<uuid>`."""

    pixels_sha256: str | None = None
    """Of the picture as it was taken, where `pixels` are another one; None: of `pixels`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefectImage:
    """An image of a part that is known to be defective, and where."""

    pixels: NDArray[np.uint8]
    """(h, w) grey or (h, w, 3) red, green, blue; uint8; not modified."""

    mask: NDArray[np.bool_]
    """(h, w), true on the defect."""

    origin: str
    """Where it came from: a file's name."""

    def __post_init__(self) -> None:
        if self.mask.shape != self.pixels.shape[:2] or not self.mask.any():
            raise ImagesRefused(
                f"{self.origin}: a mask of {self.mask.shape} with {int(self.mask.sum())} pixels marked, for"
                f" pixels of {self.pixels.shape}; expected as high and wide, and at least one marked"
            )


class Chosen(Sequence[GoodImage]):
    """Some of the images, read as they are asked for."""

    def __init__(self, images: Sequence[GoodImage], positions: Sequence[int]) -> None:
        """Take the images at these positions, in this order."""
        self._images = images
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> GoodImage: ...
    @overload
    def __getitem__(self, index: slice) -> "Chosen": ...
    def __getitem__(self, index: int | slice) -> "GoodImage | Chosen":
        if isinstance(index, slice):
            return Chosen(self._images, self._positions[index])
        return self._images[self._positions[index]]


class Joined(Sequence[GoodImage]):
    """Images of two sequences, one after the other, read as they are asked for."""

    def __init__(self, first: Sequence[GoodImage], then: Sequence[GoodImage]) -> None:
        """Join them."""
        self._first, self._then = first, then

    def __len__(self) -> int:
        return len(self._first) + len(self._then)

    @overload
    def __getitem__(self, index: int) -> GoodImage: ...
    @overload
    def __getitem__(self, index: slice) -> Chosen: ...
    def __getitem__(self, index: int | slice) -> GoodImage | Chosen:
        if isinstance(index, slice):
            return Chosen(self, range(len(self))[index])
        position = range(len(self))[index]
        before = len(self._first)
        return self._first[position] if position < before else self._then[position - before]


def check_count(good: Sequence[GoodImage]) -> None:
    """Refuse to learn from nothing.

    Raises:
        ImagesRefused: says how many were given and how many are needed.
    """
    if not good:
        raise ImagesRefused(f"0 good images given; at least 1 is needed, {ADVISED} or more are advised")


def checked(image: GoodImage) -> NDArray[np.uint8]:
    """Return an image's pixels as (h, w, c).

    Raises:
        ImagesRefused: names the image and what is wrong with it.
    """
    pixels = image.pixels
    shape = "×".join(str(length) for length in pixels.shape)
    if pixels.dtype != np.uint8:
        raise ImagesRefused(f"{image.origin}: {pixels.dtype}; expected 8 bits per channel")
    grey, colour = pixels.ndim == 2, pixels.ndim == 3 and pixels.shape[2] in (1, 3)  # noqa: PLR2004 - axes
    if not grey and not colour:
        raise ImagesRefused(f"{image.origin}: shape {shape}; expected (h, w) grey or (h, w, 3) colours")
    if min(pixels.shape[:2]) < SMALLEST_PX:
        raise ImagesRefused(
            f"{image.origin}: {pixels.shape[1]}×{pixels.shape[0]} px is too small; at least"
            f" {SMALLEST_PX}×{SMALLEST_PX} px are needed"
        )
    return np.ascontiguousarray(pixels[:, :, None] if grey else pixels)


def fingerprint(pixels: NDArray[np.uint8]) -> str:
    """Return what two images have in common only if all their pixels are the same."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
