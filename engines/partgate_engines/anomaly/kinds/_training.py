"""Training a network on good images, in torch: a plain loop, no files but the graph at the end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partgate_engines._errors import GraphRefused
from partgate_engines._manifest import Tiling
from partgate_engines._placement import Placement, place
from partgate_engines._tiles import Grid
from partgate_engines.anomaly._frame_graph import FrameGraph
from partgate_engines.anomaly._images import DefectImage, GoodImage, checked
from partgate_engines.anomaly._settings import Progress
from partgate_engines.anomaly.kinds._network import Batch, TrainedNetwork
from partgate_station import Region

BATCH = 8
_SHOWN = 32  # images that a network sees before its first step
_MOST_KEPT = 512 * 2**20  # bytes of resized images; others are read again
_READOUT = 0.995  # of good patches lie below 1 in the map
_DEFECTS_SHARE = 0.5  # of a batch, where there are any


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How images become what a network sees."""

    frames: FrameGraph
    network: TrainedNetwork
    size_px: int
    grid: Grid
    tiling: Tiling | None
    regions: tuple[Region, ...]

    def tiles(self, image: GoodImage | DefectImage) -> Batch:
        """Return the tiles of an image, and what the frozen part of the network makes of them."""
        pixels = checked(GoodImage(pixels=image.pixels, origin=image.origin))
        placement = place(
            height_px=pixels.shape[0],
            width_px=pixels.shape[1],
            regions=self.regions,
            size_px=self.size_px,
            grid=self.grid,
            tiling=self.tiling,
        )
        resized = self._resized(pixels, placement)
        marked = torch.zeros_like(resized[:, :1])
        if isinstance(image, DefectImage):
            marked = _marked(image.mask, placement)
        with torch.no_grad():
            few_by_few = torch.split(resized, BATCH)  # of 5 Mpx there are 99 tiles
            seen = [self.network.frozen(few) for few in few_by_few]
        layers = tuple(torch.cat(parts) for parts in zip(*seen, strict=True))
        return Batch(pixels=resized, seen=layers, defects=marked)

    def _resized(self, pixels: NDArray[np.uint8], placement: Placement) -> Tensor:
        channels = torch.eye(3) if pixels.shape[2] == 3 else torch.ones(3, 1)  # noqa: PLR2004 - colours
        with torch.no_grad():
            return self.frames.resized(
                torch.from_numpy(np.array(placement.cut(pixels))),
                torch.from_numpy(np.array(placement.rows)),
                torch.from_numpy(np.array(placement.columns)),
                channels,
            )


def _marked(mask: NDArray[np.bool_], placement: Placement) -> Tensor:
    """Return the share of every pixel that is marked: (t, 1, s, s) float32."""
    levels = placement.cut(np.where(mask, 255, 0).astype(np.uint8)[:, :, None])[..., 0] / np.float32(255)
    shares = placement.rows @ levels @ placement.columns
    return torch.from_numpy(np.ascontiguousarray(shares, dtype=np.float32))[:, None]


@dataclass(slots=True, kw_only=True)
class Tiles:
    """The tiles of images; as many are kept as fit into the memory for it, the others are read again."""

    images: Sequence[GoodImage | DefectImage]
    view: View
    _kept: dict[int, Batch] = field(default_factory=dict)
    _bytes: int = 0

    def of(self, position: int) -> Batch:
        """Return the tiles of an image."""
        found = self._kept.get(position)
        if found is None:
            found = self.view.tiles(self.images[position])
            if self._bytes + found.nbytes <= _MOST_KEPT:
                self._kept[position] = found
                self._bytes += found.nbytes
        return found

    def drawn(self, random: np.random.Generator) -> Iterator[Batch]:
        """Draw tiles for ever, one of every image in turn, in another order each time."""
        while True:
            for position in random.permutation(len(self.images)):
                tiles = self.of(int(position))
                yield tiles.one(int(random.integers(len(tiles))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Mean losses of the first and the last tenth of the steps."""

    first: float
    last: float


def train(
    network: TrainedNetwork, good: Tiles, defects: Tiles, *, steps: int, seed: int, progress: Progress
) -> Losses:
    """Train a network, and leave it ready to judge.

    What torch draws by chance is drawn of the seed, and does not disturb who else draws.

    Raises:
        GraphRefused: the loss is not a number any more.
    """
    random = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.train()
        shown = good.drawn(random)
        network.begin(Batch.of([next(shown) for _ in range(min(len(good.images), _SHOWN))]))
        found = np.array(list(_losses(network, _batches(good, defects, random), steps, progress)))
    network.eval()
    tenth = max(steps // 10, 1)
    return Losses(first=float(found[:tenth].mean()), last=float(found[-tenth:].mean()))


def _losses(
    network: TrainedNetwork, batches: Iterator[Batch], steps: int, progress: Progress
) -> Iterator[float]:
    optimiser, schedule = network.optimiser(steps)
    for step in range(steps):
        optimiser.zero_grad()
        loss = network.loss(next(batches))
        if not torch.isfinite(loss):
            raise GraphRefused(
                f"training: the loss is {float(loss)} after {step} of {steps} steps; learn with other images"
                " or another kind"
            )
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships no annotation of it
        optimiser.step()
        if schedule is not None:
            schedule.step()
        progress("training", step + 1, steps)
        yield float(loss)


def _batches(good: Tiles, defects: Tiles, random: np.random.Generator) -> Iterator[Batch]:
    usual, spoilt = good.drawn(random), defects.drawn(random)
    marked = int(BATCH * _DEFECTS_SHARE) if defects.images else 0
    while True:
        drawn = [next(usual) for _ in range(BATCH - marked)] + [next(spoilt) for _ in range(marked)]
        yield Batch.of(drawn)


def read_out(network: TrainedNetwork, good: Tiles) -> NDArray[np.float32]:
    """Return the row that makes one map of the network's: (1, m + 1) float32.

    Every map is brought to the scale at which 1 good patch in 200 lies above 1, and then their mean is
    taken: scores of a product stay in a range that people can read, and maps weigh the same.
    """
    some = range(min(len(good.images), _SHOWN))
    with torch.inference_mode():
        tiles = (few for position in some for few in torch.split(good.of(position).pixels, BATCH))
        maps = np.concatenate([network(few).flatten(2).numpy() for few in tiles])
    high = np.quantile(maps.transpose(1, 0, 2).reshape(maps.shape[1], -1), _READOUT, axis=1)
    weights = 1 / np.maximum(high, 1e-12) / len(high)
    return np.append(weights, 0)[None].astype(np.float32)
