"""What a network that is trained for a product has to be. Imported only where one is trained."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

Optimiser = tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one step sees."""

    pixels: Tensor
    """(n, 3, s, s) float32."""

    seen: tuple[Tensor, ...]
    """What the network's frozen part makes of them; (n, ...) each."""

    defects: Tensor
    """(n, 1, s, s) float32, the share of every pixel that is marked defective; all zero of good images."""

    @classmethod
    def of(cls, tiles: Sequence["Batch"]) -> Self:
        """Return several as one."""
        return cls(
            pixels=torch.cat([tile.pixels for tile in tiles]),
            seen=tuple(torch.cat(layers) for layers in zip(*(tile.seen for tile in tiles), strict=True)),
            defects=torch.cat([tile.defects for tile in tiles]),
        )

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        return sum(tensor.nbytes for tensor in (self.pixels, self.defects, *self.seen))

    def __len__(self) -> int:
        return len(self.pixels)

    def one(self, index: int) -> "Batch":
        """Return one of them, as a batch of one; a view."""
        only = slice(index, index + 1)
        return Batch(
            pixels=self.pixels[only],
            seen=tuple(layer[only] for layer in self.seen),
            defects=self.defects[only],
        )


class TrainedNetwork(nn.Module, ABC):
    """A network that makes maps of pixels, and knows how it is trained.

    Convention: n images of s x s pixels, normalised; m maps of gh x gw patches, none below zero.
    """

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor:
        """Return (n, m, gh, gw) for (n, 3, s, s)."""

    @abstractmethod
    def frozen(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return what its part that is not trained makes of (n, 3, s, s): computed once for an image."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Return what training makes small."""

    @abstractmethod
    def optimiser(self, steps: int) -> Optimiser:
        """Return what changes the weights, and by how much less towards the end."""

    def begin(self, some: Batch) -> None:
        """Look at some of the images before the first step."""


def upscaled(maps: Sequence[Tensor]) -> list[Tensor]:
    """Return maps, (n, 1, h, w) each, all as large as the first."""
    size = maps[0].shape[2:]
    return [
        one if one.shape[2:] == size
        else nn.functional.interpolate(one, size=size, mode="bilinear", align_corners=False)
        for one in maps
    ]  # fmt: skip
