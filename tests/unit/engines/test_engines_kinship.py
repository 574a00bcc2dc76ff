import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines import Source
from partgate_engines.anomaly import GoodImage, LearnSettings, _kinship, learn, update
from partgate_engines.anomaly._kinship import (
    alike,
    copies,
    copy_groups,
    describe,
    families,
    kin,
    parts_of,
    related,
)

Draw = Callable[..., NDArray[np.uint8]]


def parts(photographs: Sequence[int], *, noise: float = 0.5) -> NDArray[np.float32]:
    """Return descriptions of parts that were photographed so many times each."""
    random = np.random.default_rng(0)
    shown = [part for count in photographs for part in [random.normal(0, 1, 200)] * count]
    return np.array([part + random.normal(0, noise, 200) + 7 for part in shown], dtype=np.float32)


def groups(descriptions: NDArray[np.float32]) -> list[list[int]]:
    return [others.tolist() for others in alike(descriptions)]


def test_photographs_of_one_part_are_alike_and_of_others_are_not() -> None:
    expected: list[list[int]] = [[1, 2], [0, 2], [0, 1], [], [], [6], [5], *[[] for _ in range(20)]]
    assert groups(parts([3, 1, 1, 2, *[1] * 20])) == expected


def test_more_images_than_are_compared_at_once() -> None:
    found = groups(parts([1] * 600 + [2, 3]))
    assert found[:600] == [[]] * 600
    assert found[600:] == [[601], [600], [603, 604], [602, 604], [602, 603]]


def test_two_kinds_of_light_are_not_two_parts() -> None:
    assert not any(groups(parts([15, 15], noise=0.3)))


def test_whoever_is_like_a_crowd_is_not_its_kin_from_the_other_side_either() -> None:
    middle = np.eye(1, 40, dtype=np.float32)[0]
    away = np.sqrt(1 - 0.8**2) * np.eye(40, dtype=np.float32)[1:10]
    crowd = np.concatenate((middle[None], 0.8 * middle + away))  # nine are like the first, 0.64 each other
    opposite = -crowd
    found = groups(np.concatenate((crowd, opposite)))
    assert not any(found)


def test_a_hundred_and_more_are_a_kind_of_part_however_many_images_there_are() -> None:
    found = groups(parts([90, 150, *[1] * 700], noise=0.2))
    assert [len(others) for others in found] == [89] * 90 + [0] * 850


def test_kin_of_many_kinds_and_copies_take_little_memory() -> None:
    many = parts([400] * 5)
    digests = [f"{number // 1000:064x}" for number in range(2000)]
    some = [Source(origin=str(n), pixels_sha256=digest) for n, digest in enumerate(digests)]
    tracemalloc.start()
    found = related(some, many, first=0)
    together, numbers = kin(found), parts_of(found)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [len(own) for own in together] == [1000] * 2000, "as many copies of each of two images"
    assert together[0] is together[999]
    assert numbers == (0,) * 1000 + (1000,) * 1000
    assert peak < 16 * 2**20, "sets of every pair took over 200 MB"


def test_descriptions_beyond_their_room_find_the_same_kin(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = parts([3, 1, 2, *[1] * 30], noise=0.2)
    noise = np.random.default_rng(1).normal(0, 0.1, (36, 4000))
    rows = (np.repeat(rows, 20, axis=1) + noise).astype(np.float32)
    some = sources(*["a"] * 36)
    expected = related(some, rows.copy(), first=0)
    monkeypatch.setattr(_kinship, "_MOST_KEPT", 36 * 800)
    kept = _kinship.Descriptions(len(some))
    for position in reversed(range(len(rows))):
        kept.put(position, rows[position])
    assert kept.related(some, first=0) == expected
    assert [source.alike for source in expected[:6]] == [(1, 2), (0, 2), (0, 1), (), (5,), (4,)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_or_equal_images_are_no_trouble(count: int) -> None:
    assert not any(groups(np.ones((count, 9), dtype=np.float32)))


def test_what_is_not_judged_is_not_described() -> None:
    patches = np.random.default_rng(0).random((64, 5), dtype=np.float32)
    mask = np.ones((8, 8), dtype=np.float32)
    mask[0, 0] = 0
    changed = patches.copy()
    changed[0] = 99
    np.testing.assert_array_equal(describe(patches, mask), describe(changed, mask))
    assert describe(patches, mask).shape == (4 * 4 * 5,)


def sources(*digests: str) -> list[Source]:
    return [Source(origin=str(n), pixels_sha256=digest * 64) for n, digest in enumerate(digests)]


def test_copies_and_likes_are_held_out_together() -> None:
    some = sources("a", "b", "a", "c", "d")
    some[3] = some[3].model_copy(update={"alike": (4,)})
    expected = np.eye(5, dtype=np.bool_)
    expected[0, 2] = expected[2, 0] = expected[3, 4] = expected[4, 3] = True
    np.testing.assert_array_equal(families(some), expected)
    assert [own.tolist() for own in kin(some)] == [[0, 2], [1], [0, 2], [3, 4], [3, 4]]
    assert copies(some) == 1
    assert copy_groups(some) == ((0, 2),)
    assert parts_of(some) == (0, 1, 0, 3, 3)


def test_photographs_are_of_one_part_through_others_and_by_the_part_qa_took_them_from() -> None:
    some = sources(*"abcdef")
    some[0] = some[0].model_copy(update={"alike": (2,)})
    some[2] = some[2].model_copy(update={"alike": (4,)})
    some[1], some[5] = (some[n].model_copy(update={"origin": "part:7"}) for n in (1, 5))
    assert parts_of(some) == (0, 1, 0, 3, 0, 1)
    same_name = [source.model_copy(update={"origin": "image.png"}) for source in sources(*"abc")]
    assert parts_of(same_name) == (0, 1, 2), "files of one name lie in several folders"


def test_positions_count_from_the_first_image_of_all() -> None:
    found = related(sources(*"abcdef"), parts([2, *[1] * 4], noise=0.2), first=30)
    assert [source.alike for source in found[:3]] == [(31,), (30,), ()]


def test_frames_that_qa_took_from_one_part_are_held_out_together() -> None:
    some = sources(*"abcda")
    some[1], some[4] = (some[n].model_copy(update={"origin": "part:7"}) for n in (1, 4))
    assert [own.tolist() for own in kin(some)] == [[0, 1, 4], [0, 1, 4], [2], [3], [0, 1, 4]]


def shown(part: int, draw: Draw) -> NDArray[np.uint8]:
    """Draw a part that looks like no other."""
    shape = np.random.default_rng(part).integers(0, 170, (4, 4)).astype(np.uint8)
    large = np.kron(shape, np.ones((24, 20), dtype=np.uint8))
    return np.asarray(large + draw(part) // 8, dtype=np.uint8)


def test_new_photographs_of_parts_that_are_known_are_no_new_parts(
    draw: Draw, settings: LearnSettings, graphs: Path, tmp_path: Path
) -> None:
    good = [GoodImage(pixels=shown(part, draw), origin=f"{part}.png") for part in range(20)]
    brighter = [
        GoodImage(pixels=np.clip(one.pixels * 1.15, 0, 255).astype(np.uint8), origin=f"again/{one.origin}")
        for one in good[:10]
    ]
    learned = learn(good, settings=replace(settings, keep_outliers=True), graphs=graphs)
    assert learned.calibration.card is not None
    assert learned.calibration.card.parts == 20
    bundle = learned.save(tmp_path, product="weave")
    better = update(bundle, good=good, added=brighter)
    card = better.calibration.card
    assert card is not None
    assert (card.parts, card.photographs) == (20, 30)
    assert [source.alike for source in better.good[:10]] == [(20 + part,) for part in range(10)]
    assert better.calibration.method == "leave-one-out"
    # Held out together, a photograph scores about as high as the part did before it came.
    ratio = better.held_out_scores[20:] / learned.held_out_scores[:10]
    assert 0.8 < np.median(ratio) < 1.25
    at_once = learn([*good, *brighter], settings=replace(settings, keep_outliers=True), graphs=graphs)
    assert [source.alike for source in better.good] == [source.alike for source in at_once.good]


def test_a_part_photographed_twice_does_not_vouch_for_itself(
    draw: Draw, settings: LearnSettings, graphs: Path
) -> None:
    random = np.random.default_rng(0)
    images = []
    for part in range(6):
        shape = random.integers(0, 200, (4, 4)).astype(np.uint8)
        large = np.kron(shape, np.ones((24, 20), dtype=np.uint8))
        for exposure in range(2):
            light = (large * (1 - 0.05 * exposure)).astype(np.uint8) + draw(10 * part + exposure) // 8
            images.append(GoodImage(pixels=light.astype(np.uint8), origin=f"{part}-{exposure}"))
    learned = learn(images, settings=settings, graphs=graphs)
    found = [source.alike == (n ^ 1,) for n, source in enumerate(learned.good)]
    assert sum(found) >= 10
    assert any("seem to show the same part" in text for text in learned.calibration.warnings)
    single = learn(images[::2], settings=settings, graphs=graphs)
    ratio = np.median(learned.held_out_scores) / np.median(single.held_out_scores)
    assert 0.85 < ratio < 1.15
