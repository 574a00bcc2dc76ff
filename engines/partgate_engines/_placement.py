"""Where in a frame the graph looks: the box that is cut out, its resize, and which patches count."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import shapely
from numpy.typing import NDArray

from partgate_engines._errors import NothingToJudge
from partgate_engines._resize import reduced, reduction, resize_matrix
from partgate_station import RecipeSettings, Region

Box = tuple[int, int, int, int]
Grid = tuple[int, int]

_NOTHING = 1e-9  # of a patch: what is left of it where polygons only touch


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What the graph needs to know of a frame's size and of the regions in it."""

    box: Box
    """(left, top, right, bottom) in pixels of the frame: the smallest box around what is inspected."""

    factor: int
    """The box is averaged over squares of this many pixels first; 1 where it is not large."""

    rows: NDArray[np.float32]
    """(size, box height / factor), resizes the rows."""

    columns: NDArray[np.float32]
    """(box width / factor, size), resizes the columns."""

    mask: NDArray[np.float32]
    """(gh, gw), 1 where a patch is judged, 0 where it is not."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels of what the graph gets to see."""
        return self.rows.shape[1], self.columns.shape[0]

    def cut(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what the graph gets to see of a frame: the box, averaged.

        Args:
            frame: (h, w, c) uint8, of the size the placement was made for.

        Returns:
            (*shape, c) uint8; a view where nothing had to be averaged.
        """
        left, top, right, bottom = self.box
        return reduced(frame[top:bottom, left:right], self.factor)


def place(*, height_px: int, width_px: int, regions: Sequence[Region], size_px: int, grid: Grid) -> Placement:
    """Work out where the graph looks in frames of one size.

    A patch is judged if any of it lies in an `inspect` region (or there is none) and less than half
    of it in an `ignore` region: at the edge of what is inspected, too much is judged, not too little.

    Raises:
        ConfigError: a region does not fit into the frame.
        NothingToJudge: the regions leave no patch.
    """
    RecipeSettings(regions=tuple(regions)).check_regions(width_px=width_px, height_px=height_px)
    box = inspected_box(regions, width_px=width_px, height_px=height_px)
    left, top, right, bottom = box
    mask = _mask(regions, box, grid)
    if not mask.any():
        raise NothingToJudge(
            f"the {len(regions)} regions leave nothing of a frame of {width_px}×{height_px} to judge;"
            " make an inspect region larger or an ignore region smaller"
        )
    factor = reduction(bottom - top, right - left, size_px)
    rows = resize_matrix(ceil((bottom - top) / factor), size_px)
    columns = np.ascontiguousarray(resize_matrix(ceil((right - left) / factor), size_px).T)
    return Placement(box=box, factor=factor, rows=rows, columns=columns, mask=mask)


def inspected_box(regions: Sequence[Region], *, width_px: int, height_px: int) -> Box:
    """Return the smallest box around what is inspected: the whole frame if no region says it."""
    vertices = [vertex for region in regions if region.use == "inspect" for vertex in region.polygon]
    if not vertices:
        return 0, 0, width_px, height_px
    xs, ys = zip(*vertices, strict=True)
    return floor(min(xs)), floor(min(ys)), ceil(max(xs)), ceil(max(ys))


def _mask(regions: Sequence[Region], box: Box, grid: Grid) -> NDArray[np.float32]:
    inspected = [region for region in regions if region.use == "inspect"]
    ignored = [region for region in regions if region.use == "ignore"]
    judged = _share(inspected, box, grid) > _NOTHING if inspected else np.ones(grid, dtype=np.bool_)
    if ignored:
        judged &= _share(ignored, box, grid) < 0.5  # noqa: PLR2004 - half, as said in `place`
    return judged.astype(np.float32)


def _share(regions: Sequence[Region], box: Box, grid: Grid) -> NDArray[np.float64]:
    """Return the share of every patch that lies in any of the regions: (gh, gw), 0..1."""
    left, top, right, bottom = box
    xs, ys = np.linspace(left, right, grid[1] + 1), np.linspace(top, bottom, grid[0] + 1)
    cells = shapely.box(xs[None, :-1], ys[:-1, None], xs[None, 1:], ys[1:, None])  # (gh, gw)
    covered = shapely.union_all([shapely.Polygon(region.polygon) for region in regions])
    shapely.prepare(cells)
    return np.asarray(shapely.area(shapely.intersection(cells, covered)) / shapely.area(cells))
