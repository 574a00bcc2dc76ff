"""Training a head to find drawn defects, on features that were computed once.

Imported only where one is trained.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from partgate_engines._errors import GraphRefused
from partgate_engines.anomaly._settings import Progress
from partgate_engines.anomaly.kinds._drawn_graph import Head, Layers, Scaling
from partgate_engines.anomaly.kinds._drawn_pictures import DEFECTS, VIEWS

BATCH = 32
_PLAIN, _VIEWS = BATCH // 4, BATCH // 4  # the other half have defects
_RATE, _PEAK, _DECAY = 2e-3, 4e-3, 1e-2
_NOISE = 0.3  # of the features' deviation
_DROPPED = 0.2  # of the features, whole channels of a picture
_SPOILT_FROM = 0.08  # of a patch, for it to count as defective
_NEAR_FROM = 0.02  # a patch beside one that is covered so much counts neither way
_PICTURE_WEIGHT = 16.0  # what the spoilt patches of a picture weigh together, besides 1 each
_LOSS_SCALE = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictured:
    """What the backbone makes of the pictures of m good ones, in float16."""

    clean: Layers
    """Of m * (1 + VIEWS) pictures, one good one's after another's."""

    spoilt: Layers
    """Of m * DEFECTS pictures."""

    covered: Tensor
    """(m * DEFECTS, g, g) float32, how much of a patch is defective."""

    @property
    def count(self) -> int:
        """How many good pictures they were made of."""
        return len(self.clean[0]) // (1 + VIEWS)

    def of(self, positions: NDArray[np.intp]) -> "Pictured":
        """Return what is made of some of the good pictures, and of what was drawn on them."""
        clean, spoilt = (_runs(positions, each) for each in (1 + VIEWS, DEFECTS))
        return Pictured(
            clean=_picked(self.clean, clean),
            spoilt=_picked(self.spoilt, spoilt),
            covered=self.covered[spoilt],
        )

    def plain(self) -> Layers:
        """Return what is made of the good pictures as they are, in float32."""
        return _some(self.clean, np.arange(self.count) * (1 + VIEWS))


def train_head(
    pictured: Pictured, *, steps: int, seed: int, progress: Progress
) -> tuple[Head, Scaling, tuple[float, float]]:
    """Train a head.

    Returns:
        The head, what brings features to its scale, and the mean losses of the first and the last tenth of
        the steps.

    Raises:
        GraphRefused: the loss is not a number any more.
    """
    scaling = Scaling(pictured.plain())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = Head([layer.shape[1] for layer in pictured.clean])
        batches = _batches(pictured, scaling, np.random.default_rng(seed))
        losses = np.array(list(_losses(head, batches, steps, progress)))
    tenth = max(steps // 10, 1)
    return head.eval(), scaling, (float(losses[:tenth].mean()), float(losses[-tenth:].mean()))


def _losses(
    head: Head, batches: Iterator[tuple[Layers, Tensor]], steps: int, progress: Progress
) -> Iterator[float]:
    optimiser = torch.optim.AdamW(head.parameters(), lr=_RATE, weight_decay=_DECAY)
    # One step more: a schedule of a single step has no middle.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _PEAK, total_steps=steps + 1)
    for step in range(steps):
        seen, covered = next(batches)
        optimiser.zero_grad()
        loss = _loss(head(seen), covered)
        if not torch.isfinite(loss):
            raise GraphRefused(
                f"training: the loss is {float(loss)} after {step} of {steps} steps; learn with other images"
                " or another kind"
            )
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships no annotation of it
        optimiser.step()
        schedule.step()
        progress("training", step + 1, steps)
        yield float(loss)


def _loss(logits: Tensor, covered: Tensor) -> Tensor:
    """Return the cross entropy; a picture's defect weighs much the same whether it is small or large."""
    near = functional.max_pool2d(covered[:, None], 3, stride=1, padding=1)[:, 0]
    spoilt = (covered > _SPOILT_FROM).to(torch.float32)
    patches = spoilt.sum(dim=(1, 2), keepdim=True).clamp_min(1)
    beside = torch.where(near > _NEAR_FROM, 0.0, 1.0)
    weight = torch.where(spoilt > 0, 1 + _PICTURE_WEIGHT / patches, beside)
    entropy = functional.binary_cross_entropy_with_logits(logits, spoilt, reduction="none")
    return _LOSS_SCALE * (entropy * weight).mean()


def _batches(
    pictured: Pictured, scaling: Scaling, random: np.random.Generator
) -> Iterator[tuple[Layers, Tensor]]:
    """Draw batches for ever: a quarter good pictures, a quarter views of them, a half with defects."""
    grid = pictured.covered.shape[1:]
    largest = max(layer[0].numel() for layer in pictured.clean)
    noise = torch.randn(2 * BATCH * largest)  # cut out anew in every step: drawing it takes as long as a step
    while True:
        plain = random.integers(0, pictured.count, _PLAIN) * (1 + VIEWS)
        views = random.integers(0, pictured.count, _VIEWS) * (1 + VIEWS)
        views += random.integers(1, 1 + VIEWS, _VIEWS)
        spoilt = random.integers(0, pictured.count * DEFECTS, BATCH - _PLAIN - _VIEWS)
        good, bad = _some(pictured.clean, np.append(plain, views)), _some(pictured.spoilt, spoilt)
        fine, middle, coarse = (torch.cat(pair) for pair in zip(good, bad, strict=True))
        both = scaling((fine, middle, coarse))
        covered = torch.cat((torch.zeros(_PLAIN + _VIEWS, *grid), pictured.covered[torch.from_numpy(spoilt)]))
        down, right = random.integers(0, 2, 2)
        axes = [axis for axis, turns in ((-2, down), (-1, right)) if turns]
        noisy = (_noisy(layer.flip(axes), noise, random) for layer in both)
        fine, middle, coarse = noisy
        yield (fine, middle, coarse), covered.flip(axes)


def _noisy(layer: Tensor, noise: Tensor, random: np.random.Generator) -> Tensor:
    first = int(random.integers(len(noise) - layer.numel() + 1))
    added = _NOISE * noise[first : first + layer.numel()].reshape(layer.shape)
    stays = torch.from_numpy(random.random(layer.shape[:2]) >= _DROPPED).to(torch.float32)[..., None, None]
    return (layer + added) * stays / (1 - _DROPPED)


def _runs(positions: NDArray[np.intp], each: int) -> Tensor:
    """Return where the pictures made of some good ones are, where of each so many follow each other."""
    return torch.from_numpy((positions[:, None] * each + np.arange(each)).ravel().astype(np.int64))


def _picked(layers: Layers, index: Tensor) -> Layers:
    fine, middle, coarse = (layer[index] for layer in layers)
    return fine, middle, coarse


def _some(layers: Layers, positions: "np.ndarray[tuple[int], np.dtype[np.intp]]") -> Layers:
    index = torch.from_numpy(np.asarray(positions, dtype=np.int64))
    fine, middle, coarse = (layer[index].to(torch.float32) for layer in layers)
    return fine, middle, coarse
