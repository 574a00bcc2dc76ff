"""Reverse distillation in torch: a decoder that can only make again what good parts look like."""

from collections.abc import Sequence
from typing import cast

import torch
from anomalib.models.components.backbone import get_decoder
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from anomalib.models.image.reverse_distillation.components import get_bottleneck_layer
from anomalib.models.image.reverse_distillation.loss import ReverseDistillationLoss
from torch import Tensor
from torch.nn import functional

from partgate_engines.anomaly.kinds._network import Batch, Optimiser, TrainedNetwork, upscaled

_RATE, _BETAS = 0.005, (0.5, 0.99)


class ReverseDistillation(TrainedNetwork):
    """What the decoder makes of the bottleneck's few features is compared with the backbone's layers.

    Source: Deng and Li 2022, Anomaly detection via reverse distillation from one-class embedding,
    arXiv 2201.10703, with anomalib's modules and loss.
    """

    def __init__(self, model: PatchcoreModel) -> None:
        """Make a bottleneck and a decoder for a ResNet of three layers."""
        super().__init__()
        self._seen = model.feature_extractor
        self._bottleneck = get_bottleneck_layer(model.backbone)
        self._decoder = get_decoder(model.backbone)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return one map, the sum of what the layers differ by: (n, 1, gh, gw)."""
        pairs = zip(*self._pairs(self.frozen(pixels)), strict=True)
        maps = [(1 - functional.cosine_similarity(seen, made)).unsqueeze(1) for seen, made in pairs]
        return torch.stack(upscaled(maps)).sum(dim=0).clamp(min=0)

    def frozen(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's layers."""
        return tuple(self._seen(pixels).values())

    def loss(self, batch: Batch) -> Tensor:
        """Return anomalib's loss."""
        return cast("Tensor", ReverseDistillationLoss()(*self._pairs(batch.seen)))

    def optimiser(self, steps: int) -> Optimiser:  # noqa: ARG002 - the rate stays as it is
        """Return Adam, as anomalib has it."""
        changing = [*self._decoder.parameters(), *self._bottleneck.parameters()]
        return torch.optim.Adam(changing, lr=_RATE, betas=_BETAS), None

    def train(self, mode: bool = True) -> "ReverseDistillation":  # noqa: FBT001, FBT002 - as torch has it
        """Train bottleneck and decoder only."""
        super().train(mode)
        self._seen.eval()
        return self

    def _pairs(self, layers: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        seen = list(layers)
        return seen, self._decoder(self._bottleneck(seen))
