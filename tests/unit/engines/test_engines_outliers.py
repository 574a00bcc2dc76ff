"""Bad images among the good ones."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines import Source
from partgate_engines.anomaly import GoodImage, LearnSettings, forget, learn, update
from partgate_engines.anomaly._outliers import LEAST_IMAGES, ONE_IN, odd_limit, odd_ones, told

Draw = Callable[..., NDArray[np.uint8]]


def sources(count: int) -> list[Source]:
    return [Source(origin=f"{n}.png", pixels_sha256="0" * 64) for n in range(count)]


@pytest.mark.parametrize("n", [10, 20, 40, 100, 400])
def test_one_good_image_in_five_hundred_is_taken_for_odd(n: int) -> None:
    random = np.random.default_rng(n)
    draws = 60_000 // n
    scores = 20 + random.gumbel(size=(draws, n))
    wrongly = sum(int((row > odd_limit(row)).sum()) for row in scores)
    assert 60 < wrongly < 180, f"of 60,000 scores, 120 are expected: 1 in {ONE_IN}"


def test_odd_scores_do_not_move_the_limit_much() -> None:
    random = np.random.default_rng(0)
    good = 20 + random.gumbel(size=100)
    with_odd = np.concatenate((good, np.full(10, 60.0)))
    assert odd_limit(with_odd) < odd_limit(good) + 2
    assert [one.position for one in odd_ones(with_odd, sources(110))] == list(range(100, 110))


def test_the_worst_is_named_first_with_its_score() -> None:
    random = np.random.default_rng(1)
    scores = np.concatenate((20 + random.gumbel(size=30), [55.0, 70.0, np.nan]))
    found = odd_ones(scores, sources(33))
    assert [(one.position, one.origin, one.score) for one in found] == [
        (31, "31.png", 70),
        (30, "30.png", 55),
    ]
    (text,) = told(found, 33)
    assert text.startswith("2 of 33 good images score above ")
    assert "31.png (70), 30.png (55)" in text
    assert told((), 33) == ()


@pytest.mark.parametrize(
    "scores",
    [
        np.full(40, 3.0),
        np.concatenate((np.full(39, 3.0), [3.2])),
        np.linspace(1, 2, LEAST_IMAGES - 1) ** 9,
        np.concatenate((np.full(30, 20.0), np.full(10, 60.0))),
    ],
    ids=["all the same", "within a margin", "too few to know", "too many to be odd"],
)
def test_nothing_is_odd_where_nobody_can_know(scores: NDArray[np.float64]) -> None:
    assert odd_ones(scores, sources(len(scores))) == ()


@pytest.fixture
def mixed(draw: Draw, good: Sequence[GoodImage]) -> list[GoodImage]:
    """Thirty good parts and two with a scratch among them."""
    images = [*good]
    images.insert(3, GoodImage(pixels=draw(500, defect=True), origin="bad-3.png"))
    images.insert(20, GoodImage(pixels=draw(501, defect=True), origin="bad-20.png"))
    return images


def test_a_bad_image_is_shown_and_not_learned(
    mixed: list[GoodImage], good: Sequence[GoodImage], settings: LearnSettings, graphs: Path
) -> None:
    learned = learn(mixed, settings=settings, graphs=graphs)
    assert {one.origin for one in learned.set_aside} == {"bad-3.png", "bad-20.png"}
    assert {one.position for one in learned.set_aside} == {3, 20}
    assert all(one.score > one.limit for one in learned.set_aside)
    assert [source.origin for source in learned.good] == [image.origin for image in good]
    assert [image.origin for image in learned.kept(mixed)] == [image.origin for image in good]
    assert any("2 of 32 good images" in warning for warning in learned.calibration.warnings)
    clean = learn(good, settings=settings, graphs=graphs)
    np.testing.assert_array_equal(learned.bank.rows, clean.bank.rows)
    np.testing.assert_array_equal(learned.bank.origin, clean.bank.origin)
    np.testing.assert_allclose(learned.held_out_scores, clean.held_out_scores)
    assert learned.calibration.thresholds == clean.calibration.thresholds


def test_what_was_set_aside_stays_in_the_card_when_images_come_and_go(
    mixed: list[GoodImage], draw: Draw, settings: LearnSettings, graphs: Path, tmp_path: Path
) -> None:
    learned = learn(mixed, settings=settings, graphs=graphs)
    known = [*learned.kept(mixed)]
    bundle = learned.save(tmp_path, product="weave")
    more = update(bundle, good=known, added=[GoodImage(pixels=draw(900), origin="new.png")])
    for one in (learned, more, forget(bundle, good=known, forgotten=[3])):
        assert one.calibration.card is not None
        assert one.calibration.card.set_aside == 2
        assert "2 set aside: of parts like those learned, about 1 good part in" in one.calibration.promise


def test_kinds_that_are_learned_again_keep_it_as_well(
    mixed: list[GoodImage], draw: Draw, settings: LearnSettings, graphs: Path, tmp_path: Path
) -> None:
    learned = learn(mixed, settings=replace(settings, kind="padim"), graphs=graphs)
    assert learned.set_aside
    bundle = learned.save(tmp_path, product="weave")
    known, new = [*learned.kept(mixed)], GoodImage(pixels=draw(900), origin="new.png")
    again = update(bundle, good=known, added=[new]).calibration.card
    assert again is not None
    assert again.set_aside == len(learned.set_aside)


def test_a_bad_image_is_learned_if_a_person_says_so(
    mixed: list[GoodImage], settings: LearnSettings, graphs: Path
) -> None:
    learned = learn(mixed, settings=replace(settings, keep_outliers=True), graphs=graphs)
    assert learned.set_aside == ()
    assert len(learned.good) == 32
    assert {3, 20} <= set(learned.bank.origin)
