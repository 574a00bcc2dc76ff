"""What defects look like that are drawn to train on: masks that agree with pixels, the same for a seed."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from partgate_engines.anomaly.kinds._drawn_defects import Damage, cropped, draw_damage, flipped
from partgate_engines.anomaly.kinds._drawn_pictures import DEFECTS, VIEWS, covered, pictures_of, view

KINDS: tuple[Damage, ...] = get_args(Damage)
SIDES = (64, 128)


def _picture(seed: int, side: int = 64, channels: int = 1) -> NDArray[np.uint8]:
    """Draw a surface with a grain that runs down."""
    random = np.random.default_rng(seed)
    grain = 120 + random.normal(0, 20, (1, side, channels)) + random.normal(0, 5, (side, side, channels))
    return np.clip(grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10_000), side=st.sampled_from(SIDES), channels=st.sampled_from((1, 3)))
@settings(max_examples=30, deadline=None)
def test_mask_and_pixels_agree(kind: Damage, seed: int, side: int, channels: int) -> None:
    clean = _picture(seed, side, channels)
    before = clean.copy()
    spoilt, mask = draw_damage(clean, kind, np.random.default_rng(seed))
    assert np.array_equal(clean, before)
    assert (spoilt.shape, spoilt.dtype.name) == (clean.shape, "uint8")
    assert (mask.shape, mask.dtype.name) == ((side, side), "bool")
    changed = (spoilt != clean).any(axis=2)
    if not mask.any():
        assert not changed.any()
    else:
        # Some pixels within keep their level by chance; those without change only where a border is soft.
        assert changed[mask].mean() > 0.3
        difference = np.abs(spoilt.astype(int) - clean).mean(axis=2)
        assert difference[mask].mean() > (difference[~mask].mean() if not mask.all() else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_repeats_and_another_does_not(kind: Damage) -> None:
    clean = _picture(0)
    first, again, other = (draw_damage(clean, kind, np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", KINDS)
def test_most_defects_lie_in_the_picture(kind: Damage) -> None:
    clean = _picture(0)
    found = [draw_damage(clean, kind, np.random.default_rng(seed))[1].any() for seed in range(40)]
    assert np.mean(found) > 0.7


def test_a_grain_that_runs_across_is_drawn_on_as_one_that_runs_down() -> None:
    down = _picture(3)
    across = np.ascontiguousarray(down.transpose(1, 0, 2))
    for kind in KINDS:
        one, mask = draw_damage(down, kind, np.random.default_rng(5))
        other, turned = draw_damage(across, kind, np.random.default_rng(5))
        assert np.array_equal(one.transpose(1, 0, 2), other)
        assert np.array_equal(mask.T, turned)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_view_shows_levels_of_its_picture_only(seed: int) -> None:
    clean = _picture(seed)
    seen = view(clean, np.random.default_rng(seed))
    assert (seen.shape, seen.dtype.name) == (clean.shape, "uint8")
    assert clean.min() <= seen.min() <= seen.max() <= clean.max()


def test_the_whole_of_a_picture_is_the_picture() -> None:
    clean = _picture(1, channels=3)
    assert np.array_equal(cropped(np.random.default_rng(0), clean, least=1.0, at_border=True), clean)


def test_flips_are_the_four_there_are() -> None:
    clean = _picture(1)
    found = {flipped(np.random.default_rng(seed), clean).tobytes() for seed in range(30)}
    assert found == {clean[::down, ::right].tobytes() for down in (1, -1) for right in (1, -1)}


def test_pictures_begin_with_the_good_one_and_repeat() -> None:
    clean = _picture(2, channels=3)
    pictures = pictures_of(clean, np.random.default_rng(4))
    assert pictures.clean.shape == (1 + VIEWS, 64, 64, 3)
    assert pictures.spoilt.shape == (DEFECTS, 64, 64, 3)
    assert pictures.covered.shape == (DEFECTS, 4, 4)
    assert np.array_equal(pictures.clean[0], clean)
    again = pictures_of(clean, np.random.default_rng(4))
    assert np.array_equal(pictures.spoilt, again.spoilt)
    assert np.array_equal(pictures.covered, again.covered)


def test_a_patch_is_as_covered_as_its_most_covered_quarter() -> None:
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[16:24, 32:40] = True  # a quarter of a patch
    mask[48:52, 0:8] = True  # half a quarter
    found = covered(mask)
    assert found[1, 2] == 1
    assert found[3, 0] == pytest.approx(0.5)
    assert np.count_nonzero(found) == 2
