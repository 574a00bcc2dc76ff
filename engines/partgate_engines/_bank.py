"""The memory bank: patches of good parts."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from partgate_engines._errors import BundleRefused

# The squared norm of a row that is to be nobody's nearest neighbour; far from float32's largest, so
# that adding a patch's own norm to it stays finite.
_FAR = np.float32(1e30)

BankForm = Literal["patches", "affine"]
"""What rows are: patches of good parts, which the graph measures distances to, or `[w, b]`, of which it
makes `w . x + b` for a patch x: what kinds without a memory bank learn of good parts."""

EVERY_IMAGE = -1
"""The origin of a row that all images brought together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBank:
    """What a product adds to its graph: patch features of good parts and the images that brought them.

    Convention: k rows, d features.
    """

    rows: NDArray[np.float32]
    """(k, d) float32, (k, d + 1) if they are affine; finite, read-only."""

    origin: NDArray[np.int32]
    """(k,) int32, read-only: the position of the image that brought the row, or `EVERY_IMAGE`."""

    form: BankForm = "patches"

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or self.rows.shape[0] == 0 or self.origin.shape != self.rows.shape[:1]:  # noqa: PLR2004 - rows by features
            raise BundleRefused(f"a memory bank of {self.rows.shape} rows and {self.origin.shape} origins")
        if self.rows.dtype != np.float32 or self.origin.dtype != np.int32:
            raise BundleRefused(
                f"a memory bank of {self.rows.dtype} and {self.origin.dtype}; expected float32, int32"
            )
        if not np.isfinite(self.rows).all():
            raise BundleRefused("the memory bank holds values that are not finite numbers")
        self.rows.flags.writeable = False
        self.origin.flags.writeable = False

    def augmented(self) -> NDArray[np.float32]:
        """Return the rows as the graph takes them: (k, d + 1) float32, a new array.

        That is `[-2y, |y|^2]` of patches y, and affine rows as they are.

        Raises:
            BundleRefused: a patch is so far from any network's that its norm is not finite.
        """
        if self.form == "affine":
            return np.array(self.rows)
        with np.errstate(over="ignore"):  # what overflows is refused below, not warned of
            norms = np.einsum("kd,kd->k", self.rows, self.rows)
            augmented = np.ascontiguousarray(np.column_stack((-2 * self.rows, norms)), dtype=np.float32)
        if not np.isfinite(augmented).all():
            raise BundleRefused(
                f"the memory bank holds values up to {np.abs(self.rows).max():.1e}; their squares do not fit"
                " into float32"
            )
        return augmented


def without(augmented: NDArray[np.float32], left_out: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return a copy of an augmented bank in which some rows are nobody's nearest neighbour.

    Args:
        augmented: (k, d + 1) float32.
        left_out: (k,) bool.
    """
    remaining = augmented.copy()
    remaining[left_out, :-1] = 0
    remaining[left_out, -1] = _FAR
    return remaining
