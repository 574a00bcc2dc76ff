"""Every pixel is judged, by one tile, and the map lies where the frame does."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from partgate_engines._manifest import Tiling
from partgate_engines._placement import Placement, place
from partgate_engines._tiles import MOST_TILES, Layout, lay_out
from partgate_station import ConfigError, Region

GRID = (8, 8)


def rectangle(left: float, top: float, right: float, bottom: float, **use: str) -> Region:
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return Region.model_validate({"polygon": corners, **use})


def placed(
    *regions: Region, width_px: int = 160, height_px: int = 160, tile_px: int = 64, size_px: int = 64
) -> Placement:
    return place(
        height_px=height_px,
        width_px=width_px,
        regions=regions,
        size_px=size_px,
        grid=GRID,
        tiling=Tiling.of(tile_px, patches=GRID[1]),
    )


def columns(length_px: int, tile_px: int, patches: int) -> Layout:
    return lay_out((0, 0, length_px, 1), (1, patches), Tiling.of(tile_px, patches=patches))


def test_tiles_of_one_size_overlap_and_the_last_is_shifted_inwards() -> None:
    placement = placed(width_px=150, height_px=64)
    # An eighth of 8 patches of 8 px is shared at least; 3 x 64 px for 150, spread at patch borders.
    assert placement.corners == ((0, 0), (48, 0), (86, 0))
    assert placement.tile_size == (64, 64)
    assert placement.shape == (64, 64)
    assert placement.mask.shape == (3, 8, 8)


def test_a_tile_as_large_as_the_graph_is_not_resized() -> None:
    placement = placed(width_px=640, height_px=640)
    np.testing.assert_array_equal(placement.rows, np.eye(64))
    np.testing.assert_array_equal(placement.columns, np.eye(64))
    assert placement.factor == 1


@pytest.mark.parametrize(
    ("width_px", "height_px", "tiles", "size"),
    [
        pytest.param(64, 64, 1, (64, 64), id="as large as a tile"),
        pytest.param(40, 50, 1, (50, 40), id="smaller than a tile"),
        pytest.param(40, 100, 2, (64, 40), id="narrower than a tile"),
        pytest.param(65, 64, 2, (64, 64), id="a pixel more"),
    ],
)
def test_frames_about_as_large_as_a_tile(
    width_px: int, height_px: int, tiles: int, size: tuple[int, int]
) -> None:
    placement = placed(width_px=width_px, height_px=height_px)
    assert len(placement.corners) == tiles
    assert placement.tile_size == size
    for left, top in placement.corners:
        assert left + size[1] <= width_px
        assert top + size[0] <= height_px


def test_without_tiling_the_frame_is_one_view_of_it() -> None:
    placement = place(height_px=160, width_px=320, regions=(), size_px=64, grid=GRID)
    frame = np.zeros((160, 320, 1), dtype=np.uint8)
    cut = placement.cut(frame)
    assert cut.shape == (1, 160, 320, 1)
    assert np.shares_memory(cut, frame)
    maps = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    np.testing.assert_array_equal(placement.stitch(maps), maps[0])


def test_every_tile_is_what_the_frame_shows_there() -> None:
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (150, 170, 3), dtype=np.uint8)
    placement = placed(width_px=170, height_px=150)
    cut = placement.cut(frame)
    assert cut.shape == (len(placement.corners), 64, 64, 3)
    for tile, (left, top) in zip(cut, placement.corners, strict=True):
        np.testing.assert_array_equal(tile, frame[top : top + 64, left : left + 64])


def test_large_tiles_are_averaged_first() -> None:
    placement = placed(width_px=1000, height_px=600, tile_px=300, size_px=64)
    assert placement.factor == 2
    assert placement.cut(np.full((600, 1000, 1), 7, np.uint8)).shape == (len(placement.corners), 150, 150, 1)


@example(length_px=2483, tile_px=33, patches=2)  # tiles of 16.5 px patches that touch
@given(
    length_px=st.integers(1, 5000),
    tile_px=st.integers(32, 700),
    patches=st.integers(2, 40),
)
def test_no_pixel_is_judged_by_none(length_px: int, tile_px: int, patches: int) -> None:
    axis = columns(length_px, tile_px, patches).columns
    begin, end = axis.edges_px.T
    patch_px = axis.tile_px / patches
    assert begin[0] == 0
    assert end[-1] == pytest.approx(length_px)
    # Tiles begin at whole pixels: half of one may be missing between two that do not meet.
    assert (begin[1:] - end[:-1] <= 0.5 + 1e-6).all()
    assert (np.diff(begin) > -1e-6).all()
    assert len(axis.tile) <= length_px / patch_px + len(axis.starts_px)


@given(length_px=st.integers(1, 5000), tile_px=st.integers(32, 700), patches=st.integers(4, 40))
def test_tiles_lie_inside_and_overlap(length_px: int, tile_px: int, patches: int) -> None:
    tiling = Tiling.of(tile_px, patches=patches)
    axis = columns(length_px, tile_px, patches).columns
    starts = np.array(axis.starts_px)
    assert starts[0] == 0
    assert starts[-1] + axis.tile_px == length_px
    shared = starts[:-1] + axis.tile_px - starts[1:]
    assert (shared >= tiling.overlap_px - 1).all()  # rounding to whole pixels
    # As few as it takes.
    stride = tile_px - tiling.overlap_px
    assert len(starts) == 1 or (len(starts) - 1) * stride + tiling.overlap_px < length_px


@given(length_px=st.integers(33, 2000), tile_px=st.integers(32, 300))
def test_a_patch_is_judged_where_it_lies_farther_from_the_border(length_px: int, tile_px: int) -> None:
    axis = columns(length_px, tile_px, 8).columns
    centres = axis.edges_px.mean(axis=1)
    starts = np.array(axis.starts_px)
    depth = np.minimum(centres[:, None] - starts, starts + axis.tile_px - centres[:, None])
    best = depth.max(axis=1)
    # The border between two tiles falls on a patch's, so half a patch may be lost, and where the last
    # tile does not meet the one before, another whole one.
    assert (depth[np.arange(len(centres)), axis.tile] >= best - 1.5 * axis.tile_px / 8 - 1).all()


def _brightness(placement: Placement, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what a graph would give whose distance is a patch's mean brightness, 8 px for a patch."""
    cut = placement.cut(frame)[..., 0].astype(np.float32)
    maps = cut.reshape(len(cut), 8, 8, 8, 8).mean(axis=(2, 4))
    return np.asarray(maps * placement.mask)


def test_the_stitched_map_shows_the_frame() -> None:
    random = np.random.default_rng(1)
    frame = random.integers(0, 256, (160, 240, 1), dtype=np.uint8)
    placement = placed(width_px=240, height_px=160)
    stitched = placement.stitch(_brightness(placement, frame))
    expected = frame[..., 0].astype(np.float32).reshape(20, 8, 30, 8).mean(axis=(1, 3))
    np.testing.assert_allclose(stitched, expected)
    # Each patch by exactly one tile.
    assert placement.mask.sum() == expected.size


@pytest.mark.parametrize("spot", [(3, 3), (75, 100), (149, 169), (60, 86), (100, 5)], ids=str)
def test_a_spot_shows_in_the_map_where_it_lies_in_the_frame(spot: tuple[int, int]) -> None:
    frame = np.zeros((150, 170, 1), dtype=np.uint8)
    frame[spot] = 255
    placement = placed(width_px=170, height_px=150)
    stitched = placement.stitch(_brightness(placement, frame))
    row, column = np.unravel_index(stitched.argmax(), stitched.shape)
    # Less than a patch off, although the last tiles were shifted inwards.
    assert abs((row + 0.5) * 150 / stitched.shape[0] - spot[0]) < 12
    assert abs((column + 0.5) * 170 / stitched.shape[1] - spot[1]) < 12


def test_tiles_in_which_nothing_is_judged_are_left_out() -> None:
    whole = placed(width_px=500, height_px=500)
    ring = [rectangle(0, 0, 500, 40), rectangle(0, 0, 40, 500), rectangle(480, 480, 500, 500)]
    placement = placed(*ring, width_px=500, height_px=500)
    assert placement.box == (0, 0, 500, 500)
    assert len(placement.corners) < len(whole.corners) / 2
    assert placement.mask.any(axis=(1, 2)).all()
    stitched = placement.stitch(placement.mask)
    assert stitched.shape == whole.stitch(whole.mask).shape
    assert stitched[:4].all()
    assert stitched[:, :4].all()
    assert not stitched[10:-10, 10:-10].any()


def test_what_is_ignored_is_ignored_in_every_tile() -> None:
    placement = placed(rectangle(48, 48, 112, 112, use="ignore"))
    stitched = placement.stitch(placement.mask)
    expected = np.ones((20, 20))
    expected[6:14, 6:14] = 0
    np.testing.assert_array_equal(stitched, expected)


def test_tiles_lie_in_the_box_of_what_is_inspected() -> None:
    placement = placed(rectangle(100, 200, 300, 280), width_px=640, height_px=480)
    assert placement.box == (100, 200, 300, 280)
    lefts, tops = zip(*placement.corners, strict=True)
    assert (min(lefts), min(tops)) == (100, 200)
    assert (max(lefts), max(tops)) == (300 - 64, 280 - 64)


def test_more_tiles_than_can_be_judged_are_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=rf"at most {MOST_TILES} are judged.*--tile-px"):
        placed(width_px=5472, height_px=3648, tile_px=64)


@pytest.mark.parametrize(
    ("tile_px", "patches", "overlap_px"),
    [(256, 32, 32), (64, 8, 8), (500, 32, 63), (64, 2, 32), (100, 4, 25)],
    ids=str,
)
def test_neighbours_share_about_an_eighth_in_whole_patches(
    tile_px: int, patches: int, overlap_px: int
) -> None:
    assert Tiling.of(tile_px, patches=patches).overlap_px == overlap_px


@pytest.mark.parametrize("wrong", [(64, 33), (64, -1), (0, 0)], ids=str)
def test_tilings_that_cannot_be_are_refused(wrong: Sequence[int]) -> None:
    with pytest.raises(ValidationError):
        Tiling(tile_px=wrong[0], overlap_px=wrong[1])
