"""A backbone whose convolutions compute in whole numbers of eight bits.

Imported only where a graph is exported, because torch takes seconds to import.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_weights

from partgate_engines.anomaly._shapes import clouds

Range = tuple[float, float]

_SIGNED, _UNSIGNED = (-128, 127), (0, 255)
_PICTURES = 24
_AT_ONCE = 4
_SPOTS_PX = (2.0, 6.0, 20.0, 64.0)
_TINY = 1e-8


def quantise(extractor: nn.Module, pixels: Tensor, seen: Callable[[Tensor], Tensor]) -> float:
    """Have a network's convolutions compute in eight bits, and return the step of its features.

    Weights are multiples of a step of their own for each channel that they make, what goes into a
    convolution is multiples of one step: of 256 values from 0 on where nothing is negative, else of 255
    on both sides. For the first one, which sees the frame, that is 1.2 grey levels, less than a camera's
    noise. What lies between convolutions stays float32.

    Args:
        extractor: changed in place; its batch norms become part of its convolutions.
        pixels: (n, 3, s, s) float32, normalised: steps are made for what the network says of these.
        seen: makes features of pixels, by the extractor.

    Returns:
        By what features are to be multiples of, that all seen here lie within 127 steps of 0.
    """
    _fold_norms(extractor, pixels[:1])
    convolutions = {
        name: module for name, module in extractor.named_modules() if isinstance(module, nn.Conv2d)
    }
    ranges = dict.fromkeys(convolutions, (0.0, 0.0))
    watches = [
        module.register_forward_pre_hook(_watching(ranges, name)) for name, module in convolutions.items()
    ]
    with torch.inference_mode():
        largest = max(float(seen(some).abs().max()) for some in torch.split(pixels, _AT_ONCE))
    for watch in watches:
        watch.remove()
    for name, module in convolutions.items():
        extractor.set_submodule(name, _Quantised(module, ranges[name]))
    return largest / _SIGNED[1]


def in_steps(values: Tensor, step: float) -> Tensor:
    """Return the nearest multiples of a step, at most 128 of them below 0 and 127 above."""
    return torch.fake_quantize_per_tensor_affine(values, step, 0, *_SIGNED)


def example_pictures(size_px: int) -> Tensor:
    """Draw what ranges are taken from: (24, 3, s, s) float32 of 0..255, the same ones every time.

    Of no product, so that all share a graph: clouds of spots from 2 px to a quarter of the picture, faint
    and strong, grey and coloured, some with stripes.
    """
    random = np.random.default_rng(0)
    pictures = np.stack([_picture(random, number, size_px) for number in range(_PICTURES)])
    return torch.from_numpy(np.clip(pictures, 0, 255).astype(np.float32)).permute(0, 3, 1, 2)


def _picture(
    random: np.random.Generator, number: int, size_px: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    shape = (size_px, size_px)
    contrast = random.uniform(5, 60)
    colours = np.ones(3) if number % 2 else random.uniform(0.3, 1, 3)
    picture = np.full(shape, random.uniform(40, 215), dtype=np.float64)
    for spots_px in _SPOTS_PX:
        picture += contrast * random.uniform(0, 1) * clouds(random, shape, spots_px)
    if number % 3 == 0:
        picture += contrast * _stripes(random, size_px)
    middle = picture.mean()
    return np.asarray(middle + (picture - middle)[:, :, None] * colours)


def _stripes(random: np.random.Generator, size_px: int) -> NDArray[np.float64]:
    y, x = np.mgrid[:size_px, :size_px]
    angle, period_px = random.uniform(0, np.pi), random.uniform(3, 40)
    across = np.cos(angle) * x + np.sin(angle) * y
    return np.asarray(np.sign(np.sin(2 * np.pi * across / period_px)))


def _watching(ranges: dict[str, Range], name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """Return a hook that widens a convolution's range by what goes into it."""

    def widen(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
        low, high = ranges[name]
        ranges[name] = (min(low, float(given[0].min())), max(high, float(given[0].max())))

    return widen


class _InSteps(nn.Module):
    """Weights, each channel's multiples of its own step."""

    steps: Tensor
    zeros: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        largest = weight.detach().abs().amax(dim=(1, 2, 3)).clamp(min=_TINY)
        self.register_buffer("steps", largest / _SIGNED[1])
        self.register_buffer("zeros", torch.zeros(len(weight), dtype=torch.int32))

    def forward(self, weight: Tensor) -> Tensor:
        return torch.fake_quantize_per_channel_affine(weight, self.steps, self.zeros, 0, *_SIGNED)


class _Quantised(nn.Module):
    """A convolution of multiples of a step."""

    def __init__(self, convolution: nn.Conv2d, found: Range) -> None:
        super().__init__()
        low, high = found
        self._limits = _SIGNED if low < 0 else _UNSIGNED
        self._step = max(-low, high, _TINY) / self._limits[1]
        self.convolution = convolution
        parametrize.register_parametrization(convolution, "weight", _InSteps(convolution.weight))

    def forward(self, seen: Tensor) -> Tensor:
        # Before the convolution, which may pad: a Pad after the step would be an operator of its own, on
        # bytes that OpenVINO made floats again (3.6 of EfficientNet-Lite0's 29 ms).
        made: Tensor = self.convolution(
            torch.fake_quantize_per_tensor_affine(seen, self._step, 0, *self._limits)
        )
        return made


def _fold_norms(network: nn.Module, pixels: Tensor) -> None:
    """Make every batch norm that follows a convolution a part of it: a step then is of what is left.

    Raises:
        TypeError: a norm keeps no statistics.
    """
    for before, after in _followers(network, pixels):
        convolution, norm = network.get_submodule(before), network.get_submodule(after)
        if not isinstance(convolution, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
            raise TypeError(f"{before}, {after}: expected a convolution and a batch norm")
        if norm.running_mean is None or norm.running_var is None:
            raise TypeError(f"{after}: a batch norm that keeps no statistics")
        convolution.weight, convolution.bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps,
            norm.weight, norm.bias,
        )  # fmt: skip
        # timm's norms activate as well.
        rest = [part for name in ("drop", "act") if isinstance(part := getattr(norm, name, None), nn.Module)]
        network.set_submodule(after, nn.Sequential(*rest))


def _followers(network: nn.Module, pixels: Tensor) -> list[tuple[str, str]]:
    """Return the names of every convolution and batch norm that takes the very tensor that it made."""
    calls: list[tuple[str, Tensor]] = []
    pairs: list[tuple[str, str]] = []

    def made(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _module, _given, found: calls.append((name, found))

    def taken(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _module, given: pairs.extend((who, name) for who, found in calls if found is given[0])

    watches = [
        module.register_forward_hook(made(name))
        if isinstance(module, nn.Conv2d)
        else module.register_forward_pre_hook(taken(name))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    ]
    with torch.inference_mode():
        network(pixels)
    for watch in watches:
        watch.remove()
    return pairs
