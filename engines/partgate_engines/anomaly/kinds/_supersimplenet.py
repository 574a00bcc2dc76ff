"""SuperSimpleNet in torch: a small head that tells good features from spoilt ones, and from real defects."""

from typing import cast

import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from anomalib.models.image.supersimplenet.anomaly_generator import AnomalyGenerator
from anomalib.models.image.supersimplenet.loss import SSNLoss
from anomalib.models.image.supersimplenet.torch_model import FeatureAdapter, SegmentationDetectionModule
from torch import Tensor
from torch.nn import functional

from partgate_engines._manifest import Contrast
from partgate_engines.anomaly._affine_graph import PatchFeatures
from partgate_engines.anomaly.kinds._network import Batch, Optimiser, TrainedNetwork

# Of the features' own deviation. anomalib's 0.015 is in the units of WideResNet50's features.
_NOISE = 0.5
_LEAST_DEVIATION = 0.1  # of the features' mean deviation
_PERLIN_THRESHOLD = 0.2
_LEAST_CELLS = 32  # anomalib's Perlin noise has no grid for 8
_LEAST_COVERED = 0.25  # of a pixel of the mask, for a patch to count as defective
# Ten times anomalib's rates, which are for thousands of steps: after 150 of these steps its loss was 1.01 of
# the 1.28 it began with, and the map said nothing (AUROC 0.58 on the magnetic tiles).
_ADAPTOR_RATE, _HEAD_RATE, _HEAD_DECAY = 1e-3, 2e-3, 1e-5
_DROPS_AT, _DROP = (0.8, 0.9), 0.4


class _Spoiling(AnomalyGenerator):
    """anomalib's noise in Perlin's shapes; those of fewer than 32 cells are made larger and thinned out."""

    def generate_perlin(self, batches: int, height: int, width: int) -> Tensor:
        """Return where noise is put, (batches, 1, height, width) of 0 and 1."""
        made = super().generate_perlin(batches, max(height, _LEAST_CELLS), max(width, _LEAST_CELLS))
        return functional.interpolate(made.to(torch.float32), size=(height, width), mode="nearest")


class SuperSimpleNet(TrainedNetwork):
    """Learns from good images and noise in their features; from real defects with masks if there are any.

    Its head for whole images is left out: it knows no regions, and the score is made of the map. Features
    stay at the backbone's grid, which takes a quarter of the time of twice the grid.

    Source: Rolih et al. 2024, SuperSimpleNet, arXiv 2408.03143, with anomalib's modules and loss.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: PatchcoreModel, contrast: Contrast) -> None:
        """Make an adaptor and a head for the backbone's features."""
        super().__init__()
        self._features = PatchFeatures(model, contrast=contrast)
        channels = sum(model.feature_extractor.out_dims)
        self._adaptor = FeatureAdapter(channels)
        self._head = SegmentationDetectionModule(channel_dim=channels, stop_grad=True).seg_head
        self._spoil = _Spoiling(noise_mean=0, noise_std=_NOISE, threshold=_PERLIN_THRESHOLD)
        self._loss = SSNLoss()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1))

    def begin(self, some: Batch) -> None:
        """Bring the features to one scale: noise of one size then spoils all of them alike."""
        (seen,) = some.seen
        self.mean.copy_(seen.mean(dim=(0, 2, 3))[None, :, None, None])
        deviation = seen.std(dim=(0, 2, 3))
        # A feature that hardly differs would be blown up, and its rounding with it.
        least = _LEAST_DEVIATION * float(deviation.mean())
        self.deviation.copy_(deviation.clamp(min=max(least, 1e-6))[None, :, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        """Return one map, (n, 1, gh, gw): the head's answer, bent so that it is never below zero."""
        said: Tensor = self._head(self._adaptor(self._scaled(*self.frozen(pixels))))
        # Not softplus: of what is far below zero it makes an exponential, whose share of rounding is large
        # (0.0016 of the map's largest value between two runtimes, on noise).
        return said.relu() + 1 / (1 + (-said).relu())

    def frozen(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's patch features."""
        return (self._features(pixels),)

    def loss(self, batch: Batch) -> Tensor:
        """Return anomalib's loss of the map."""
        seen = self._scaled(*batch.seen)
        adapted = self._adaptor(seen)
        marked = functional.adaptive_max_pool2d(batch.defects, seen.shape[2:])
        marked = (marked >= _LEAST_COVERED).to(torch.float32)
        labels = marked.flatten(1).amax(dim=1)
        _, spoilt, masks, _ = self._spoil(None, adapted, marked, labels)
        said = self._head(spoilt)
        return cast("Tensor", self._loss.focal_loss(said, masks) + self._loss.trunc_l1_loss(said, masks))

    def optimiser(self, steps: int) -> Optimiser:
        """Return AdamW, whose rates drop where anomalib has them drop."""
        changing = torch.optim.AdamW(
            [
                {"params": self._adaptor.parameters(), "lr": _ADAPTOR_RATE},
                {"params": self._head.parameters(), "lr": _HEAD_RATE, "weight_decay": _HEAD_DECAY},
            ]
        )
        drops = [max(int(share * steps), 1) for share in _DROPS_AT]
        return changing, torch.optim.lr_scheduler.MultiStepLR(changing, drops, gamma=_DROP)

    def train(self, mode: bool = True) -> "SuperSimpleNet":  # noqa: FBT001, FBT002 - as torch has it
        """Train adaptor and head only."""
        super().train(mode)
        self._features.eval()
        return self

    def _scaled(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation
