"""STFPM in torch: a student that learned to see good parts as the backbone does, and nothing else."""

from functools import reduce
from operator import mul
from typing import cast

import torch
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from anomalib.models.image.stfpm.loss import STFPMLoss
from torch import Tensor
from torch.nn import functional

from partgate_engines.anomaly._backbone import fix_padding
from partgate_engines.anomaly.kinds._network import Batch, Optimiser, TrainedNetwork, upscaled

_RATE, _MOMENTUM, _DECAY = 0.4, 0.9, 1e-3


class Stfpm(TrainedNetwork):
    """Where student and backbone differ, something is in the image that good parts do not have.

    Source: Wang et al. 2021, Student-teacher feature pyramid matching for anomaly detection,
    arXiv 2103.04257, with anomalib's loss.
    """

    def __init__(self, model: PatchcoreModel, size_px: int) -> None:
        """Make a student like the backbone, with weights of its own."""
        super().__init__()
        self._teacher = model.feature_extractor
        self._student = TimmFeatureExtractor(
            backbone=model.backbone, layers=model.layers, pre_trained=False, requires_grad=True
        )
        fix_padding(self._student, size_px)
        self._difference = STFPMLoss()

    def forward(self, pixels: Tensor) -> Tensor:
        """Return one map: the geometric mean of what the layers say, (n, 1, gh, gw)."""
        seen, expected = self._teacher(pixels), self._student(pixels)
        maps = [_difference(seen[name], expected[name]) for name in seen]
        product = reduce(mul, upscaled(maps))
        return product.clamp(min=0).pow(1 / len(maps))

    def frozen(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's layers."""
        return tuple(self._teacher(pixels).values())

    def loss(self, batch: Batch) -> Tensor:
        """Return anomalib's loss for an image."""
        seen = dict(enumerate(batch.seen))
        made = dict(enumerate(self._student(batch.pixels).values()))
        return cast("Tensor", self._difference(seen, made)) / len(batch)

    def optimiser(self, steps: int) -> Optimiser:
        """Return SGD as anomalib has it, with a rate that rises and falls: a few hundred steps must do."""
        changing = torch.optim.SGD(
            self._student.parameters(), lr=_RATE, momentum=_MOMENTUM, weight_decay=_DECAY
        )
        return changing, torch.optim.lr_scheduler.OneCycleLR(changing, _RATE, total_steps=steps + 1)

    def train(self, mode: bool = True) -> "Stfpm":  # noqa: FBT001, FBT002 - as torch has it
        """Train the student only: what the backbone counts in its batches stays as it is."""
        super().train(mode)
        self._teacher.eval()
        return self


def _difference(seen: Tensor, expected: Tensor) -> Tensor:
    """Return half the squared distance of normalised features, (n, 1, h, w)."""
    apart = functional.normalize(seen) - functional.normalize(expected)
    return 0.5 * (apart * apart).sum(dim=1, keepdim=True)
