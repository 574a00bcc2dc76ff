"""Local contrast: how a pixel differs from what is around it, as two constant matrices.

Light that differs from part to part, and slow shading over one, say nothing of a defect; a faint line
on a dark part and a strong one on a bright part are the same line (docs/decisions/0015).
"""

import numpy as np
from numpy.typing import NDArray

_CELLS = 32  # the means are taken on a grid of this many cells down and across
_REACH = 12.0  # the Gaussian's deviation is the input's size over this


def down_matrix(size_px: int) -> NDArray[np.float32]:
    """Return the matrix that averages one axis over cells and blurs the cells by a Gaussian.

    `down @ image @ down.T` are the local means on a coarse grid; `up_matrix` brings them back to
    pixels. At 256 px that is a seventh of the work of a Gaussian at full size, and differs from it by
    less than a grey level on the magnetic tiles.

    Args:
        size_px: a multiple of 32.

    Returns:
        (32, size_px) float32; every row sums to 1.

    Convention: what lies beyond the border mirrors what lies within, the border's cell included.
    """
    cell_px = size_px // _CELLS
    cells = np.repeat(np.eye(_CELLS), cell_px, axis=1) / cell_px
    return np.asarray(_gaussian(_deviation_in_cells(cell_px, size_px)) @ cells, dtype=np.float32)


def up_matrix(size_px: int) -> NDArray[np.float32]:
    """Return the matrix that draws lines between the values of the cells.

    Args:
        size_px: a multiple of 32.

    Returns:
        (size_px, 32) float32; every row sums to 1.
    """
    cell_px = size_px // _CELLS
    place = np.clip((np.arange(size_px) + 0.5) / cell_px - 0.5, 0, _CELLS - 1)
    distance = np.abs(place[:, None] - np.arange(_CELLS)[None])
    return np.asarray(np.maximum(1 - distance, 0), dtype=np.float32)


def _deviation_in_cells(cell_px: int, size_px: int) -> float:
    """Return the deviation that is left to the Gaussian: cells and lines between them blur as well."""
    wanted = (size_px / _REACH / cell_px) ** 2
    return float(np.sqrt(wanted - 1 / 12 - 1 / 6))


def _gaussian(deviation: float) -> NDArray[np.float64]:
    reach = int(np.ceil(4 * deviation))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    matrix = np.zeros((_CELLS, _CELLS))
    for cell in range(_CELLS):
        seen = np.arange(cell - reach, cell + reach + 1)
        seen = np.where(seen < 0, -1 - seen, seen)
        seen = np.where(seen >= _CELLS, 2 * _CELLS - 1 - seen, seen)
        np.add.at(matrix[cell], seen, weights)
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))
