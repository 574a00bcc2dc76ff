"""Which images that somebody gives come to a model, and which of those that come are odd."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate.records import Finding, Home, ImageStore, LearnedImage
from partgate.retraining._newcomers import FolderImages, keep_given, unlike_others
from partgate.retraining._reviewed import ReviewedFrame
from partgate_cameras import learn_reference
from partgate_engines.anomaly import GoodImage
from partgate_station import DataError, Recipe, Thresholds, Verdict

RANDOM = np.random.default_rng(4)


def picture(*, height_px: int = 48, width_px: int = 64) -> NDArray[np.uint8]:
    return RANDOM.integers(60, 190, (height_px, width_px), dtype=np.uint8)


LEARNED = [picture() for _ in range(6)]
REFERENCE = learn_reference(LEARNED)
assert REFERENCE is not None
RECIPE = Recipe(
    product="tile", thresholds=Thresholds(review=10.0, reject=20.0), image_references=(REFERENCE,)
)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(Home.open(tmp_path / "home"))


def named(*images: NDArray[np.uint8]) -> list[GoodImage]:
    return [GoodImage(pixels=image, origin=f"lot/{number}.png") for number, image in enumerate(images)]


def kept(
    store: ImageStore,
    given: Sequence[GoodImage],
    *,
    snapshot: Sequence[LearnedImage] = (),
    defective: Mapping[str, str] | None = None,
    forgotten: Sequence[str] = (),
    recipe: Recipe = RECIPE,
    skip_bad: bool = False,
) -> FolderImages:
    return keep_given(
        store,
        given,
        recipe=recipe,
        snapshot=snapshot,
        defective=defective or {},
        forgotten=forgotten,
        skip_bad=skip_bad,
        progress=lambda _step, _done, _total: None,
    )


def test_images_come_once_and_lie_in_the_store(store: ImageStore) -> None:
    first, second = picture(), picture()
    known = LearnedImage(image_sha256=store.put(LEARNED[0]), origin="a.png", finding=Finding.GOOD)
    found = kept(store, named(first, LEARNED[0], second, first), snapshot=[known])
    assert [entry.origin for entry in found.images] == ["lot/0.png", "lot/2.png"]
    assert (found.known, found.forgotten, found.misfits) == (2, (), ())
    for entry, image in zip(found.images, (first, second), strict=True):
        np.testing.assert_array_equal(store.get(entry.image_sha256), image)
        assert (entry.finding, entry.part_id) == (Finding.GOOD, None)


def test_two_pictures_never_share_a_name(store: ImageStore) -> None:
    known = LearnedImage(image_sha256="0" * 64, origin="lot/0.png", finding=Finding.GOOD)
    (entry,) = kept(store, named(picture()), snapshot=[known]).images
    assert entry.origin == f"lot/0.png ({entry.image_sha256[:8]})"


def test_what_was_forgotten_does_not_come_back(store: ImageStore) -> None:
    cracked, good = picture(), picture()
    found = kept(store, named(cracked, good), forgotten=[store.put(cracked)])
    assert [entry.origin for entry in found.images] == ["lot/1.png"]
    assert (found.known, found.forgotten) == (0, ("lot/0.png",))


def test_what_is_known_to_be_defective_is_refused_before_anything_is_kept(
    store: ImageStore, tmp_path: Path
) -> None:
    cracked, good = picture(), picture()
    found = {ImageStore.hash_of(cracked): "trigger 7 of one, part:x"}
    with pytest.raises(DataError, match="1 image is given as good and known to be defective") as refused:
        kept(store, named(good, cracked), defective=found, skip_bad=True)
    assert "lot/1.png (defective: trigger 7 of one, part:x)" in str(refused.value)
    assert list((tmp_path / "home" / "images").glob("*/*.jxl")) == []
    assert len(kept(store, named(good), defective=found).images) == 1


def test_images_of_another_kind_are_named_before_anything_is_kept(store: ImageStore) -> None:
    good, small = picture(), picture(height_px=24, width_px=32)
    with pytest.raises(DataError, match="1 of 2 images cannot be used") as refused:
        kept(store, named(good, small))
    assert "lot/1.png: the frame is 32×24, the product was learned from 64×48" in str(refused.value)
    found = kept(store, named(good, small), skip_bad=True)
    assert [entry.origin for entry in found.images] == ["lot/0.png"]
    assert len(found.misfits) == 1


def test_where_each_camera_has_its_own_look_one_of_them_is_enough(store: ImageStore) -> None:
    wide = learn_reference([picture(width_px=128) for _ in range(6)])
    assert wide is not None
    references = (
        RECIPE.image_references[0].model_copy(update={"camera_id": "top"}),
        wide.model_copy(update={"camera_id": "side"}),
    )
    both = RECIPE.model_copy(update={"image_references": references})
    given = named(picture(), picture(width_px=128))
    assert len(kept(store, given, recipe=both).images) == 2
    with pytest.raises(DataError, match="1 of 1 images"):
        kept(store, named(picture(width_px=96)), recipe=both)


def overturned(number: int) -> ReviewedFrame:
    return ReviewedFrame(
        part_id=uuid.uuid4(),
        station_id="one",
        trigger_id=number,
        image_sha256=str(number),
        finding=Finding.GOOD,
        verdict=Verdict.REJECT,
    )


def entry_of(frame: ReviewedFrame) -> LearnedImage:
    return LearnedImage(
        image_sha256=frame.image_sha256, origin=frame.origin, finding=Finding.GOOD, part_id=frame.part_id
    )


def test_images_unlike_the_good_ones_known_before_are_told() -> None:
    like, odd, unlocated = (overturned(number) for number in (1, 2, 3))
    oddest = replace(entry_of(odd), origin="lot/7.png", part_id=None)
    came = [entry_of(like), entry_of(odd), oddest, entry_of(unlocated)]
    frames = {frame.origin: frame for frame in (like, odd, unlocated)}
    last = [22.0, 40.0, 50.0, float("nan")]
    known = np.linspace(18, 22, 20)
    found = unlike_others(came, np.array([*known, *last], dtype=np.float32), 60.0, frames)
    assert [(one["image"], one["station"], one["trigger"], one["score"]) for one in found] == [
        ("lot/7.png", None, None, 50.0),
        (odd.origin, "one", 2, 40.0),
    ]
    assert 22 < found[0]["limit"] < 40
    # Too few images are known to tell what is usual: the reject threshold decides.
    few = unlike_others(came, np.array([*known[:5], *last], dtype=np.float32), 45.0, frames)
    assert [(one["image"], one["limit"]) for one in few] == [("lot/7.png", 45.0)]
