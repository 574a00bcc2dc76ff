"""A bank that changes: in which order images come, taking them out again, and who vouches for what."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines import Bundle, ImagesRefused, MemoryBank, Source, open_runtime
from partgate_engines.anomaly import (
    Budget,
    GoodImage,
    LearnSettings,
    Witness,
    budget_of,
    forget,
    learn,
    near_duplicates,
    positions_of,
    rows_by_image,
    update,
)
from partgate_station import ConfigError, Region, Verdict

Pixels = NDArray[np.uint8]
Draw = Callable[..., Pixels]

# docs/decisions/0019: the farthest that two orders of arrival may lie apart, as a share of the score.
ORDER_TOLERANCE = 0.15


def scores(bundle: Bundle, images: Sequence[Pixels]) -> NDArray[np.float64]:
    runtime = open_runtime(bundle)
    found = [runtime.judge(pixels).score for pixels in images]
    runtime.close()
    return np.array(found)


def arrived(
    bundle: Bundle, good: Sequence[GoodImage], late: Sequence[GoodImage], order: Sequence[int], folder: Path
) -> Bundle:
    """Return the product after images came six at a time."""
    current, known = bundle, [*good]
    for first in range(0, len(order), 6):
        added = [late[number] for number in order[first : first + 6]]
        current = update(current, good=known, added=added).save(folder, product="weave")
        known += added
    return current


def test_the_order_of_arrival_matters_little(
    draw: Draw, settings: LearnSettings, graphs: Path, tmp_path: Path
) -> None:
    def shaded(seed: int, *, defect: bool = False) -> Pixels:
        """Draw a part whose light comes more from one side or the other."""
        slope = np.random.default_rng(seed).uniform(-0.4, 0.4)
        light = 1 + slope * np.linspace(-1, 1, 80)
        return np.clip(draw(seed, defect=defect) * light, 0, 255).astype(np.uint8)

    images = [GoodImage(pixels=shaded(seed), origin=str(seed)) for seed in range(30)]
    larger = replace(settings, bank_rows=400)
    first = learn(images[:12], settings=larger, graphs=graphs).save(tmp_path, product="weave")
    late, random = images[12:], np.random.default_rng(1)
    banks = [
        arrived(first, images[:12], late, order, tmp_path)
        for order in (range(18), range(17, -1, -1), random.permutation(18).tolist())
    ]
    shown = [*(shaded(seed) for seed in range(100, 115)), *(shaded(seed, defect=True) for seed in range(5))]
    found = np.array([scores(bundle, shown) for bundle in banks])
    apart = (found.max(axis=0) - found.min(axis=0)) / found.mean(axis=0)
    assert 0 < apart.max() <= ORDER_TOLERANCE
    assert np.median(apart) <= ORDER_TOLERANCE / 3
    at_once = learn(images, settings=larger, graphs=graphs).save(tmp_path, product="weave")
    assert abs(found.mean(axis=0) / scores(at_once, shown) - 1).max() <= ORDER_TOLERANCE


@pytest.fixture
def poisoned(
    draw: Draw, good: Sequence[GoodImage], settings: LearnSettings, graphs: Path, tmp_path: Path
) -> tuple[Bundle, list[GoodImage]]:
    """A product that learned a scratch as good, from image 7, and what it was learned from."""
    images = [*good]
    images[7] = GoodImage(pixels=draw(7, defect=True), origin="part:bad")
    as_given = LearnSettings(size_px=settings.size_px, bank_rows=settings.bank_rows, keep_outliers=True)
    return learn(images, settings=as_given, graphs=graphs).save(tmp_path, product="weave"), images


def test_what_a_forgotten_image_brought_is_gone_and_flagged_again(
    poisoned: tuple[Bundle, list[GoodImage]], draw: Draw, tmp_path: Path
) -> None:
    bundle, images = poisoned
    bad = [images[7].pixels]
    assert bundle.manifest.calibration.thresholds.verdict(float(scores(bundle, bad)[0])) is Verdict.ACCEPT
    better = forget(bundle, good=images, forgotten=[7]).save(tmp_path, product="weave")
    manifest, old, new = better.manifest, bundle.bank(), better.bank()
    assert manifest.calibration.thresholds.verdict(float(scores(better, bad)[0])) is not Verdict.ACCEPT
    assert [source.origin for source in manifest.good] == [n.origin for n in images if n is not images[7]]
    assert manifest.parent == bundle.id
    assert len(new.rows) == len(old.rows), "other images' patches take the places"
    known = {row.tobytes(): int(n) - (n > 7) for row, n in zip(old.rows, old.origin, strict=True) if n != 7}
    brought = {row.tobytes() for row in old.rows[old.origin == 7]}
    found = {row.tobytes(): int(n) for row, n in zip(new.rows, new.origin, strict=True)}
    assert brought
    assert not brought & set(found)
    assert known.items() <= found.items(), "the other rows stay, under their images' new numbers"
    assert len(manifest.calibration.scores) == 29


def test_another_budget_is_calibrated_for_and_kept_by_the_next_change(
    good: Sequence[GoodImage], draw: Draw, settings: LearnSettings, graphs: Path, tmp_path: Path
) -> None:
    bundle = learn(good[:20], settings=settings, graphs=graphs).save(tmp_path, product="weave")
    asked = Budget(review_one_in=5, reject_one_in=50, confidence=0.8)
    known, added = [*good[:20]], [GoodImage(pixels=draw(900), origin="part:new")]
    better = update(bundle, good=known, added=added, budget=asked).save(tmp_path, product="weave")
    assert budget_of(bundle.manifest.calibration) == Budget()
    assert budget_of(better.manifest.calibration) == asked
    again = forget(better, good=[*known, *added], forgotten=[3])
    assert budget_of(again.calibration) == asked
    assert (
        budget_of(forget(better, good=[*known, *added], forgotten=[3], budget=Budget()).calibration)
        == Budget()
    )


def test_what_was_forgotten_can_be_all_but_the_last(
    bundle: Bundle, good: Sequence[GoodImage], tmp_path: Path
) -> None:
    one = forget(bundle, good=good, forgotten=range(1, 30)).save(tmp_path, product="weave")
    assert one.manifest.n_good == 1
    assert one.manifest.calibration.method == "mirrored"
    with pytest.raises(ImagesRefused, match="all 30 good images would be forgotten"):
        forget(bundle, good=good, forgotten=range(30))
    with pytest.raises(IndexError):
        forget(bundle, good=good, forgotten=[30])
    with pytest.raises(ImagesRefused, match="learned from 30 images, 29 are given"):
        forget(bundle, good=good[1:], forgotten=[0])


def test_who_vouches_for_a_place(poisoned: tuple[Bundle, list[GoodImage]], draw: Draw) -> None:
    bundle, images = poisoned
    y, x = np.argwhere(images[7].pixels == 250)[12]
    witness = Witness(bundle)
    found = witness.trace(images[7], at=(float(x), float(y)), count=3)
    left, top, right, bottom = found.box
    assert left <= x < right
    assert top <= y < bottom
    nearest, others = found.vouchers[0], found.vouchers[1:]
    assert (nearest.position, nearest.origin) == (7, "part:bad")
    assert nearest.distance == pytest.approx(found.distance, abs=0.1)
    assert nearest.duplicates >= 1
    assert [one.duplicates for one in others] == [0, 0], "nobody else has seen a scratch"
    assert others[0].distance > 3 * max(nearest.distance, 0.5)
    score, held_out = witness.held_out(images[7], 7)
    assert score > bundle.manifest.calibration.thresholds.review
    assert held_out.max() > witness.judged(images[7])[1].max()


def test_without_a_place_the_worst_is_traced(bundle: Bundle, draw: Draw) -> None:
    bad = draw(50, defect=True)
    found = Witness(bundle).trace(GoodImage(pixels=bad, origin="new.png"))
    left, top, right, bottom = found.box
    assert (bad[top:bottom, left:right] == 250).any()
    assert found.vouchers[0].duplicates == 0
    assert found.distance > found.within


def test_a_place_that_is_not_judged_has_no_voucher(bundle: Bundle, good: Sequence[GoodImage]) -> None:
    stripe = Region(use="ignore", polygon=((0, 0), (80, 0), (80, 24), (0, 24)))
    witness = Witness(bundle, (stripe,))
    assert witness.trace(good[0], at=(40, 60)).vouchers
    for place in ((40.0, 5.0), (80.0, 60.0), (-1.0, 60.0)):
        with pytest.raises(ConfigError, match="nothing is judged there"):
            witness.trace(good[0], at=place)


def test_rows_near_a_patch() -> None:
    rows = np.array([[0, 0], [3, 4], [0, 1], [9, 9]], dtype=np.float32)
    bank = MemoryBank(rows=rows, origin=np.array([0, 1, 1, 2], dtype=np.int32))
    found, distance = near_duplicates(bank, np.zeros(2, dtype=np.float32), within=5)
    assert found.tolist() == [0, 2, 1]
    assert distance.tolist() == [0, 1, 5]
    assert rows_by_image(bank, 4).tolist() == [1, 2, 1, 0]


def test_images_are_found_by_origin_by_file_name_by_part_and_by_their_pixels() -> None:
    origins = ["good/a.png", "good/b.png", "part:7", "more/c.png"]
    sources = [
        Source(origin=name, pixels_sha256=digit * 64) for name, digit in zip(origins, "abca", strict=True)
    ]
    names = ["a.png", "good/b.png", "7", "part:7", ".png", "unknown"]
    assert positions_of(sources, names) == {
        "a.png": (0, 3), "good/b.png": (1,), "7": (2,), "part:7": (2,), ".png": (), "unknown": ()
    }  # fmt: skip
