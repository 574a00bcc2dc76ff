"""How a large frame is laid out in tiles: where each one begins, and which patch judges what."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from partgate_engines._manifest import Tiling
from partgate_station import ConfigError, Region

Box = tuple[int, int, int, int]
Grid = tuple[int, int]

MOST_TILES = 512
"""Of one frame. 20 Mpx in tiles of 256 px are 425."""

_HALF_A_PIXEL = 0.5  # tiles begin at whole pixels, so a patch's edge is known no better than this


@dataclass(frozen=True, slots=True, kw_only=True)
class TileAxis:
    """The tiles along one axis of the box, and the cells of the stitched map."""

    tile_px: int
    """The length of every tile: that of the box where it is shorter than a tile."""

    starts_px: tuple[int, ...]
    """Where each tile begins, from the box's edge."""

    tile: NDArray[np.intp]
    """(g,), the tile that judges each cell of the map."""

    patch: NDArray[np.intp]
    """(g,), which of that tile's patches it is."""

    edges_px: NDArray[np.float64]
    """(g, 2), where each cell begins and ends, from the box's edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The tiles of a box, numbered line by line."""

    rows: TileAxis
    columns: TileAxis
    grid: Grid
    """Patches of one tile."""

    @property
    def shape(self) -> Grid:
        """The stitched map's rows and columns."""
        return len(self.rows.tile), len(self.columns.tile)

    @property
    def corners(self) -> tuple[tuple[int, int], ...]:
        """Left and top of every tile, from the box's corner."""
        return tuple((x, y) for y in self.rows.starts_px for x in self.columns.starts_px)

    @property
    def tile(self) -> NDArray[np.intp]:
        """The number of the tile that judges each cell: shaped as the map."""
        return self.rows.tile[:, None] * len(self.columns.starts_px) + self.columns.tile[None]

    @property
    def patch(self) -> NDArray[np.intp]:
        """Which of that tile's patches each cell is, line by line: shaped as the map."""
        return self.rows.patch[:, None] * self.grid[1] + self.columns.patch[None]


def lay_out(box: Box, grid: Grid, tiling: Tiling | None) -> Layout:
    """Lay a box out in tiles of one size; without tiling, it is one tile.

    Args:
        box: (left, top, right, bottom) in pixels of the frame.
        grid: patches of a tile, from top to bottom and from left to right.
        tiling: None for one tile.

    Raises:
        ConfigError: the box would be more than 512 tiles.
    """
    left, top, right, bottom = box
    rows = _axis(bottom - top, grid[0], tiling)
    columns = _axis(right - left, grid[1], tiling)
    count = len(rows.starts_px) * len(columns.starts_px)
    if count > MOST_TILES:
        raise ConfigError(
            f"{right - left}×{bottom - top} pixels would be {count} tiles of {columns.tile_px}×{rows.tile_px}"
            f" px; at most {MOST_TILES} are judged: learn with larger tiles (--tile-px), or inspect less"
        )
    return Layout(rows=rows, columns=columns, grid=grid)


def inspected_box(regions: Sequence[Region], *, width_px: int, height_px: int) -> Box:
    """Return the smallest box around what is inspected: the whole frame if no region says it."""
    vertices = [vertex for region in regions if region.use == "inspect" for vertex in region.polygon]
    if not vertices:
        return 0, 0, width_px, height_px
    xs, ys = zip(*vertices, strict=True)
    return floor(min(xs)), floor(min(ys)), ceil(max(xs)), ceil(max(ys))


def _axis(length_px: int, patches: int, tiling: Tiling | None) -> TileAxis:
    tile_px = length_px if tiling is None else min(tiling.tile_px, length_px)
    overlap_px = 0 if tiling is None else tiling.overlap_px
    starts = _starts(length_px, tile_px, overlap_px, tile_px / patches)
    shares = _shares(starts, tile_px, patches)
    tile = np.repeat(np.arange(len(starts)), [len(share) for share in shares])
    patch = np.concatenate([np.array(share, dtype=np.intp) for share in shares])
    begin = np.array(starts, dtype=np.float64)[tile] + patch * (tile_px / patches)
    edges = np.stack((begin, begin + tile_px / patches), axis=1)
    return TileAxis(tile_px=tile_px, starts_px=starts, tile=tile, patch=patch, edges_px=edges)


def _starts(length_px: int, tile_px: int, overlap_px: int, patch_px: float) -> tuple[int, ...]:
    """Spread as few tiles as it takes, each overlapping the next by `overlap_px` at least.

    All but the last begin where a patch of the first one would, so that the patches of neighbours
    cover each other; the last ends with the box.
    """
    if tile_px >= length_px:
        return (0,)
    count = ceil((length_px - overlap_px) / (tile_px - overlap_px))
    step = (length_px - tile_px) / (count - 1) / patch_px
    starts = [0]
    for number in range(1, count - 1):
        wanted_px = round(ceil(number * step - 1e-9) * patch_px)
        # Of patches with half a pixel one start is rounded down and the next up: no pixel lies between them.
        starts.append(min(wanted_px, starts[-1] + tile_px))
    return (*starts, length_px - tile_px)


def _shares(starts: Sequence[int], tile_px: int, patches: int) -> list[range]:
    """Return which patches each tile judges: up to the middle of what it shares with the next.

    Where the patches of two tiles do not meet (the last tile, that was shifted inwards), a strip
    narrower than a patch is judged by both: no pixel is judged by none.
    """
    patch_px = tile_px / patches
    shares: list[range] = []
    first = 0
    for start, following in pairwise(starts):
        middle = (following + start + tile_px) / 2
        end = max(round((middle - start) / patch_px), first)
        shares.append(range(first, end))
        left_over = start + end * patch_px - following
        first = max(floor((left_over + _HALF_A_PIXEL) / patch_px), 0)
    return [*shares, range(first, patches)]
