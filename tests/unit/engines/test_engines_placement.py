import numpy as np
import pytest

from partgate_engines import NothingToJudge
from partgate_engines._placement import Placement, place
from partgate_station import ConfigError, Region

GRID = (8, 8)


def rectangle(left: float, top: float, right: float, bottom: float, **use: str) -> Region:
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return Region.model_validate({"polygon": corners, **use})


def placed(*regions: Region) -> Placement:
    return place(height_px=160, width_px=320, regions=regions, size_px=64, grid=GRID)


def test_without_regions_all_of_the_frame_is_judged() -> None:
    placement = placed()
    assert placement.box == (0, 0, 320, 160)
    assert placement.rows.shape == (64, 160)
    assert placement.columns.shape == (320, 64)
    assert placement.mask.all()


def test_the_box_is_the_smallest_around_all_that_is_inspected() -> None:
    placement = placed(rectangle(10.5, 20, 50, 60), rectangle(100, 30, 200.2, 90))
    assert placement.box == (10, 20, 201, 90)
    assert placement.rows.shape == (64, 70)
    assert placement.columns.shape == (191, 64)


def test_what_lies_between_two_inspected_regions_is_not_judged() -> None:
    placement = placed(rectangle(0, 0, 80, 160), rectangle(240, 0, 320, 160))
    np.testing.assert_array_equal(placement.mask[0], np.tile([1, 1, 0, 0, 0, 0, 1, 1], (8, 1)))


def test_an_ignored_region_is_not_judged() -> None:
    placement = placed(rectangle(80, 40, 160, 80, use="ignore"))
    expected = np.ones(GRID)
    expected[2:4, 2:4] = 0
    assert placement.box == (0, 0, 320, 160)
    np.testing.assert_array_equal(placement.mask[0], expected)


def test_a_patch_that_is_ignored_by_less_than_half_is_judged() -> None:
    assert placed(rectangle(0, 0, 15, 20, use="ignore")).mask.all()


def test_a_thin_inspected_region_is_judged_in_every_patch_it_touches() -> None:
    placement = placed(rectangle(0, 0, 2, 160), rectangle(318, 0, 320, 160))
    np.testing.assert_array_equal(placement.mask[0], np.tile([1, 0, 0, 0, 0, 0, 0, 1], (8, 1)))


def test_regions_that_leave_nothing_are_refused() -> None:
    with pytest.raises(NothingToJudge, match="320×160"):
        placed(rectangle(10, 10, 100, 100), rectangle(0, 0, 320, 160, use="ignore"))


def test_a_region_outside_the_frame_is_named() -> None:
    with pytest.raises(ConfigError, match=r"regions\[1\]: vertex 1 \(400, 0\) outside 320×160"):
        placed(rectangle(0, 0, 10, 10), rectangle(0, 0, 400, 10))
