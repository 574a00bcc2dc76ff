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
    """(t, gh, gw), how many times a patch's distance counts: the sensitivity of its region, 1 without one, 0
    where it is not judged, or where a neighbouring tile judges."""

    cells: NDArray[np.intp]
    """(GH, GW), the patch that judges each cell, counted through all tiles; -1 where none does."""

    owners: NDArray[np.intp]
    """(GH, GW), the region that each cell belongs to, a position in those given; -1 where none does."""

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

    def plain(self, anomaly_map: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a map as it would be if every region counted once: (GH, GW), a new array."""
        weights = self.stitch(self.mask)
        return np.divide(anomaly_map, weights, out=np.zeros_like(anomaly_map), where=weights > 0)


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
    A patch belongs to one `inspect` region and counts as often as that one says: the smallest of those that
    hold half of it or more, so that one drawn inside another has a limit of its own; where none holds half,
    the one that holds most.

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
    owners = np.where(judged, _owners(regions, box, layout), -1)
    corners, mask, cells = _tiles(_weights(regions, owners, judged), layout)
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
        owners=owners,
    )


def _tiles(
    weights: NDArray[np.float32], layout: Layout
) -> tuple[tuple[tuple[int, int], ...], NDArray[np.float32], NDArray[np.intp]]:
    """Return the corners, masks and cells of the tiles in which anything is judged."""
    judged = weights > 0
    used = np.unique(layout.tile[judged])
    number = np.full(len(layout.corners), -1)
    number[used] = np.arange(len(used))
    gh, gw = layout.grid
    mine = number[layout.tile]  # (GH, GW)
    cells = np.where(mine >= 0, mine * gh * gw + layout.patch, -1)
    mask = np.zeros(len(used) * gh * gw, dtype=np.float32)
    mask[cells[judged]] = weights[judged]
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


def _owners(regions: Sequence[Region], box: Box, layout: Layout) -> NDArray[np.intp]:
    """Return the inspect region that each cell belongs to, judged or not: (GH, GW), -1 if there is none."""
    inspected = [number for number, region in enumerate(regions) if region.use == "inspect"]
    if len(inspected) < 2:  # noqa: PLR2004 - nothing to tell apart: no areas are worked out
        return np.full(layout.shape, inspected[0] if inspected else -1, dtype=np.intp)
    import shapely

    areas = np.array([shapely.Polygon(regions[number].polygon).area for number in inspected])
    shares = np.stack([_share([regions[number]], box, layout) for number in inspected])  # (r, GH, GW)
    holding = shares >= 0.5 - _NOTHING  # half, as said in `place`
    smallest = np.where(holding, areas[:, None, None], np.inf).argmin(axis=0)
    chosen = np.where(holding.any(axis=0), smallest, shares.argmax(axis=0))  # (GH, GW)
    return np.asarray(np.array(inspected, dtype=np.intp)[chosen])


def _weights(
    regions: Sequence[Region], owners: NDArray[np.intp], judged: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return how many times each cell counts: (GH, GW), 0 where it is not judged."""
    of_owner = np.array([*(region.weight for region in regions), 1.0], dtype=np.float32)  # [-1]: no region
    return np.where(judged, of_owner[owners], np.float32(0))


def _share(regions: Sequence[Region], box: Box, layout: Layout) -> NDArray[np.float64]:
    """Return the share of every cell that lies in any of the regions: (GH, GW), 0..1."""
    import shapely  # 0.1 s of a station's start, for those whose recipes have regions

    xs, ys = box[0] + layout.columns.edges_px, box[1] + layout.rows.edges_px
    cells = shapely.box(xs[None, :, 0], ys[:, None, 0], xs[None, :, 1], ys[:, None, 1])
    covered = shapely.union_all([shapely.Polygon(region.polygon) for region in regions])
    shapely.prepare(cells)
    return np.asarray(shapely.area(shapely.intersection(cells, covered)) / shapely.area(cells))
