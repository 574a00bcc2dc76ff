"""What every graph begins with, in torch: from frames as a camera gives them to what a network takes.

Imported only where a graph is exported or a network trained, because torch takes seconds to import.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from partgate_engines._manifest import Contrast
from partgate_engines.anomaly._contrast import down_matrix, up_matrix

_FAINT_LEVELS = 2.0  # grey levels of deviation, about a camera's noise: what is flat stays flat
_MOST_DEVIATIONS = 4.0  # a pixel far off its surroundings counts for no more
_LEVELS = 48.0  # grey levels that one local deviation is worth to the backbone


class FrameGraph(nn.Module):
    """Resizes frames, makes red, green and blue of them, and normalises.

    Convention: n frames, h x w pixels, c channels, s the input size of the network.
    """

    mean: Tensor
    deviation: Tensor
    down: Tensor
    up: Tensor

    def __init__(
        self, *, size_px: int, contrast: Contrast, normal: tuple[Sequence[float], Sequence[float]]
    ) -> None:
        """Prepare for one input size.

        Args:
            size_px: s.
            contrast: what the network sees.
            normal: the mean and the deviation of the pixels it was trained on, of 0..1.
        """
        super().__init__()
        self._size_px = size_px
        self._contrast = contrast
        mean, deviation = normal
        self.register_buffer("mean", 255 * torch.tensor(mean).reshape(1, 3, 1, 1))
        self.register_buffer("deviation", 255 * torch.tensor(deviation).reshape(1, 3, 1, 1))
        if contrast == "local":
            self.register_buffer("down", torch.from_numpy(down_matrix(size_px)))
            self.register_buffer("up", torch.from_numpy(up_matrix(size_px)))

    def resized(self, frames: Tensor, rows: Tensor, columns: Tensor, channels: Tensor) -> Tensor:
        """Return what the network sees.

        Args:
            frames: (n, h, w, c) uint8.
            rows: (s, h) float32, resizes the rows.
            columns: (w, s) float32, resizes the columns.
            channels: (3, c) float32, makes red, green and blue of the camera's channels.

        Returns:
            (n, 3, s, s) float32.
        """
        # Every step is one product of two matrices: with a product for each line and each pixel the resize of
        # a grey frame took 1.3 times as long.
        count, _, width_px, depth = frames.shape
        # Cast first: the only thing TensorRT does with uint8.
        pixels = frames.to(torch.float32)  # (n, h, w, c)
        lines = rows @ pixels.flatten(2)  # (n, s, w * c)
        upright = lines.reshape(count, self._size_px, width_px, depth).permute(0, 3, 1, 2)  # (n, c, s, w)
        small = upright.flatten(1, 2) @ columns  # (n, c * s, s)
        small = small.reshape(count, depth, self._size_px, self._size_px)
        if self._contrast == "local":
            small = self._local(small)
        colours = (channels @ small.flatten(2)).reshape(count, 3, self._size_px, self._size_px)
        if self._contrast == "local":
            return colours / self.deviation
        return (colours - self.mean) / self.deviation

    def _local(self, pixels: Tensor) -> Tensor:
        """Return by how many local deviations each pixel differs from the local mean, in grey levels.

        Of the camera's channels, so that a grey frame costs a third. Every channel has its own mean,
        and all have one deviation: a channel in which nothing happens is not blown up to noise, and
        what differs in colour from its surroundings keeps that colour.
        """
        own = pixels - self._around(pixels)  # (n, c, s, s)
        around = self._around((own * own).mean(dim=1, keepdim=True))  # (n, 1, s, s)
        deviations = own / (rooted(around) + _FAINT_LEVELS)
        return _LEVELS * deviations.clamp(-_MOST_DEVIATIONS, _MOST_DEVIATIONS)

    def _around(self, pixels: Tensor) -> Tensor:
        """Return the local means of (n, c, s, s)."""
        cells = self.down @ pixels @ self.down.transpose(0, 1)  # (n, c, 32, 32)
        return self.up @ cells @ self.up.transpose(0, 1)


def rooted(squared: Tensor) -> Tensor:
    """Return the square root of what is no less than zero but for rounding."""
    # abs, not clamp: rounding can make a zero slightly negative, and clamp turns NaN into 0 on x86.
    return squared.abs().sqrt()
