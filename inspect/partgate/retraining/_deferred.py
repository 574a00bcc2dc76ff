"""Images that are decoded when they are asked for."""

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from partgate_engines.anomaly import GoodImage

Load = Callable[[], NDArray[np.uint8]]

KEPT_BYTES = 256 * 2**20


class _Decoded:
    """Images by number, of which some stay decoded."""

    def __init__(self, entries: Sequence[tuple[str, Load]], room_bytes: int) -> None:
        self._entries = entries
        self._room_bytes = room_bytes
        self._kept: dict[int, GoodImage] = {}
        self.shapes: dict[int, tuple[int, ...]] = {}

    def image(self, number: int) -> GoodImage:
        if number in self._kept:
            return self._kept[number]
        origin, load = self._entries[number]
        image = GoodImage(pixels=load(), origin=origin)
        self.shapes[number] = image.pixels.shape
        if image.pixels.nbytes <= self._room_bytes:
            self._room_bytes -= image.pixels.nbytes
            self._kept[number] = image
        return image


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
        self._decoded = _Decoded(entries, kept_bytes)
        self._numbers: Sequence[int] = range(len(entries))

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> GoodImage: ...
    @overload
    def __getitem__(self, index: slice) -> "DeferredImages": ...
    def __getitem__(self, index: int | slice) -> "GoodImage | DeferredImages":
        if isinstance(index, slice):
            return self.only(range(len(self))[index])
        return self._decoded.image(self._numbers[index])

    def only(self, positions: Sequence[int]) -> "DeferredImages":
        """Return some of the images; what is decoded of them stays so for both, and is kept once."""
        chosen = DeferredImages(())
        chosen._decoded = self._decoded
        chosen._numbers = [self._numbers[position] for position in positions]
        return chosen

    def shape(self, position: int) -> tuple[int, ...]:
        """Return the shape of an image's pixels; it is decoded only if it never was before."""
        number = self._numbers[position]
        return self._decoded.shapes.get(number) or self._decoded.image(number).pixels.shape
