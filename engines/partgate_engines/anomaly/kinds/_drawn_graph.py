"""The graph of a memory bank and a head that was taught on drawn defects, in torch."""

from collections.abc import Sequence
from typing import Any

import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch import Tensor, nn
from torch.nn import functional

from partgate_engines._tiles import Grid
from partgate_engines.anomaly._export import scored_patches
from partgate_engines.anomaly._patch_graph import PatchGraph

BANK_SHARE, HEAD_SHARE = 0.02, 0.01
"""Of the patches, the worst, over which the bank's and the head's part of the score are means; in tiles the
head's is its worst patch alone (docs/decisions/0028)."""

USUAL = 10.0
"""What the bank says of the worst patches of a good part that it does not hold."""

_BANK_LEAST = 0.5
"""What the map says at least of the bank's distance, where 10 is usual. A patch that the bank holds is away
from it by the root of a rounding error, up to a thousandth of the scale; added to the head's part it would
count as a difference between two runtimes, which nobody could see."""

_HEAD_LEAST = 6.0  # logits below -6 say no more than -6: so maps and scores are never below zero
_FIRST, _LAST = 2, 6  # blocks whose features are looked at
_WIDTH = 48

Layers = tuple[Tensor, Tensor, Tensor]
"""What the head sees: (n, 80, g, g) of fine features' mean and highest, (n, 192, g, g) of middle ones and
(n, 512, g / 2, g / 2) of coarse ones."""


class Backbone(nn.Module):
    """EfficientNet-Lite0 as far as its sixth block; timm's feature extractor has no blocks in between."""

    def __init__(self, model: PatchcoreModel) -> None:
        """Take the backbone of anomalib's PatchCore, its last layer `blocks.6`."""
        super().__init__()
        backbone: Any = model.feature_extractor.feature_extractor
        self._stem = nn.Sequential(backbone.conv_stem, backbone.bn1)
        self._blocks = backbone.blocks
        self._pooler = nn.AvgPool2d(3, 1, 1, count_include_pad=False)  # as local contrast has it

    def forward(self, pixels: Tensor) -> tuple[Tensor, Layers]:
        """Return what the bank compares, (n, 624, g, g), and what the head sees, for (n, 3, s, s)."""
        found, features = self._stem(pixels), []
        for number, block in enumerate(self._blocks):
            found = block(found)
            if number >= _FIRST:
                features.append(found)
        fine, third, fourth, fifth, sixth = features
        coarse = torch.cat((fifth, sixth), dim=1)
        patches = torch.cat((self._pooler(fourth), _doubled(self._pooler(coarse))), dim=1)
        pooled = functional.avg_pool2d(fine, 2), functional.max_pool2d(fine, 2)
        return patches, (torch.cat(pooled, dim=1), torch.cat((third, fourth), dim=1), coarse)


class Head(nn.Module):
    """44,000 weights that say of every patch whether it is spoilt."""

    def __init__(self, channels: Sequence[int]) -> None:
        """Make an untrained one for what it sees."""
        super().__init__()
        self._entries = nn.ModuleList(nn.Conv2d(count, _WIDTH, 1) for count in channels)
        self._around = nn.ModuleList(nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, groups=_WIDTH) for _ in range(2))
        self._mixed = nn.ModuleList(nn.Conv2d(_WIDTH, _WIDTH, 1) for _ in range(2))
        self._said = nn.Conv2d(_WIDTH, 1, 1)

    def forward(self, seen: Layers) -> Tensor:
        """Return logits, (n, g, g), for features of deviation 1."""
        fine, middle, coarse = (entry(layer) for entry, layer in zip(self._entries, seen, strict=True))
        found = functional.relu(fine + middle + _doubled(coarse))
        for around, mixed in zip(self._around, self._mixed, strict=True):
            found = found + functional.relu(mixed(around(found)))
        said: Tensor = self._said(found)
        return said[:, 0]


class Scaling(nn.Module):
    """Brings the channels of what the head sees to mean 0 and deviation 1 over good parts."""

    def __init__(self, good: Layers) -> None:
        """Measure some good pictures."""
        super().__init__()
        self._means = nn.ParameterList(layer.mean(dim=(0, 2, 3), keepdim=True) for layer in good)
        self._spreads = nn.ParameterList(layer.std(dim=(0, 2, 3), keepdim=True) + 1e-3 for layer in good)
        self.requires_grad_(requires_grad=False)

    def forward(self, seen: Layers) -> Layers:
        """Return them scaled."""
        fine, middle, coarse = (
            (layer - mean) / spread
            for layer, mean, spread in zip(seen, self._means, self._spreads, strict=True)
        )
        return fine, middle, coarse


class DrawnGraph(PatchGraph):
    """The sum of the distance to the memory bank, in tenths of the usual one, and the head's logit.

    Both parts are means over their own worst patches; the map is the sum of both at every patch, where a
    distance below `_BANK_LEAST` counts as that.
    """

    def __init__(self, model: PatchcoreModel, *, size_px: int, grid: Grid, tiled: bool) -> None:
        """Prepare for one input size; scale, scaling and head come when they are known."""
        super().__init__(model, size_px=size_px, worst=scored_patches(BANK_SHARE, grid), contrast="local")
        self.backbone = Backbone(model)
        self._head_worst = 1 if tiled else scored_patches(HEAD_SHARE, grid)
        self._scale = self._weight = 1.0
        self._scaling: nn.Module = nn.Identity()
        self._head: nn.Module = nn.Identity()

    def taught(self, *, scale: float, weight: float, scaling: Scaling, head: Head) -> "DrawnGraph":
        """Take what was learned of a product.

        Args:
            scale: of features, and so of distances.
            weight: of the head's part of the score; the bank's is 1.
            scaling: of what the head sees.
            head: trained.
        """
        self._scale, self._weight, self._scaling, self._head = scale, weight, scaling, head
        return self.eval()

    def forward(  # noqa: PLR0917 - torch exports positional inputs, and these are the graph's
        self, frames: Tensor, rows: Tensor, columns: Tensor, channels: Tensor, bank: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Judge frames; the inputs and outputs are `PatchGraph`'s."""
        patches, seen = self.backbone(self.resized(frames, rows, columns, channels))
        far, far_map, features = self.compared(self._scale * patches, bank, mask)
        logits = self._head(self._scaling(seen))
        said = self._weight * (logits + _HEAD_LEAST).relu()  # (n, gh, gw)
        spoilt = said * mask
        worst = torch.topk(spoilt.flatten(1), self._head_worst, dim=1).values.mean(dim=1)
        # Whatever is not a number anywhere makes the score none: what a TopK does with NaN is not defined.
        doubt = (said - said).sum(dim=(1, 2))
        # By a sum, not by the larger of the two: of what is not a number runtimes take the other.
        lifted = far_map + (_BANK_LEAST * mask - far_map).relu()
        return far + worst + doubt, lifted + spoilt, features


def _doubled(layer: Tensor) -> Tensor:
    """Return a layer at twice its height and width."""
    return functional.interpolate(layer, scale_factor=2, mode="bilinear", align_corners=False)
