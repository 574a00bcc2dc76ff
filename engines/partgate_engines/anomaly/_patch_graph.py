"""The graph, in torch: from frames as a camera gives them to a score and a map.

Imported only where a graph is exported, because torch and anomalib take ten seconds to import.
"""

import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch import Tensor, nn

from partgate_engines.anomaly._backbone import normalisation

_BLOCKS = 8


class PatchGraph(nn.Module):
    """From frames to score, map and features; everything a product adds is an input.

    Convention: n frames, h x w pixels, c channels, s the input size of the backbone, k rows in the
    memory bank, d features, gh x gw patches.

    Source: Roth et al. 2022 (PatchCore), arXiv 2106.08265, without the re-weighting of the score.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: PatchcoreModel, *, size_px: int, worst: int) -> None:
        super().__init__()
        self._model = model
        self._size_px = size_px
        self._worst = worst
        mean, deviation = normalisation(model.backbone)
        self.register_buffer("mean", 255 * torch.tensor(mean).reshape(1, 3, 1, 1))
        self.register_buffer("deviation", 255 * torch.tensor(deviation).reshape(1, 3, 1, 1))

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
            mask: (gh, gw) float32, 1 where a patch is judged.

        Returns:
            score (n,), anomaly map (n, gh, gw) and features (n, gh * gw, d), all float32.
        """
        patches = self._embed(self._resized(frames, rows, columns, channels))  # (n, d, gh, gw)
        features = patches.flatten(2).transpose(1, 2)  # (n, gh * gw, d)
        anomaly_map = _distances(features, bank).reshape(-1, *patches.shape[2:]) * mask  # (n, gh, gw)
        worst = torch.topk(anomaly_map.flatten(1), self._worst, dim=1).values  # (n, worst)
        return worst.mean(dim=1), anomaly_map, features

    def _resized(self, frames: Tensor, rows: Tensor, columns: Tensor, channels: Tensor) -> Tensor:
        # Cast first: the only thing TensorRT does with uint8.
        pixels = frames.to(torch.float32)  # (n, h, w, c)
        lines = rows @ pixels.flatten(2)  # (n, s, w * c)
        lines = lines.reshape(frames.shape[0], self._size_px, frames.shape[2], frames.shape[3])
        small = lines.permute(0, 1, 3, 2) @ columns  # (n, s, c, s)
        colours = (channels @ small).permute(0, 2, 1, 3)  # (n, 3, s, s)
        return (colours - self.mean) / self.deviation

    def _embed(self, pixels: Tensor) -> Tensor:
        layers = self._model.feature_extractor(pixels)
        pooled = {name: self._model.feature_pooler(layer) for name, layer in layers.items()}
        return self._model.generate_embedding(pooled)


def _distances(features: Tensor, bank: Tensor) -> Tensor:
    """Return each patch's distance to its nearest neighbour in the bank: (n, p)."""
    # |x - y|^2 = |x|^2 + [x, 1] . [-2y, |y|^2]: one product, and no n x k matrix is touched twice.
    ones = torch.ones_like(features[..., :1])
    augmented, columns = torch.cat((features, ones), dim=2), bank.transpose(0, 1)
    # In blocks of patches, so that a product is still in the cache when its least values are looked
    # for: with 20,000 rows the head took 28 ms instead of 61, with 2,048 4.1 instead of 4.9.
    blocks = [(block @ columns).amin(dim=2) for block in augmented.chunk(_BLOCKS, dim=1)]
    nearest = torch.cat(blocks, dim=1)  # (n, p)
    squared = (features * features).sum(dim=2) + nearest
    # abs, not clamp: rounding can make a zero slightly negative, and clamp turns NaN into 0 on x86.
    return squared.abs().sqrt()
