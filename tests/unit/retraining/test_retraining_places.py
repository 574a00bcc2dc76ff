"""Where thresholds stand among held-out scores, and which ones stand there by another model."""

import numpy as np
import pytest

from partgate.retraining._places import Compared, compared, place
from partgate_engines import Calibration, Source
from partgate_engines.anomaly import calibrate

OLD = np.arange(1.0, 101.0)


def by(new: object, old: object = OLD) -> Compared:
    return Compared(before=np.asarray(old, float), after=np.asarray(new, float), same_parts=True)


@pytest.mark.parametrize(
    ("threshold", "now", "above"),
    [
        pytest.param(95.0, 190.0, 6, id="on a score"),
        pytest.param(94.5, 189.0, 6, id="between two"),
        pytest.param(104.0, 208.0, 0, id="above all: as far above the highest"),
        pytest.param(0.5, 1.0, 100, id="below all"),
    ],
)
def test_a_bank_that_doubles_all_distances_doubles_what_a_threshold_means(
    threshold: float, now: float, above: int
) -> None:
    found = place(threshold, by(2 * OLD))
    assert found.now == pytest.approx(now, abs=0.1)
    assert (found.above, found.above_now, found.of) == (above, above, 100)
    assert found.quantile == pytest.approx(1 - above / 100)


@pytest.mark.parametrize("seed", range(20))
def test_as_many_parts_lie_above_by_any_other_scores(seed: int) -> None:
    random = np.random.default_rng(seed)
    old, new = (np.unique(random.gamma(2, size=60).astype(np.float32))[:50] for _ in range(2))
    for threshold in (*random.choice(old, 5), *random.uniform(old.min(), old.max(), 5)):
        found = place(float(threshold), by(new, old))
        assert found.above_now == found.above
        assert len(f"{found.now:.9g}") <= 12


def test_equal_scores_keep_the_ratio() -> None:
    assert place(6.0, by([9.0] * 4, [3.0] * 4)).now == pytest.approx(9 + 3 * 3)
    assert place(6.0, by([9.0], [3.0])).now == pytest.approx(18)


def sources(*names: str) -> list[Source]:
    return [Source(origin=name, pixels_sha256=name[0] * 64) for name in names]


def calibrated(*scores: float, parts: tuple[int, ...] = ()) -> Calibration:
    return calibrate(scores, parts=parts)


def test_only_parts_that_both_models_know_are_compared() -> None:
    old, new = calibrated(1, 2, 3), calibrated(30, 10, 90)
    found = compared(sources("a", "b", "c"), old, sources("c", "a", "f"), new)
    assert (found.before.tolist(), found.after.tolist()) == ([3, 1], [30, 10])
    assert found.same_parts


def test_photographs_of_one_part_count_once() -> None:
    before = sources("a", "b", "c")
    before[0] = before[0].model_copy(update={"alike": (2,)})
    found = compared(before, calibrated(1, 2, 3), before, calibrated(5, 4, 3))
    assert (found.before.tolist(), found.after.tolist()) == ([3, 2], [5, 4])


def test_scores_of_which_nobody_knows_whose_they_are_stand_for_all() -> None:
    found = compared(sources("a", "b", "c"), calibrated(1, 2), sources("a", "b", "c"), calibrated(5, 4, 3))
    assert not found.same_parts
    assert (found.before.tolist(), found.after.tolist()) == ([1, 2], [5, 4, 3])
