"""The false-reject budget: its arithmetic, and that it keeps what it promises."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from partgate_engines import Calibration
from partgate_engines.anomaly import (
    Budget,
    GoodImage,
    Learned,
    LearnSettings,
    calibrate,
    calibrate_again,
    learn,
    update,
    worst_of_parts,
)
from partgate_engines.anomaly._budget import guaranteed_one_in, parts_needed, rank_for, share_bound
from partgate_engines.anomaly._calibrate import budget_of, counting

Scores = NDArray[np.float64]
DRAWS = 1000


def test_wilks_numbers_are_known() -> None:
    assert parts_needed(500, 0.95) == 1497
    assert parts_needed(100, 0.95) == 299
    assert parts_needed(20, 0.95) == 59
    assert parts_needed(10, 0.99) == 44


@given(st.integers(2, 3000), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_number_needed_is_the_first_that_reaches(one_in: int, confidence: float) -> None:
    needed = parts_needed(one_in, confidence)
    assert rank_for(needed, one_in, confidence) >= 1
    assert rank_for(needed - 1, one_in, confidence) == 0
    assert guaranteed_one_in(needed, 1, confidence) >= one_in


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(2, 30))
def test_the_rank_is_the_largest_that_keeps_the_budget(parts: int, one_in: int) -> None:
    """Against the binomial sum in exact fractions."""
    share, allowed = Fraction(1, one_in), Fraction(1, 20)
    best, below = 0, Fraction(0)
    for k in range(parts):
        below += math.comb(parts, k) * share**k * (1 - share) ** (parts - k)
        if below > allowed:
            break
        best = k + 1
    assert rank_for(parts, one_in, 0.95) == best


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.data())
def test_the_bound_is_the_share_at_which_the_confidence_is_spent(parts: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, parts))
    share = share_bound(parts, rank, 0.95)
    below = sum(math.comb(parts, k) * share**k * (1 - share) ** (parts - k) for k in range(rank))
    assert below == pytest.approx(0.05, rel=1e-6)


def test_very_many_parts_do_not_underflow() -> None:
    rank = rank_for(200_000, 100, 0.95)
    assert 1900 < rank < 1960  # 2,000 less 1.645 deviations of 44.5
    assert share_bound(200_000, rank, 0.95) <= 0.01


@pytest.mark.parametrize("text", ["1/500", " 1 / 500 "])
def test_a_budget_is_read(text: str) -> None:
    assert Budget.of(text) == Budget(review_one_in=50, reject_one_in=500)


@pytest.mark.parametrize(("rejects", "reviews"), [(5000, 500), (500, 50), (100, 20), (20, 20), (7, 7)])
def test_reviews_are_ten_times_the_rejects_unless_that_is_a_flood(rejects: int, reviews: int) -> None:
    assert Budget.of(f"1/{rejects}").review_one_in == reviews
    assert Budget.of(f"1/{rejects}", "1/3").review_one_in == 3


@pytest.mark.parametrize(
    ("false_rejects", "false_reviews", "confidence", "why"),
    [
        ("2/500", None, 0.95, "such as 1/500"),
        ("0.002", None, 0.95, "such as 1/500"),
        ("1/0", None, 0.95, "such as 1/500"),
        ("1/1", None, 0.95, "expected 1/2 or less"),
        ("1/50", "1/500", 0.95, "must not be more"),
        ("1/500", "1/1", 0.95, "expected 1/2 or less"),
        ("1/500", None, 1.0, "less than 1"),
        ("1/500", None, 0.2, "at least 0.5"),
        ("1/500", None, float("nan"), "at least 0.5"),
    ],
)
def test_a_budget_that_is_none_is_refused(
    false_rejects: str, false_reviews: str | None, confidence: float, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        Budget.of(false_rejects, false_reviews, confidence=confidence)


def _normal(random: np.random.Generator, shape: tuple[int, int]) -> Scores:
    return random.normal(10, 1, shape)


def _exponential(random: np.random.Generator, shape: tuple[int, int]) -> Scores:
    return 5 + random.exponential(1, shape)


def _heavy_tail(random: np.random.Generator, shape: tuple[int, int]) -> Scores:
    return 1 + random.pareto(1.5, shape)


def _two_kinds(random: np.random.Generator, shape: tuple[int, int]) -> Scores:
    return np.where(random.random(shape) < 0.02, random.normal(20, 2, shape), random.normal(10, 1, shape))


def _steps(random: np.random.Generator, shape: tuple[int, int]) -> Scores:
    return random.geometric(0.3, shape).astype(np.float64)


def _normal_above(at: float) -> float:
    return 0.5 * math.erfc((at - 10) / math.sqrt(2))


SHAPES: dict[str, tuple[Callable[..., Scores], Callable[[float], float]]] = {
    "normal": (_normal, _normal_above),
    "exponential": (_exponential, lambda at: math.exp(-max(at - 5, 0))),
    "heavy tail": (_heavy_tail, lambda at: max(at, 1) ** -1.5),
    "two kinds": (_two_kinds, lambda at: 0.98 * _normal_above(at) + 0.01 * math.erfc((at - 20) / 8**0.5)),
    "steps": (_steps, lambda at: 0.7 ** (math.ceil(at) - 1)),
}
# Four deviations of a share of 0.95 counted in 1,000 draws.
MONTE_CARLO = 4 * math.sqrt(0.95 * 0.05 / DRAWS)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("parts", "one_in"), [(59, 20), (150, 20), (299, 100), (1000, 100)])
def test_the_promise_holds_as_often_as_it_says(name: str, parts: int, one_in: int) -> None:
    """In 1,000 learnings from good parts of any distribution, whose true tail is known."""
    draw, share_above = SHAPES[name]
    scores = np.sort(draw(np.random.default_rng(parts), (DRAWS, parts)), axis=1)
    rank = rank_for(parts, one_in, 0.95)
    thresholds = np.nextafter(scores[:, -rank], np.inf)
    kept = np.mean([share_above(float(threshold)) <= 1 / one_in for threshold in thresholds])
    assert kept >= 0.95 - MONTE_CARLO
    if name != "steps":  # equal scores only make it safer
        expected = 1 - sum(
            math.comb(parts, k) * one_in**-k * (1 - 1 / one_in) ** (parts - k) for k in range(rank)
        )
        assert kept == pytest.approx(expected, abs=MONTE_CARLO)


@pytest.mark.parametrize("name", ["normal", "exponential", "heavy tail"])
def test_one_rank_lower_would_break_the_promise(name: str) -> None:
    draw, share_above = SHAPES[name]
    scores = np.sort(draw(np.random.default_rng(1), (DRAWS, 59)), axis=1)
    lower = scores[:, -rank_for(59, 20, 0.95) - 1]
    assert np.mean([share_above(float(score)) <= 1 / 20 for score in lower]) < 0.95 - MONTE_CARLO


@pytest.mark.parametrize("name", ["normal", "exponential", "heavy tail"])
@pytest.mark.parametrize("parts", [30, 100])
def test_what_calibrate_guarantees_is_kept(name: str, parts: int) -> None:
    """Both thresholds, by order statistic or beyond the highest score, against what the card says."""
    draw, share_above = SHAPES[name]
    scores = draw(np.random.default_rng(2), (300, parts))
    kept = {"review": 0, "reject": 0}
    for row in scores:
        calibration = calibrate(row, budget=Budget(review_one_in=10, reject_one_in=20))
        assert calibration.card is not None
        for which in kept:
            promised = getattr(calibration.card, which).guaranteed_one_in or 1
            kept[which] += share_above(getattr(calibration.thresholds, which)) <= 1 / promised
    assert min(kept.values()) / len(scores) >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / len(scores))


GOOD = np.random.default_rng(5).normal(10, 1, 1600).tolist()


def test_a_budget_that_can_be_kept_is_kept_by_an_order_statistic() -> None:
    calibration = calibrate(GOOD, budget=Budget.of("1/500"))
    card = calibration.card
    assert card is not None
    assert (card.reject.method, card.reject.rank, card.reject.needed) == ("order-statistic", 1, 1497)
    assert (card.reject.guaranteed_one_in or 0) >= 500
    assert card.review.method == "order-statistic"
    assert sum(score >= calibration.thresholds.review for score in GOOD) == card.review.rank - 1
    assert "at most 1 good part in 5" in calibration.promise
    assert not calibration.warnings


def test_too_few_parts_are_said_with_the_number_needed() -> None:
    calibration = calibrate(GOOD[:100], budget=Budget.of("1/500"))
    card = calibration.card
    assert card is not None
    assert card.reject.method == "tail"
    assert card.reject.guaranteed_one_in == 33  # 1 - 0.05 ** (1 / 100) is 1 in 33.9
    assert calibration.thresholds.reject > max(GOOD[:100])
    assert any("takes 1,497, 1,397 more" in warning for warning in calibration.warnings)
    assert "an extrapolation" in calibration.promise
    assert "guaranteed with 95 % confidence is 1 in 33" in calibration.promise


def test_exposures_of_one_part_count_once() -> None:
    exposures = np.repeat(GOOD[:59], 6)
    parts = [number for number in range(59) for _ in range(6)]
    budget = Budget(review_one_in=20, reject_one_in=100)
    by_part = calibrate(exposures, parts=parts, budget=budget)
    as_if = calibrate(exposures, budget=budget)
    assert by_part.card is not None
    assert as_if.card is not None
    assert (by_part.card.parts, by_part.card.photographs) == (59, 354)
    assert by_part.card.reject.method == "tail"
    assert as_if.card.reject.method == "order-statistic"
    assert by_part.thresholds == calibrate(GOOD[:59], budget=budget).thresholds


def test_a_part_counts_with_its_worst_photograph() -> None:
    assert worst_of_parts([1.0, 5.0, 2.0, 3.0], [7, 7, 2, 7]).tolist() == [2.0, 5.0]
    assert worst_of_parts([1.0, 5.0], []).tolist() == [1.0, 5.0]
    with pytest.raises(ValueError, match="1 parts of 2 scores"):
        worst_of_parts([1.0, 5.0], [1])


def test_an_odd_image_does_not_move_review_up_to_itself() -> None:
    calibration = calibrate([*GOOD[:300], 40.0])
    assert calibration.card is not None
    assert calibration.card.review.method == "tail"
    assert calibration.card.review.guaranteed_one_in is None
    assert calibration.thresholds.review < 20
    assert "1 of 301 good images" in calibration.warnings[0]


def test_the_same_scores_are_calibrated_again_for_another_budget() -> None:
    parts = [number // 2 for number in range(400)]
    first = calibrate(GOOD[:400], parts=parts, digests=["a" * 64] * 400)
    again = calibrate_again(first, Budget.of("1/50"))
    assert again.thresholds == calibrate(GOOD[:400], parts=parts, budget=Budget.of("1/50")).thresholds
    assert again.thresholds.reject < first.thresholds.reject
    assert first.card is not None
    assert again.card is not None
    assert again.card.split_sha256 == first.card.split_sha256
    with pytest.raises(ValueError, match="before there were cards"):
        calibrate_again(first.model_copy(update={"card": None}), Budget())


def test_a_guarantee_counts_what_was_set_aside() -> None:
    budget = Budget(review_one_in=20, reject_one_in=100)
    plain = calibrate(GOOD[:299], budget=budget)
    counted = counting(plain, 2)
    assert counting(plain, 0) == plain
    assert counted.thresholds == plain.thresholds, "the score of a defect does not open the gate"
    assert plain.card is not None
    assert counted.card is not None
    assert counted.card.set_aside == 2
    assert counted.card.reject.method == "order-statistic"
    assert plain.card.reject.guaranteed_one_in == 100
    assert counted.card.reject.guaranteed_one_in == guaranteed_one_in(301, 3, 0.95) == 48
    assert (
        "from 299 good images, 2 set aside: of parts like those learned, about 1 good part" in counted.promise
    )
    _, told = counted.promise.split("Reject: ")
    alike, all_of_them = told.split("; ")
    assert alike == (
        "of parts like those learned at most 1 good part in 100 at or above it with 95 % confidence, whatever"
        " the distribution (1 in 100 was asked)"
    )
    assert all_of_them == "guaranteed with 95 % confidence, with the 2 set aside counted as good, is 1 in 48"
    assert "set aside" not in plain.promise


def test_what_was_set_aside_counts_for_another_budget_too() -> None:
    first = counting(calibrate(GOOD[:100]), 1)
    again = calibrate_again(first, Budget.of("1/10"))
    assert again.card is not None
    assert again.card.set_aside == 1
    rank = again.card.reject.rank
    assert rank > 1
    assert again.card.reject.guaranteed_one_in == guaranteed_one_in(101, rank + 1, 0.95)
    assert first.card is not None
    assert "an extrapolation, 1 good part in 5,000 of parts like those learned if the tail" in first.promise
    assert first.card.reject.guaranteed_one_in == guaranteed_one_in(101, 2, 0.95)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_the_guarantee_is_that_of_the_whole_draw(seed: int, set_aside: int) -> None:
    """Just above the k-th of the scores that stay is just above the (k + s)-th of all, or higher."""
    scores = np.sort(np.random.default_rng(seed).normal(20, 2, 120))
    kept = counting(calibrate(scores[:-set_aside], budget=Budget.of("1/10", "1/5")), set_aside)
    card = kept.card
    assert card is not None
    for rule, threshold in ((card.review, kept.thresholds.review), (card.reject, kept.thresholds.reject)):
        above = int((scores >= threshold).sum()) + 1
        if rule.rank:
            assert above <= rule.rank + set_aside  # a band between the two may lift reject
            assert rule.guaranteed_one_in == guaranteed_one_in(120, rule.rank + set_aside, card.confidence)


def test_a_card_from_before_set_nothing_aside() -> None:
    old = calibrate(GOOD[:30]).model_dump(mode="json", exclude={"card": {"set_aside"}})
    read = Calibration.model_validate_json(json.dumps(old))
    assert read.card is not None
    assert read.card.set_aside == 0


def test_the_fingerprint_tells_other_splits_apart() -> None:
    def fingerprint(parts: list[int], digests: list[str]) -> str:
        card = calibrate([1.0, 2.0, 3.0], parts=parts, digests=digests).card
        assert card is not None
        return card.split_sha256

    one = fingerprint([0, 1, 2], ["a", "b", "c"])
    assert one == fingerprint([0, 1, 2], ["a", "b", "c"])
    assert one != fingerprint([0, 1, 1], ["a", "b", "c"])
    assert one != fingerprint([0, 1, 2], ["a", "b", "d"])


def test_a_manifest_without_a_card_is_read_and_has_the_usual_budget() -> None:
    old = calibrate(GOOD[:30]).model_dump(mode="json", exclude={"card"})
    read = Calibration.model_validate_json(json.dumps(old))
    assert read.card is None
    assert budget_of(read) == Budget()


def test_the_budget_and_the_card_go_with_the_bundle_and_stay_when_images_are_added(
    good: Sequence[GoodImage], graphs: Path, settings: LearnSettings, tmp_path: Path, learned: Learned
) -> None:
    at_once = learned.calibration.card
    budget = Budget(review_one_in=3, reject_one_in=9, confidence=0.9)
    first = learn(good[:24], settings=replace(settings, budget=budget), graphs=graphs)
    bundle = first.save(tmp_path, product="weave", good=good[:24])
    card = bundle.manifest.calibration.card
    assert card is not None
    assert (card.parts, card.photographs, len(card.part_of)) == (24, 24, 24)
    assert card.reject.method == "order-statistic"
    more = update(bundle, good=good[:24], added=good[24:]).calibration
    assert more.card is not None
    assert at_once is not None
    assert more.card.parts == at_once.parts > 24, "as many as if all had been learned at once"
    assert budget_of(more) == budget
    assert more.card.split_sha256 != card.split_sha256
