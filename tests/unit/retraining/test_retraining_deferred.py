"""Images that are decoded when they are asked for, and the time that each step takes."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from partgate.retraining import DeferredImages, StepTimes, read_images
from partgate_engines.anomaly import quiet
from partgate_station import DataError


class Loads:
    """Counts how often each image is decoded."""

    def __init__(self, count: int) -> None:
        self.times = [0] * count

    def entries(self) -> list[tuple[str, "Load"]]:
        return [(f"{n}.png", Load(self, n)) for n in range(len(self.times))]


class Load:
    def __init__(self, loads: Loads, number: int) -> None:
        self.loads, self.number = loads, number

    def __call__(self) -> NDArray[np.uint8]:
        self.loads.times[self.number] += 1
        return np.full((10, 10 + self.number), self.number, dtype=np.uint8)


def test_what_fits_stays_decoded_and_the_rest_is_decoded_again() -> None:
    loads = Loads(5)
    images = DeferredImages(loads.entries(), kept_bytes=230)  # 100 and 110 fit, 120 no more
    for _ in range(3):
        assert [int(image.pixels[0, 0]) for image in images] == [0, 1, 2, 3, 4]
    assert loads.times == [1, 1, 3, 3, 3]
    assert images[-1].origin == "4.png"
    assert [image.origin for image in images[1:3]] == ["1.png", "2.png"]
    with pytest.raises(IndexError):
        images[5]


def test_some_of_them_take_along_what_is_decoded_and_known() -> None:
    loads = Loads(4)
    images = DeferredImages(loads.entries(), kept_bytes=210)
    assert len(list(images)) == 4
    some = images.only([1, 3])
    assert [image.origin for image in some] == ["1.png", "3.png"]
    assert [some.shape(0), some.shape(1)] == [(10, 11), (10, 13)]
    assert loads.times == [1, 1, 1, 2]


def test_parts_of_them_decode_nothing_by_themselves_and_keep_each_image_once() -> None:
    loads = Loads(4)
    images = DeferredImages(loads.entries())
    first, then = images[:3], images[3:]
    assert (len(first), len(then), loads.times) == (3, 1, [0] * 4)
    assert then[0] is images[3]
    assert first.only([2])[0] is images[2]
    assert loads.times == [0, 0, 1, 1]


def test_a_folder_is_read_once_and_bad_files_are_named(tmp_path: Path) -> None:
    for n in range(3):
        cv2.imwrite(str(tmp_path / f"{n}.png"), np.full((40, 50), n, dtype=np.uint8))
    (tmp_path / "1b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 4 images cannot be used:\n.*1b\.png"):
        read_images(tmp_path, skip_bad=False, progress=quiet)
    read = read_images(tmp_path, skip_bad=True, progress=quiet)
    assert [int(image.pixels[0, 0]) for image in read.images] == [0, 1, 2]
    assert len(read.skipped) == 1
    assert read.images[0] is read.images[0]


def test_a_folder_of_links_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((40, 50), dtype=np.uint8))
    (tmp_path / "good" / "0.png").symlink_to(tmp_path / "0.png")
    with pytest.raises(DataError, match=r"no images .*skipped 1: 0\.png: a link, which is not followed"):
        read_images(tmp_path / "good", skip_bad=False, progress=quiet)


def test_seconds_go_to_the_step_that_took_them() -> None:
    now = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0])
    told: list[tuple[str, int, int]] = []
    times = StepTimes(lambda *step: told.append(step), clock=lambda: next(now))
    times("graph", 0, 1)
    times("graph", 1, 1)
    times("features", 1, 2)
    times("features", 2, 2)
    times("scores", 0, 1)
    assert times.seconds() == {"graph": 2, "features": 7}
    assert told[0] == ("graph", 0, 1)
    assert len(told) == 5
    assert StepTimes.of(times) is times
