"""What the closed-form kinds make of patches, against the same by other means."""

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines import BundleRefused, ImagesRefused, MemoryBank
from partgate_engines._bank import EVERY_IMAGE
from partgate_engines.anomaly import DefectImage
from partgate_engines.anomaly.kinds._moments import Moments, _folds, summed
from partgate_engines.anomaly.kinds._padim import mahalanobis_rows
from partgate_engines.anomaly.kinds._pca import KEPT_SHARE, residual_rows

Rows = NDArray[np.float32]


def patches(seed: int, *, images: int = 40, places: int = 6, features: int = 5) -> Rows:
    """Draw patches, (images, places, features), with another mean and spread at every place."""
    random = np.random.default_rng(seed)
    turned = random.normal(2 * np.eye(features), 0.4, (places, features, features))
    own = np.einsum("npf,pfg->npg", random.standard_normal((images, places, features)), turned)
    return np.asarray(own + random.uniform(-20, 20, (places, features)), dtype=np.float32)


def moments_of(given: Rows, mask: NDArray[np.float32] | None = None, *, by_place: bool) -> Moments:
    found = Moments.none(given.shape[1] if by_place else 1, given.shape[2])
    for image in given:
        found.add(image, np.ones(len(image), np.float32) if mask is None else mask)
    return found


def made(rows: Rows, patch: NDArray[np.floating]) -> float:
    """Return what the graph makes of a patch and affine rows."""
    return float(np.linalg.norm(rows.astype(np.float64) @ np.append(patch, 1)))


def test_the_residual_is_what_the_main_directions_leave() -> None:
    given = patches(1, places=1).reshape(-1, 5).astype(np.float64)
    rows = residual_rows(moments_of(patches(1, places=1), by_place=False))
    centred = given - given.mean(axis=0)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    kept = int(np.searchsorted(np.cumsum(values**2), KEPT_SHARE * (values**2).sum())) + 1
    main = directions[:kept]
    assert rows.shape == (5 - kept, 6)
    for patch in (*given[:5], given[0] + 7):
        own = patch - given.mean(axis=0)
        assert made(rows, patch) == pytest.approx(np.linalg.norm(own - main.T @ (main @ own)), rel=1e-3)


def test_a_place_is_judged_by_its_own_spread() -> None:
    given = patches(2, images=4000)
    rows = mahalanobis_rows(moments_of(given, by_place=True)).reshape(6, 5, 6)
    for place in range(6):
        own = given[:, place].astype(np.float64)
        precision = np.linalg.inv(np.cov(own.T))
        away = own[0] + np.array([3.0, -2, 1, 0, 5])
        off = away - own.mean(axis=0)
        assert made(rows[place], away) == pytest.approx(np.sqrt(off @ precision @ off), rel=0.15)
        assert made(rows[place], own.mean(axis=0)) == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize("images", [1, 2, 5])
def test_few_images_give_finite_rows_that_know_what_is_far(images: int) -> None:
    given = patches(3, images=images)
    rows = mahalanobis_rows(moments_of(given, by_place=True)).reshape(6, 5, 6)
    assert np.isfinite(rows).all()
    for place in range(6):
        mean = given[:, place].mean(axis=0)
        assert made(rows[place], mean) < 0.1 < made(rows[place], mean + 1000)


def test_a_place_that_no_image_shows_is_judged_by_all() -> None:
    given = patches(4)
    mask = np.array([1, 1, 0, 1, 1, 1], dtype=np.float32)
    found = moments_of(given, mask, by_place=True)
    rows = mahalanobis_rows(found).reshape(6, 5, 6)
    every = given[:, mask > 0].reshape(-1, 5).mean(axis=0)
    assert made(rows[2], every) == pytest.approx(0, abs=1e-2)
    assert found.count[2] == 0


@pytest.mark.parametrize("by_place", [True, False], ids=["by place", "for all"])
def test_what_is_taken_out_was_never_there(*, by_place: bool) -> None:
    given = patches(5)
    whole = summed([moments_of(part, by_place=by_place) for part in (given[:10], given[10:])])
    left = whole.without(moments_of(given[:10], by_place=by_place))
    alone = moments_of(given[10:], by_place=by_place)
    np.testing.assert_allclose(left.mean, alone.mean, rtol=1e-6)
    np.testing.assert_allclose(left.scatter, alone.scatter, rtol=1e-4, atol=1e-6)


def test_images_of_one_part_share_a_fold() -> None:
    parts = [0, 0, 2, 3, 3, 3, *range(6, 40)]
    folds = _folds(parts, seed=0)
    assert len(np.unique(folds)) == 10
    assert folds[0] == folds[1]
    assert len(set(folds[3:6])) == 1
    assert np.bincount(folds).max() <= 6
    assert list(_folds([7, 7, 7], seed=1)) == [0, 0, 0]


def test_affine_rows_reach_the_graph_as_they_are() -> None:
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    bank = MemoryBank(rows=rows, origin=np.full(2, EVERY_IMAGE, np.int32), form="affine")
    given = bank.augmented()
    np.testing.assert_array_equal(given, rows)
    assert given.flags.writeable  # OpenVINO shares only memory that it could write to
    with pytest.raises(BundleRefused, match="not finite"):
        MemoryBank(rows=np.full((2, 3), np.nan, np.float32), origin=np.zeros(2, np.int32), form="affine")


@pytest.mark.parametrize(
    "mask",
    [np.zeros((4, 5), np.bool_), np.ones((5, 4), np.bool_)],
    ids=["nothing marked", "another size"],
)
def test_a_mask_that_marks_nothing_or_another_image_is_refused(mask: NDArray[np.bool_]) -> None:
    with pytest.raises(ImagesRefused, match=r"7\.png: a mask of"):
        DefectImage(pixels=np.zeros((4, 5), np.uint8), mask=mask, origin="7.png")
