"""The graph, in torch: from frames as a camera gives them to a score and a map.

Imported only where a graph is exported, because torch and anomalib take ten seconds to import.
"""

import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch import Tensor, nn

from partgate_engines._manifest import Contrast
from partgate_engines.anomaly._backbone import normalisation
from partgate_engines.anomaly._frame_graph import FrameGraph, rooted

_BLOCKS = 8
_SUSPECT_BLOCKS = 2
_COARSE_ROWS = 512  # of the bank, the first: what a score's first look compares with
_ONE_SUSPECT_IN = 8  # patches is looked at twice
_MOST_SUSPECTS = 3840  # TensorRT's TopK takes no more


class PatchGraph(FrameGraph):
    """From frames to score, map and features; everything a product adds is an input.

    Convention: n frames, h x w pixels, c channels, s the input size of the backbone, k rows in the
    memory bank, d features, gh x gw patches.

    Source: Roth et al. 2022 (PatchCore), arXiv 2106.08265, without the re-weighting of the score.
    """

    def __init__(self, model: PatchcoreModel, *, size_px: int, worst: int, contrast: Contrast) -> None:
        super().__init__(size_px=size_px, contrast=contrast, normal=normalisation(model.backbone))
        self._model = model
        self._worst = worst
        if contrast == "local":
            # anomalib's counts the zeros beyond the border, which makes all that lies there look alike:
            # with local contrast that lost 0.065 AUROC on the magnetic tiles (0.847 against 0.781).
            self._pooler = nn.AvgPool2d(3, 1, 1, count_include_pad=False)

    def forward(  # noqa: PLR0917 - torch exports positional inputs, and these are the graph's
        self, frames: Tensor, rows: Tensor, columns: Tensor, channels: Tensor, bank: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Judge frames.

        Args:
            frames: (n, h, w, c) uint8.
            rows: (s, h) float32, resizes the rows.
            columns: (w, s) float32, resizes the columns.
            channels: (3, c) float32, makes red, green and blue of the camera's channels.
            bank: (k, d + 1) float32, rows `[-2y, |y|^2]`.
            mask: (n, gh, gw) float32, how many times a patch's distance counts; 0 where it is not judged.

        Returns:
            score (n,), anomaly map (n, gh, gw) and features (n, gh * gw, d), all float32.
        """
        return self.compared(self._embed(self.resized(frames, rows, columns, channels)), bank, mask)

    def compared(self, patches: Tensor, bank: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return score, anomaly map and features of patches, (n, d, gh, gw)."""
        features = patches.flatten(2).transpose(1, 2)  # (n, gh * gw, d)
        anomaly_map = _distances(features, bank).reshape(-1, *patches.shape[2:]) * mask  # (n, gh, gw)
        score = _worst_distances(features, bank, mask, self._worst).mean(dim=1)  # (n,)
        return score, anomaly_map, features

    def _embed(self, pixels: Tensor) -> Tensor:
        layers = self._model.feature_extractor(pixels)
        pooler = self._pooler if self._contrast == "local" else self._model.feature_pooler
        pooled = {name: pooler(layer) for name, layer in layers.items()}
        return self._model.generate_embedding(pooled)


def _distances(features: Tensor, bank: Tensor) -> Tensor:
    """Return each patch's distance to its nearest neighbour in the bank: (n, p)."""
    return rooted(_squares(features) + _nearest(_augmented(features), bank, blocks=_BLOCKS))


def _worst_distances(features: Tensor, bank: Tensor, mask: Tensor, worst: int) -> Tensor:
    """Return the distances of the patches that are farthest from the bank: (n, worst).

    Greedy selection puts the rows that cover the most first, so the distance to the first few of them
    is a bound from above that is nearly as good; only the patches with the highest bounds are compared
    with all rows. A patch that is left out is nearer to the bank than its bound, so what is missed is
    never far away: on 250 magnetic tiles the rank correlation with the exact score was 0.9999 (0.9998
    with 8,000 rows). 20,000 rows cost 1.57 times what 2,000 do (`make bench`, idle).
    """
    augmented, squares, weights = _augmented(features), _squares(features), mask.flatten(-2)
    # Weighed twice, as the bounds are squares: weighed once, a noisy region that counts a third would still
    # take the looks of a quiet one whose patches stand out more.
    bounds = (squares + _nearest(augmented, bank[:_COARSE_ROWS], blocks=_BLOCKS)).abs() * weights * weights
    suspects = max(worst, bounds.shape[1] // _ONE_SUSPECT_IN)
    where = torch.topk(bounds, min(suspects, _MOST_SUSPECTS), dim=1).indices  # (n, suspects)
    chosen = _taken(augmented, where)
    refined = _taken(squares, where) + _nearest(chosen, bank, blocks=_SUSPECT_BLOCKS)
    judged = _taken(weights, where)
    # Whatever is not a number anywhere makes the score none: what a TopK does with NaN is not defined.
    # Added one after the other: TensorRT-RTX 1.7.1 builds no sum of the two where the batch is free.
    farthest = torch.topk(rooted(refined) * judged, worst, dim=1).values
    doubts = [(values - values).sum(dim=1, keepdim=True) for values in (bounds, refined)]  # (n, 1)
    return farthest + doubts[0] + doubts[1]


def _taken(values: Tensor, where: Tensor) -> Tensor:
    """Return `values[i, where[i]]` for every i: (n, m, ...)."""
    # By whole rows of all frames together: an element-wise gather needs an index for every feature.
    first = torch.arange(values.shape[0], device=values.device).unsqueeze(1) * values.shape[1]
    return values.flatten(0, 1)[where + first]


def _augmented(features: Tensor) -> Tensor:
    return torch.cat((features, torch.ones_like(features[..., :1])), dim=2)


def _squares(features: Tensor) -> Tensor:
    return (features * features).sum(dim=2)


def _nearest(augmented: Tensor, bank: Tensor, *, blocks: int) -> Tensor:
    """Return the least of `|y|^2 - 2 x.y` over the rows y of the bank, for every patch x: (n, p)."""
    # |x - y|^2 = |x|^2 + [x, 1] . [-2y, |y|^2]: one product, and no n x k matrix is touched twice.
    # In blocks of patches, so that a product is still in the cache when its least values are looked
    # for: with 20,000 rows the head took 28 ms instead of 61, with 2,048 4.1 instead of 4.9.
    columns = bank.transpose(0, 1)
    return torch.cat([(block @ columns).amin(dim=2) for block in augmented.chunk(blocks, dim=1)], dim=1)
