import json

import numpy as np
import pytest

from partgate_engines import Calibration
from partgate_engines.anomaly import calibrate
from partgate_station import Verdict

SCORES: dict[str, list[float]] = {
    "many": np.random.default_rng(0).normal(10, 1, 200).tolist(),
    "few": [9.0, 10.0, 11.0],
    "two": [9.0, 10.0],
    "one of several groups": [10.0],
    "all the same": [10.0] * 40,
    "all zero": [0.0] * 40,
    "one outlier": [10.0] * 39 + [30.0],
    "tiny": [1e-6, 2e-6, 3e-6],
}


@pytest.mark.parametrize("scores", SCORES.values(), ids=SCORES.keys())
def test_no_good_image_is_rejected_and_the_band_is_not_empty(scores: list[float]) -> None:
    thresholds = calibrate(scores).thresholds
    assert thresholds.reject > max(scores)
    assert thresholds.reject > thresholds.review
    assert np.isfinite([thresholds.review, thresholds.reject]).all()


def test_an_odd_image_among_many_is_named_and_left_to_a_person() -> None:
    calibration = calibrate([*SCORES["many"], 40.0], names=[f"{n}.png" for n in range(201)])
    plain = calibrate(SCORES["many"])
    assert calibration.thresholds.verdict(40.0) is Verdict.REVIEW
    assert calibration.thresholds.review == pytest.approx(plain.thresholds.review, rel=0.03)
    assert "1 of 201 good images score far above the others" in calibration.warnings[0]
    assert "200.png" in calibration.warnings[0]
    assert not plain.warnings


@pytest.mark.parametrize("name", ["many", "few", "two", "all the same", "tiny"])
def test_usual_good_images_are_not_flagged(name: str) -> None:
    assert max(SCORES[name]) < calibrate(SCORES[name]).thresholds.review


def test_few_images_are_all_believed_to_be_good() -> None:
    assert calibrate([10.0] * 8 + [10.1, 30.0]).thresholds.review > 30.0


@pytest.mark.parametrize("name", ["many", "few", "two", "all the same", "tiny"])
def test_a_score_far_above_all_good_ones_is_rejected(name: str) -> None:
    scores = np.asarray(SCORES[name])
    assert calibrate(scores).thresholds.verdict(float(scores.max() * 5)) is Verdict.REJECT


def test_the_review_threshold_holds_what_it_says_of_an_exponential_tail() -> None:
    random = np.random.default_rng(1)
    shares = []
    for _ in range(50):
        thresholds = calibrate(random.exponential(1, 100) + 5).thresholds
        shares.append(np.exp(5 - thresholds.review))
    assert 1 / 300 < np.mean(shares) < 1 / 60


def test_more_good_images_do_not_widen_the_promise() -> None:
    few, many = calibrate(SCORES["few"]), calibrate(SCORES["many"])
    assert "1 good part in 4 " in few.promise
    assert "1 good part in 201 " in many.promise


@pytest.mark.parametrize(("count", "warned"), [(2, True), (19, True), (20, False)])
def test_few_images_are_said(count: int, warned: bool) -> None:
    assert bool(calibrate(np.linspace(9, 10, count)).warnings) is warned


def test_one_image_gives_a_wide_band_and_a_loud_warning() -> None:
    calibration = calibrate([8.0, 9.0, 10.0], method="mirrored")
    assert calibration.thresholds.review == 8.0
    assert calibration.thresholds.reject == 20.0
    assert "single image" in calibration.warnings[0]
    assert "nothing can be promised" in calibration.promise


def test_one_image_without_any_texture_still_has_a_band() -> None:
    thresholds = calibrate([0.0, 0.0, 0.0], method="mirrored").thresholds
    assert thresholds.reject > thresholds.review == 0.0


@pytest.mark.parametrize("scores", [[], [float("nan")], [1.0, float("inf")]])
def test_scores_that_are_none_or_not_finite_are_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="held-out scores"):
        calibrate(scores)


def test_defects_are_counted_and_move_nothing() -> None:
    plain = calibrate(SCORES["many"])
    between = (plain.thresholds.review + plain.thresholds.reject) / 2
    told = calibrate(SCORES["many"], defects=[5.0, between, 100.0])
    assert told.thresholds == plain.thresholds
    assert told.defects is not None
    assert (told.defects.n, told.defects.flagged, told.defects.rejected) == (3, 2, 1)


def test_the_evidence_survives_json() -> None:
    calibration = calibrate(SCORES["few"], warnings=["a copy"], defects=[50.0])
    assert json.loads(calibration.model_dump_json())["thresholds"]["review"] > 0
    assert Calibration.model_validate_json(calibration.model_dump_json()) == calibration
