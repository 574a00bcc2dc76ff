"""Images that are decoded when they are asked for."""

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from partgate_engines.anomaly import GoodImage

Load = Callable[[], NDArray[np.uint8]]

KEPT_BYTES = 256 * 2**20


class DeferredImages(Sequence[GoodImage]):
    """Images in order; the first ones asked for stay decoded, the others are decoded every time.

    Learning goes through its images several times. 100 of 2 Mpx stay in memory; of 10,000 it
    holds no more than of those.
    """

    def __init__(self, entries: Sequence[tuple[str, Load]], *, kept_bytes: int = KEPT_BYTES) -> None:
        """Take images by where they come from and what gives their pixels.

        Args:
            entries: origin and loader of each.
            kept_bytes: pixels that stay in memory at most.
        """
        self._entries = entries
        self._room_bytes = kept_bytes
        self._kept: dict[int, GoodImage] = {}
        self._shapes: dict[int, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> GoodImage: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[GoodImage]: ...
    def __getitem__(self, index: int | slice) -> GoodImage | Sequence[GoodImage]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        if position in self._kept:
            return self._kept[position]
        origin, load = self._entries[position]
        image = GoodImage(pixels=load(), origin=origin)
        self._shapes[position] = image.pixels.shape
        if image.pixels.nbytes <= self._room_bytes:
            self._room_bytes -= image.pixels.nbytes
            self._kept[position] = image
        return image

    def only(self, positions: Sequence[int]) -> "DeferredImages":
        """Return some of the images, with what is decoded of them."""
        chosen = DeferredImages([self._entries[position] for position in positions])
        chosen._kept = {new: self._kept[old] for new, old in enumerate(positions) if old in self._kept}
        chosen._shapes = {new: self._shapes[old] for new, old in enumerate(positions) if old in self._shapes}
        chosen._room_bytes = self._room_bytes
        return chosen

    def shape(self, position: int) -> tuple[int, ...]:
        """Return the shape of an image's pixels; it is decoded only if it never was before."""
        return self._shapes[position] if position in self._shapes else self[position].pixels.shape
