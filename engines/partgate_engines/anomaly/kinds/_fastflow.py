"""FastFlow in torch: how likely features are, by an invertible network that makes them normal."""

from collections.abc import Sequence
from typing import cast

import torch
from anomalib.models.image.fastflow.loss import FastflowLoss
from anomalib.models.image.fastflow.torch_model import create_fast_flow_block
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch import Tensor, nn

from partgate_engines.anomaly.kinds._network import Batch, Optimiser, TrainedNetwork, upscaled

_STEPS = 8  # of the flow, as anomalib has it
_RATE, _DECAY = 1e-3, 1e-5


class FastFlow(TrainedNetwork):
    """A flow for every layer of the backbone.

    Source: Yu et al. 2021, FastFlow, arXiv 2111.07677. The map is the negative logarithm of the density:
    anomalib's is 1 - density, which says the same of everything that is far off.
    """

    def __init__(self, model: PatchcoreModel, size_px: int) -> None:
        """Make flows for the sizes that the layers have."""
        super().__init__()
        self._seen = model.feature_extractor
        with torch.inference_mode():
            shapes = [
                tuple(layer.shape[1:]) for layer in self._seen(torch.zeros(1, 3, size_px, size_px)).values()
            ]
        self._norms = nn.ModuleList(nn.LayerNorm(shape) for shape in shapes)
        self._flows = nn.ModuleList(
            create_fast_flow_block(
                input_dimensions=list(shape), conv3x3_only=False, hidden_ratio=1.0, flow_steps=_STEPS
            )
            for shape in shapes
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Return one map, the mean of the layers': (n, 1, gh, gw)."""
        hidden, _ = self._hidden(self.frozen(pixels))
        maps = upscaled([0.5 * (one * one).mean(dim=1, keepdim=True) for one in hidden])
        return torch.stack(maps).mean(dim=0)

    def frozen(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's layers."""
        return tuple(self._seen(pixels).values())

    def loss(self, batch: Batch) -> Tensor:
        """Return the negative log-likelihood, per feature so that its size does not depend on the layers."""
        hidden, volumes = self._hidden(batch.seen)
        likelihood = cast("Tensor", FastflowLoss()(hidden, volumes))
        return likelihood / sum(one[0].numel() for one in hidden)

    def optimiser(self, steps: int) -> Optimiser:  # noqa: ARG002 - the rate stays as it is
        """Return Adam, as anomalib has it."""
        changing = [*self._norms.parameters(), *self._flows.parameters()]
        return torch.optim.Adam(changing, lr=_RATE, weight_decay=_DECAY), None

    def train(self, mode: bool = True) -> "FastFlow":  # noqa: FBT001, FBT002 - as torch has it
        """Train the flows only."""
        super().train(mode)
        self._seen.eval()
        return self

    def _hidden(self, layers: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        parts = zip(self._flows, self._norms, layers, strict=True)
        found = [flow(norm(layer)) for flow, norm, layer in parts]
        return [hidden for hidden, _ in found], [volume for _, volume in found]
