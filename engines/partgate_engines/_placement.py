"""Where in a frame the graph looks: the box, its tiles, their resize, and which patches count."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from partgate_engines._errors import NothingToJudge
from partgate_engines._manifest import Tiling
from partgate_engines._resize import reduced, reduction, resize_matrix
from partgate_engines._tiles import Box, Grid, Layout, inspected_box, lay_out
from partgate_station import RecipeSettings, Region

_NOTHING = 1e-9  # of a patch: what is left of it where polygons only touch

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What the graph needs to know of a frame's size and of the regions in it.

    Convention: t tiles of one size, gh x gw patches each; GH x GW cells in the map of the whole box.
    """

    box: Box
    """(left, top, right, bottom) in pixels of the frame: the smallest box around what is inspected."""

    corners: tuple[tuple[int, int], ...]
    """(left, top) in pixels of the frame of every tile in which something is judged."""

    tile_size: tuple[int, int]
    """Height and width of a tile in pixels of the frame: the box's, where it is one tile."""

    factor: int
    """A tile is averaged over squares of this many pixels first; 1 where it is not large."""

    rows: NDArray[np.float32]
    """(size, tile height / factor), resizes the rows."""

    columns: NDArray[np.float32]
    """(tile width / factor, size), resizes the columns."""

    mask: NDArray[np.float32]
    """(t, gh, gw), 1 where a patch is judged, 0 where it is not, or where a neighbouring tile judges."""

    cells: NDArray[np.intp]
    """(GH, GW), the patch that judges each cell, counted through all tiles; -1 where none does."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels of what the graph gets to see of a tile."""
        return self.rows.shape[1], self.columns.shape[0]

    def cut(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what the graph gets to see of a frame: its tiles, averaged.

        Args:
            frame: (h, w, c) uint8, of the size the placement was made for.

        Returns:
            (t, *shape, c) uint8; a view where there is one tile and nothing had to be averaged.
        """
        height_px, width_px = self.tile_size
        tiles = [
            reduced(frame[top : top + height_px, left : left + width_px], self.factor)
            for left, top in self.corners
        ]
        return tiles[0][None] if len(tiles) == 1 else np.stack(tiles)

    def stitch(self, values: NDArray[Value]) -> NDArray[Value]:
        """Return what the tiles say of their patches as one map of the whole box.

        Args:
            values: (t, gh, gw) or (t, gh, gw, d), 0 where a patch is not judged.

        Returns:
            (GH, GW) or (GH, GW, d), a new array; 0 where no tile lies.
        """
        patches = values.reshape(-1, *values.shape[3:])
        stitched = patches[np.maximum(self.cells, 0)]
        stitched[self.cells < 0] = 0
        return stitched


def place(
    *,
    height_px: int,
    width_px: int,
    regions: Sequence[Region],
    size_px: int,
    grid: Grid,
    tiling: Tiling | None = None,
) -> Placement:
    """Work out where the graph looks in frames of one size.

    A patch is judged if any of it lies in an `inspect` region (or there is none) and less than half
    of it in an `ignore` region: at the edge of what is inspected, too much is judged, not too little.
    Where tiles overlap, each patch is judged by the tile in which it lies farther from the border.

    Raises:
        ConfigError: a region does not fit into the frame, or there would be too many tiles.
        NothingToJudge: the regions leave no patch.
    """
    RecipeSettings(regions=tuple(regions)).check_regions(width_px=width_px, height_px=height_px)
    box = inspected_box(regions, width_px=width_px, height_px=height_px)
    layout = lay_out(box, grid, tiling)
    judged = _judged(regions, box, layout)
    if not judged.any():
        raise NothingToJudge(
            f"the {len(regions)} regions leave nothing of a frame of {width_px}×{height_px} to judge;"
            " make an inspect region larger or an ignore region smaller"
        )
    corners, mask, cells = _tiles(judged, layout)
    tile_size = layout.rows.tile_px, layout.columns.tile_px
    factor = reduction(*tile_size, size_px)
    return Placement(
        box=box,
        corners=tuple((box[0] + x, box[1] + y) for x, y in corners),
        tile_size=tile_size,
        factor=factor,
        rows=resize_matrix(ceil(tile_size[0] / factor), size_px),
        columns=np.ascontiguousarray(resize_matrix(ceil(tile_size[1] / factor), size_px).T),
        mask=mask,
        cells=cells,
    )


def _tiles(
    judged: NDArray[np.bool_], layout: Layout
) -> tuple[tuple[tuple[int, int], ...], NDArray[np.float32], NDArray[np.intp]]:
    """Return the corners, masks and cells of the tiles in which anything is judged."""
    used = np.unique(layout.tile[judged])
    number = np.full(len(layout.corners), -1)
    number[used] = np.arange(len(used))
    gh, gw = layout.grid
    mine = number[layout.tile]  # (GH, GW)
    cells = np.where(mine >= 0, mine * gh * gw + layout.patch, -1)
    mask = np.zeros(len(used) * gh * gw, dtype=np.float32)
    mask[cells[judged]] = 1
    return tuple(layout.corners[tile] for tile in used), mask.reshape(-1, gh, gw), cells


def _judged(regions: Sequence[Region], box: Box, layout: Layout) -> NDArray[np.bool_]:
    """Return which cells of the map are judged: (GH, GW)."""
    inspected = [region for region in regions if region.use == "inspect"]
    ignored = [region for region in regions if region.use == "ignore"]
    judged = np.ones(layout.shape, dtype=np.bool_)
    if inspected:
        judged &= _share(inspected, box, layout) > _NOTHING
    if ignored:
        judged &= _share(ignored, box, layout) < 0.5  # noqa: PLR2004 - half, as said in `place`
    return judged


def _share(regions: Sequence[Region], box: Box, layout: Layout) -> NDArray[np.float64]:
    """Return the share of every cell that lies in any of the regions: (GH, GW), 0..1."""
    import shapely  # 0.1 s of a station's start, for those whose recipes have regions

    xs, ys = box[0] + layout.columns.edges_px, box[1] + layout.rows.edges_px
    cells = shapely.box(xs[None, :, 0], ys[:, None, 0], xs[None, :, 1], ys[:, None, 1])
    covered = shapely.union_all([shapely.Polygon(region.polygon) for region in regions])
    shapely.prepare(cells)
    return np.asarray(shapely.area(shapely.intersection(cells, covered)) / shapely.area(cells))
