"""What is different in the drawn kind where a product is learned in tiles."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines._resize import resize_matrix
from partgate_engines.anomaly import GoodImage, LearnSettings, learn
from partgate_engines.anomaly._export import calm
from partgate_engines.anomaly._weights import PACKAGED_BACKBONE, find_weights

SIZE_PX = 256  # 16 x 16 patches: of fewer, one hundredth is one patch anyway
CHANNELS = (80, 192, 512)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("tiled", "patches"), [pytest.param(True, 1, id="tiles"), pytest.param(False, 3, id="whole")]
)
def test_the_heads_part_is_the_mean_of_its_worst_patches(tiled: bool, patches: int) -> None:
    bank_score, bank_map = _asked(tiled=tiled, weight=0.0)
    score, anomaly_map = _asked(tiled=tiled, weight=1.0)
    head = np.sort((anomaly_map - bank_map).ravel())[::-1]
    assert head[0] > head[2] + 1e-3
    assert score - bank_score == pytest.approx(head[:patches].mean(), abs=1e-3)


@pytest.mark.timeout(300)
def test_of_patches_that_the_bank_holds_the_map_shows_no_rounding() -> None:
    with calm():
        import torch
    mask = torch.ones(1, 16, 16)
    mask[0, 3, 5], mask[0, 7, 7] = 0, 2
    ask = _asker(tiled=False, weight=0.0)
    _, _, features = ask(torch.rand(5, 625), mask)
    held = torch.cat((-2 * features[0], (features[0] ** 2).sum(dim=1, keepdim=True)), dim=1)
    _, anomaly_map, _ = ask(held, mask)
    torch.testing.assert_close(anomaly_map, 0.5 * mask, rtol=1e-5, atol=1e-6)


@pytest.mark.timeout(300)
def test_a_bank_that_is_not_a_number_shows_in_the_map() -> None:
    with calm():
        import torch
    ask = _asker(tiled=False, weight=0.0)
    _, anomaly_map, _ = ask(torch.full((5, 625), torch.nan), torch.ones(1, 16, 16))
    assert anomaly_map.isnan().all()


def _asked(*, tiled: bool, weight: float) -> tuple[float, NDArray[np.float32]]:
    """Return score and map of one frame of noise, by an untaught head and a bank of five rows."""
    with calm():
        import torch
    score, anomaly_map, _ = _asker(tiled=tiled, weight=weight)(torch.rand(5, 625), torch.ones(1, 16, 16))
    return float(score[0]), np.asarray(anomaly_map[0].numpy())


def _asker(*, tiled: bool, weight: float) -> Callable[[Any, Any], tuple[Any, Any, Any]]:
    """Return what judges one frame of noise, by an untaught head, with a bank and a mask."""
    with calm():
        import torch

        from partgate_engines.anomaly._backbone import build_model
        from partgate_engines.anomaly.kinds._drawn_graph import DrawnGraph, Head, Scaling

        weights = find_weights(PACKAGED_BACKBONE, None)
        model = build_model(
            backbone=PACKAGED_BACKBONE, layers=("blocks.6",), size_px=SIZE_PX, weights=weights
        )
        graph = DrawnGraph(model, size_px=SIZE_PX, grid=(16, 16), tiled=tiled)
        torch.manual_seed(0)
        fine, middle, coarse = (torch.randn(2, count, 4, 4) for count in CHANNELS)
        scaling = Scaling((fine, middle, coarse))
        graph.taught(scale=1.0, weight=weight, scaling=scaling, head=Head(CHANNELS).eval())
        side = torch.from_numpy(resize_matrix(SIZE_PX, SIZE_PX))
        frames = torch.randint(0, 256, (1, SIZE_PX, SIZE_PX, 1), dtype=torch.uint8)

        def ask(bank: Any, mask: Any) -> tuple[Any, Any, Any]:
            with torch.inference_mode():
                found: tuple[Any, Any, Any] = graph(frames, side, side.T, torch.ones(3, 1), bank, mask)
            return found

    return ask


def test_the_bank_says_ten_of_a_good_part_in_tiles(
    good: Sequence[GoodImage], graphs: Path, settings: LearnSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held out with a head that weighs nothing is the bank's part alone."""
    monkeypatch.setattr("partgate_engines.anomaly.kinds._drawn_lesson._TILED_WEIGHTS", (0.0, 0.0))
    wanted = replace(settings, kind="drawn", steps=1, size_px=64, tile_px=64)
    learned = learn(good[:10], settings=wanted, graphs=graphs)
    assert learned.held_out_scores.mean() == pytest.approx(10.0, rel=1e-4)
