"""Drawing defects of several sizes on good images."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines.anomaly._synthetic import KINDS, DefectKind, draw_defect, size_classes

Pixels = NDArray[np.uint8]
Draw = Callable[..., Pixels]

SIDE_PX = 300
WHOLE = (0, 0, SIDE_PX, SIDE_PX)


def flat() -> Pixels:
    return np.full((SIDE_PX, SIDE_PX), 128, dtype=np.uint8)


def covered_px(kind: DefectKind, size_px: float) -> float:
    """Return how many pixels defects cover on average; one that covers half of a pixel counts half."""
    found = []
    for seed in range(30):
        spoilt = draw_defect(flat(), kind, np.random.default_rng(seed), size_px=size_px, box=WHOLE)
        levels = np.abs(spoilt.astype(np.float64) - 128)
        found.append(levels.sum() / levels.max())
    return float(np.mean(found))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size_px", [2.0, 15.0, 90.0])
@pytest.mark.parametrize("channels", [None, 1, 3], ids=["grey", "one channel", "colour"])
def test_a_drawn_defect_is_the_same_every_time_and_stays_in_its_box(
    kind: DefectKind, size_px: float, channels: int | None, draw: Draw
) -> None:
    pixels = draw(3, height_px=300, width_px=260)
    if channels is not None:
        pixels = np.repeat(pixels[:, :, None], channels, axis=2)
    before, box = pixels.copy(), (40, 50, 240, 260)
    for seed in range(8):
        once, again = (
            draw_defect(pixels, kind, np.random.default_rng(seed), size_px=size_px, box=box) for _ in range(2)
        )
        np.testing.assert_array_equal(once, again)
        assert once.shape == pixels.shape
        assert once.dtype == np.dtype(np.uint8)
        where = np.argwhere(once != before)
        assert len(where)
        assert (where[:, :2].min(axis=0) >= (50, 40)).all()
        assert (where[:, :2].max(axis=0) < (260, 240)).all()
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("kind", ["dot", "blob", "hairline"])
@pytest.mark.parametrize("size_px", [4.0, 15.0, 60.0])
def test_a_defect_covers_about_as_much_as_a_square_of_its_size(kind: DefectKind, size_px: float) -> None:
    assert 0.5 < covered_px(kind, size_px) / size_px**2 < 1.8


def test_a_band_is_as_wide_and_four_times_as_long() -> None:
    assert 2.2 < covered_px("band", 40) / 40**2 < 5


def test_seeds_draw_defects_in_different_places() -> None:
    found = []
    for seed in range(20):
        spoilt = draw_defect(flat(), "dot", np.random.default_rng(seed), size_px=6, box=WHOLE)
        found.append(np.argwhere(spoilt != 128).mean(axis=0))
    assert np.std(found, axis=0).min() > 50


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 256, 256), (2, 6, 5, 16, 15, 44)),
        ((0, 0, 640, 640), (2, 6, 9, 26, 37, 111)),
        ((0, 0, 2448, 2048), (2, 6, 15, 46, 118, 355)),
        ((100, 100, 120, 900), (2, 6, 2, 6, 2, 6)),
    ],
    ids=["256 px", "640 px", "5 Mpx", "a strip of 20 px"],
)
def test_sizes_go_from_a_few_pixels_to_a_tenth_of_the_shorter_side(
    box: tuple[int, int, int, int], expected: tuple[int, ...]
) -> None:
    sizes = size_classes(box)
    assert tuple(round(px) for one in sizes for px in (one.smallest_px, one.largest_px)) == expected
    assert {len(one.kinds) for one in sizes} == {2}
