"""Bundles to measure with: any backbone, any number of rows in the memory bank.

ResNet18's weights cannot be had without a network, so they are random, from a fixed seed, the same on
both sides. Of speed they say the same as trained ones; of accuracy nothing.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks._arms import Work, arm
from benchmarks._frames import good_parts
from partgate_engines import Bundle, Signer
from partgate_engines.anomaly import Learned, LearnSettings, learn

LEARNED_FROM = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A backbone, and whose features make a patch."""

    name: str
    layers: tuple[str, ...]
    title: str


LITE0 = Backbone(name="tf_efficientnet_lite0", layers=("blocks.2", "blocks.4"), title="EfficientNet-Lite0")
RESNET18 = Backbone(name="resnet18", layers=("layer2", "layer3"), title="ResNet18")


def weights_of(backbone: Backbone, folder: Path) -> Path | None:
    """Return the file of a backbone's random weights, once `learned_product` was there; None: packaged."""
    return None if backbone is LITE0 else folder / f"{backbone.name}.safetensors"


@cache
def learned_product(
    folder: Path,
    *,
    backbone: Backbone = LITE0,
    bank_rows: int = 2048,
    size_px: int = 256,
    images: int = LEARNED_FROM,
    seed: int = 0,
    precision: Literal["f32", "int8"] = "f32",
) -> Learned:
    """Learn the virtual line's bricks; the graph is exported once per folder.

    The export has a process of its own: torch and its threads stay out of the one that measures.
    """
    settings = LearnSettings(
        backbone=backbone.name,
        layers=backbone.layers,
        size_px=size_px,
        bank_rows=bank_rows,
        seed=seed,
        precision=precision,
        weights=weights_of(backbone, folder),
    )
    with arm(_exporting_arm, settings=settings, folder=folder):
        pass
    return learn(good_parts(images), settings=settings, graphs=folder / "graphs")


def _exporting_arm(settings: LearnSettings, folder: Path) -> Work:
    """Write random weights and export the graph, where that was not done before."""
    if settings.weights is not None and not settings.weights.exists():
        import timm
        import torch
        from safetensors.torch import save_file

        torch.manual_seed(0)
        save_file(timm.create_model(settings.backbone, pretrained=False).state_dict(), settings.weights)
    learn(good_parts(1), settings=replace(settings, bank_rows=1), graphs=folder / "graphs")
    return Work(run=list, facts={})


def saved(
    learned: Learned, folder: Path, *, backbone: Backbone = LITE0, signer: Signer | None = None
) -> Bundle:
    """Save a product as a bundle with golden frames."""
    return learned.save(
        folder / "bundles",
        product="brick",
        signer=signer,
        good=good_parts(len(learned.good)),
        weights=weights_of(backbone, folder),
    )


def with_rows(learned: Learned, rows: int) -> Learned:
    """Return the product with more rows in its bank: its own, and these moved a little, again and again.

    The time a bank takes depends on how many rows it has, not on what they are.
    """
    bank = learned.bank
    own = len(bank.rows)
    if rows < own:
        raise ValueError(f"{rows} rows; the bank has {own} already")
    picked = np.arange(rows) % own
    moved = _moves((rows, bank.rows.shape[1]), learned.feature_step)
    moved[:own] = 0
    found = bank.rows[picked] + moved
    if learned.feature_step is not None:
        most = np.float32(127 * learned.feature_step)
        found = found.clip(-most, most)
    return replace(learned, bank=replace(bank, rows=found, origin=bank.origin[picked]))


def _moves(shape: tuple[int, int], step: float | None) -> NDArray[np.float32]:
    """Return by what rows are moved: a little, by whole steps where features are multiples of one."""
    random = np.random.default_rng(0)
    if step is None:
        return random.normal(0, 1e-3, shape).astype(np.float32)
    return (random.integers(-1, 2, shape) * step).astype(np.float32)
