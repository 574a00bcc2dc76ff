"""The graph of a memory bank in whole numbers of eight bits, in torch.

Imported only where a graph is exported, because torch and anomalib take ten seconds to import.
"""

import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch import Tensor

from partgate_engines._manifest import Contrast
from partgate_engines.anomaly._patch_graph import PatchGraph
from partgate_engines.anomaly._quantise import example_pictures, in_steps, quantise


class QuantisedPatchGraph(PatchGraph):
    """From frames to score, map and features; convolutions and features are multiples of steps.

    A bank that is learned from such features holds multiples of the same step: a runtime may compare
    bytes, and gets the very same distances (docs/decisions/0030).
    """

    def __init__(self, model: PatchcoreModel, *, size_px: int, worst: int, contrast: Contrast) -> None:
        super().__init__(model, size_px=size_px, worst=worst, contrast=contrast)
        self.feature_step = quantise(model.feature_extractor, self._examples(), self._embed)

    def compared(self, patches: Tensor, bank: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `PatchGraph`."""
        features = in_steps(patches.flatten(2).transpose(1, 2), self.feature_step)
        return self._compared(features, Apart(bank), mask, grid=patches.shape[2:])

    def _examples(self) -> Tensor:
        """Return what the network sees of pictures that are no product's: (n, 3, s, s)."""
        pictures = example_pictures(self._size_px)
        same = torch.eye(self._size_px)
        with torch.inference_mode():
            frames = pictures.permute(0, 2, 3, 1).round().to(torch.uint8)
            return self.resized(frames, same, same, torch.eye(3))


class Apart:
    """Compares by `x . -2y`, whose factors are bytes, and adds `|y|^2`, which is none."""

    def __init__(self, bank: Tensor) -> None:
        self._rows, self._norms = bank[:, :-1], bank[:, -1:]

    def prepared(self, features: Tensor) -> Tensor:
        """See `Comparing`."""
        return features

    def nearest(self, prepared: Tensor, *, rows: int | None = None, blocks: int) -> Tensor:
        """See `Comparing`."""
        columns = (self._rows if rows is None else self._rows[:rows]).transpose(0, 1)
        norms = (self._norms if rows is None else self._norms[:rows]).transpose(0, 1)
        products = [block @ columns + norms for block in prepared.chunk(blocks, dim=1)]
        return torch.cat([product.amin(dim=2) for product in products], dim=1)
