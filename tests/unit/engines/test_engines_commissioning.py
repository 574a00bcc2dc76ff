"""While a product is commissioned, people look at everything that so few parts leave open."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines.anomaly import Budget, calibrate, calibrate_again
from partgate_engines.anomaly._budget import rank_within, widened
from partgate_engines.anomaly._calibrate import budget_of

COMMISSIONING = Budget(commissioning=True)
DRAWS = 500


def test_the_band_holds_the_usual_one_and_narrows_as_parts_arrive() -> None:
    widths = []
    for n in (4, 8, 20, 100, 400):
        scores = 10 - np.log1p(-(np.arange(n) + 0.5) / n)  # an exponential tail, drawn evenly
        usual, wide = (calibrate(scores, budget=budget).thresholds for budget in (Budget(), COMMISSIONING))
        assert wide.review <= usual.review
        assert wide.reject >= usual.reject
        widths.append(wide.reject - wide.review)
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 5 * widths[-1]


def _exponential(random: np.random.Generator, n: int) -> NDArray[np.float64]:
    return 5 + random.exponential(1, n)


def _normal(random: np.random.Generator, n: int) -> NDArray[np.float64]:
    return random.normal(5, 1, n)


ABOVE: dict[Callable[..., NDArray[np.float64]], Callable[[float], float]] = {
    _exponential: lambda score: math.exp(-max(score - 5, 0)),
    _normal: lambda score: math.erfc((score - 5) / math.sqrt(2)) / 2,
}


@pytest.mark.parametrize("n", [2, 4, 8, 20, 100])
@pytest.mark.parametrize("draw", ABOVE.keys(), ids=lambda draw: draw.__name__.strip("_"))
def test_it_is_as_sure_as_it_says(draw: Callable[..., NDArray[np.float64]], n: int) -> None:
    """Of 500 draws, 95 % or more keep what is said; three standard errors of that are 2.9 points."""
    random = np.random.default_rng(n)
    found = [calibrate(draw(random, n), budget=COMMISSIONING).thresholds for _ in range(DRAWS)]
    assert np.mean([ABOVE[draw](one.reject) <= 1 / 5000 for one in found]) > 0.921
    assert np.mean([ABOVE[draw](one.review) >= 1 / 100 for one in found]) > 0.921


def test_it_says_so_and_what_it_takes_to_end() -> None:
    calibration = calibrate(_normal(np.random.default_rng(0), 20), budget=COMMISSIONING)
    card = calibration.card
    assert card is not None
    assert card.commissioning
    assert (card.review.method, card.reject.method) == ("commissioning", "commissioning")
    assert "In commissioning: people look at parts from" in calibration.promise
    assert "299 good parts would guarantee 1 in 100, there are 20" in calibration.promise


def test_an_update_stays_in_commissioning_and_another_budget_ends_it() -> None:
    calibration = calibrate(_normal(np.random.default_rng(0), 20), budget=COMMISSIONING)
    assert budget_of(calibration) == COMMISSIONING
    ended = calibrate_again(calibration, Budget())
    assert ended.card is not None
    assert not ended.card.commissioning
    assert ended.thresholds.reject < calibration.thresholds.reject


def test_an_odd_image_does_not_open_the_gate_for_its_like() -> None:
    scores = [*_normal(np.random.default_rng(0), 60), 40.0]
    assert calibrate(scores, budget=COMMISSIONING).thresholds.review < 10


@pytest.mark.parametrize(("parts", "one_in", "rank"), [(2, 100, 1), (20, 100, 2), (100, 100, 4), (3, 2, 3)])
def test_the_rank_that_is_surely_not_too_high(parts: int, one_in: int, rank: int) -> None:
    assert rank_within(parts, one_in, 0.95) == rank


@pytest.mark.parametrize(("count", "times"), [(1, 19.496), (5, 2.538), (25, 1.4383)])
def test_how_long_a_tail_may_be(count: int, times: float) -> None:
    """Two m over the 5 % quantile of chi-square with 2 m degrees of freedom, from a table."""
    assert widened(count, 0.95) == pytest.approx(times, rel=1e-3)
