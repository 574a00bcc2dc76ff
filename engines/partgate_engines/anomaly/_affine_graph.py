"""The graph of the kinds without a memory bank, in torch: a network, then affine functions of what it says.

Imported only where a graph is exported or a network trained, because torch takes seconds to import.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch import Tensor, nn

from partgate_engines._manifest import Contrast
from partgate_engines.anomaly._frame_graph import FrameGraph, rooted

Head = Literal["everywhere", "by place", "weighed"]
"""What becomes of a patch x and the rows `[w, b]` of the bank: the length of all `w . x + b`, of those of
the patch's own place, or the one there is, where it is above zero."""


class AffineGraph(FrameGraph):
    """From frames to score, map and features; what a product adds are rows of affine functions.

    Convention: n frames, h x w pixels, c channels, s the input size of the network, k rows, d features,
    gh x gw patches.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        head: Head,
        size_px: int,
        worst: int,
        contrast: Contrast,
        normal: tuple[Sequence[float], Sequence[float]],
    ) -> None:
        """Take a network from (n, 3, s, s) to (n, d, gh, gw); `worst` patches make the score."""
        super().__init__(size_px=size_px, contrast=contrast, normal=normal)
        self.network = network
        self._head = head
        self._worst = worst

    def forward(  # noqa: PLR0917 - torch exports positional inputs, and these are the graph's
        self, frames: Tensor, rows: Tensor, columns: Tensor, channels: Tensor, bank: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Judge frames; the inputs and outputs are `PatchGraph`'s, but for the rows of the bank.

        Args:
            frames: (n, h, w, c) uint8.
            rows: (s, h) float32, resizes the rows.
            columns: (w, s) float32, resizes the columns.
            channels: (3, c) float32, makes red, green and blue of the camera's channels.
            bank: (k, d + 1) float32, rows `[w, b]`.
            mask: (n, gh, gw) float32, how many times what is found counts; 0 where it is not judged.
        """
        said = self.network(self.resized(frames, rows, columns, channels))  # (n, d, gh, gw)
        features = said.flatten(2).transpose(1, 2)  # (n, gh * gw, d)
        found = self._judged(torch.cat((features, torch.ones_like(features[..., :1])), dim=2), bank)
        judged = found * mask.flatten(1)  # (n, gh * gw)
        farthest = torch.topk(judged, self._worst, dim=1).values.mean(dim=1)
        # Whatever is not a number anywhere makes the score none: what a TopK does with NaN is not defined.
        doubt = (found - found).sum(dim=1)
        return farthest + doubt, judged.reshape(-1, *said.shape[2:]), features

    def _judged(self, augmented: Tensor, bank: Tensor) -> Tensor:
        """Return what the rows make of patches, (n, p, d + 1): (n, p), not negative."""
        if self._head == "by place":
            places = bank.reshape(augmented.shape[1], -1, bank.shape[1])  # (p, k / p, d + 1)
            made = (augmented.unsqueeze(2) * places).sum(dim=3)  # (n, p, k / p)
            return rooted((made * made).sum(dim=2))
        made = augmented @ bank.transpose(0, 1)  # (n, p, k)
        if self._head == "weighed":
            return made[..., 0].relu()
        return rooted((made * made).sum(dim=2))


class PatchFeatures(nn.Module):
    """The patch features of a backbone, as PatchCore takes them; fewer of them if that is asked for."""

    projection: Tensor

    def __init__(self, model: PatchcoreModel, *, contrast: Contrast, reduced: int | None = None) -> None:
        """Take a model; `reduced` features are random projections of all, at right angles.

        Source: Kim et al. 2021, Semi-orthogonal embedding for efficient unsupervised anomaly
        segmentation, arXiv 2105.14737: better than to choose some of them.
        """
        super().__init__()
        self._model = model
        self._reduced = reduced
        # Beyond the border lie no zeros where contrast is local: docs/decisions/0015.
        self._pooler = nn.AvgPool2d(3, 1, 1, count_include_pad=contrast != "local")
        if reduced is not None:
            every = sum(model.feature_extractor.out_dims)
            random = np.random.default_rng(0).standard_normal((every, min(reduced, every)))
            turned = np.linalg.qr(random)[0].T.astype(np.float32)
            self.register_buffer("projection", torch.from_numpy(turned.copy()))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (n, d, gh, gw) for (n, 3, s, s)."""
        layers = self._model.feature_extractor(pixels)
        patches = self._model.generate_embedding(
            {name: self._pooler(layer) for name, layer in layers.items()}
        )
        if self._reduced is None:
            return patches
        fewer = self.projection @ patches.flatten(2)  # (n, reduced, gh * gw)
        return fewer.reshape(-1, fewer.shape[1], *patches.shape[2:])
