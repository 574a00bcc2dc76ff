"""An image that is given as good and as defective is told by its pixels, under whatever name."""

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate.retraining._contradictions import SHOWN, refuse_both
from partgate_engines.anomaly import GoodImage
from partgate_station import DataError

RANDOM = np.random.default_rng(5)


def picture() -> NDArray[np.uint8]:
    return RANDOM.integers(0, 255, (32, 40), dtype=np.uint8)


def named(images: list[NDArray[np.uint8]], folder: str) -> list[GoodImage]:
    return [GoodImage(pixels=image, origin=f"{folder}/{number}.png") for number, image in enumerate(images)]


def quiet(_step: str, _done: int, _total: int) -> None:
    pass


def test_sets_that_share_nothing_may_be_learned() -> None:
    good = [picture() for _ in range(3)]
    refuse_both(named(good, "good"), named([picture()], "defective"), quiet)
    refuse_both(named(good, "good"), (), quiet)


def test_images_of_a_folder_within_the_good_ones_are_named() -> None:
    good, defective = [picture() for _ in range(3)], [picture() for _ in range(2)]
    inside = [GoodImage(pixels=one.pixels, origin=f"images/{one.origin}") for one in named(defective, "bad")]
    with pytest.raises(DataError, match="2 images are given as good and as defective") as refused:
        refuse_both([*named(good, "images"), *inside], named(defective, "bad"), quiet)
    assert "defective: images/bad/0.png, images/bad/1.png. Nothing was learned" in str(refused.value)


def test_a_copy_under_another_name_is_named_with_both() -> None:
    good, cracked = picture(), picture()
    with pytest.raises(DataError, match="1 image is given as good and as defective") as refused:
        refuse_both(named([good, cracked.copy()], "good"), named([cracked], "bad"), quiet)
    assert "good/1.png (defective: bad/0.png)" in str(refused.value)


def test_many_are_counted() -> None:
    many = [picture() for _ in range(SHOWN + 3)]
    with pytest.raises(DataError, match="23 images are given") as refused:
        refuse_both(named(many, "bad"), named(many, "bad"), quiet)
    assert f"bad/{SHOWN - 1}.png and 3 more" in str(refused.value)
