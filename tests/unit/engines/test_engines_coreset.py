import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines.anomaly import _coreset
from partgate_engines.anomaly._coreset import k_centre, nearest_distance

Rows = NDArray[np.float32]


def blobs(count: int, *, dims: int = 12, seed: int = 0) -> Rows:
    random = np.random.default_rng(seed)
    middles = random.normal(0, 5, (20, dims))
    points = middles[random.integers(20, size=count)] + random.normal(0, 1, (count, dims))
    return points.astype(np.float32)


def one_by_one(points: Rows, start: int, count: int) -> list[int]:
    chosen = [start]
    distance = np.linalg.norm(points - points[start], axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return chosen


@pytest.mark.parametrize("count", [1, 5, 300])
def test_the_choice_is_the_exact_greedy_one(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_coreset, "_CANDIDATES", 50)
    monkeypatch.setattr(_coreset, "_BLOCK", 700)
    points = blobs(3000)
    coreset = k_centre(points, count=count, seed=3)
    assert coreset.chosen.tolist() == one_by_one(points, int(coreset.chosen[0]), count)


def test_the_distances_are_those_to_the_nearest_centre() -> None:
    points = blobs(500)
    coreset = k_centre(points, count=40, seed=0)
    to_all = np.linalg.norm(points[:, None] - points[coreset.chosen][None], axis=2)
    np.testing.assert_allclose(coreset.distance, to_all.min(axis=1), atol=1e-2)
    np.testing.assert_allclose(
        nearest_distance(points, points[coreset.chosen]), to_all.min(axis=1), atol=1e-2
    )


def test_it_covers_as_well_as_anomalibs(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from anomalib.models.components import KCenterGreedy
    from tqdm import tqdm  # type: ignore[import-untyped]  # it ships no annotations

    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # it would leave a thread behind
    points = blobs(2000, dims=64)
    torch.manual_seed(0)
    theirs = np.array(KCenterGreedy(torch.from_numpy(points), sampling_ratio=0.05).select_coreset_idxs())
    ours = k_centre(points, count=len(theirs), seed=0)
    radius = nearest_distance(points, points[theirs]).max()
    assert ours.distance.max() <= 1.02 * radius


def test_no_more_is_chosen_than_is_needed_to_cover() -> None:
    points = blobs(1000)
    coreset = k_centre(points, count=1000, seed=0, tolerance=3.0)
    assert 20 < len(coreset.chosen) < 1000
    assert coreset.distance.max() <= 3.0
    assert k_centre(points, count=len(coreset.chosen) - 1, seed=0).distance.max() > 3.0


def test_equal_points_are_chosen_once() -> None:
    points = np.repeat(blobs(10), 5, axis=0)
    coreset = k_centre(points, count=50, seed=0, tolerance=0.1)
    assert len(coreset.chosen) == 10


def test_what_is_covered_by_the_start_is_not_chosen() -> None:
    points = blobs(400)
    far = points[:10] + 100
    coreset = k_centre(np.concatenate((points, far)), count=500, seed=0, start=points, tolerance=0.1)
    assert set(coreset.chosen.tolist()) == set(range(400, 410))


def test_fewer_points_than_asked_for_are_all_chosen() -> None:
    assert sorted(k_centre(blobs(7), count=100, seed=0).chosen.tolist()) == list(range(7))


def test_points_of_many_features_are_covered_after_projection() -> None:
    points = blobs(400, dims=1500)
    chosen = k_centre(points, count=40, seed=0).chosen
    exact = one_by_one(points, int(chosen[0]), 40)
    radius = nearest_distance(points, points[exact]).max()
    assert nearest_distance(points, points[chosen]).max() <= 1.1 * radius


def test_the_same_seed_chooses_the_same() -> None:
    points = blobs(300, dims=600)
    first, second = (k_centre(points, count=50, seed=9) for _ in range(2))
    np.testing.assert_array_equal(first.chosen, second.chosen)
