"""The turn, scale and shift that lays one picture over another."""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

_ITERATIONS = 20
_STILL_PX = 0.05  # a step that moves no corner farther is the last
_SEEN = 0.999  # of a pixel that is interpolated from inside
_LEAST_SEEN = 0.3  # of the reference


def refine(reference: NDArray[np.float32], picture: NDArray[np.float32], start: Matrix) -> Matrix:
    """Return the similarity near `start` under which a picture is most like a reference.

    Differences of brightness and contrast do not count.

    Args:
        reference: (h, w) float32, a little blurred.
        picture: (h2, w2) float32, likewise.
        start: (3, 3), from a pixel (x, y, 1) of the reference to that of the picture: a similarity.

    Returns:
        (3, 3), likewise; `start` where nothing is alike.

    Source: Evangelidis and Psarakis 2008, "Parametric image alignment using enhanced correlation coefficient
        maximization", with the four parameters of a similarity: OpenCV's `findTransformECC` has none between
        three (no scale) and six (a shear as well, which follows the picture's contents).
    """
    pair = _Pair(reference, picture)
    # Between coordinates from the middle of the reference to pixels of the picture: (a, -b, p; b, a, q).
    a, b = start[0, 0], start[1, 0]
    p, q = start[:2, :2] @ pair.middle + start[:2, 2]
    for _ in range(_ITERATIONS):
        step = pair.step(_matrix(a, b, p, q, pair.middle))
        if step is None:
            return start
        a, b, p, q = np.array([a, b, p, q]) + step
        if abs(step[:2]).sum() * max(pair.middle) + abs(step[2:]).max() < _STILL_PX:
            break
    return _matrix(a, b, p, q, pair.middle)


class _Pair:
    """Two pictures, and what every step needs of them."""

    def __init__(self, reference: NDArray[np.float32], picture: NDArray[np.float32]) -> None:
        height, width = reference.shape
        self.middle = np.array([(width - 1) / 2, (height - 1) / 2])
        self._reference = reference
        self._x, self._y = np.meshgrid(np.arange(width) - self.middle[0], np.arange(height) - self.middle[1])
        down, right = np.gradient(picture)
        seen = np.ones_like(picture)
        self._layers = [np.asarray(layer, dtype=np.float32) for layer in (picture, right, down, seen)]

    def step(self, matrix: Matrix) -> NDArray[np.float64] | None:
        """Return how a, b, p and q have to change; None where the pictures have nothing in common."""
        import cv2

        size = (self._reference.shape[1], self._reference.shape[0])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped, right, down, seen = (
            np.asarray(cv2.warpAffine(layer, matrix[:2], size, flags=flags), dtype=np.float64)
            for layer in self._layers
        )
        inside = seen > _SEEN
        if inside.mean() < _LEAST_SEEN:
            return None
        slopes = np.stack([right * self._x + down * self._y, down * self._x - right * self._y, right, down])[
            :, inside
        ]  # (4, n)
        return _towards(self._reference[inside].astype(np.float64), warped[inside], slopes)


def _towards(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], slopes: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return the step that makes two pictures most alike, as far as slopes can say.

    Args:
        ours: (n,), the reference's pixels.
        theirs: (n,), the other's, as it lies now.
        slopes: (4, n), how they change with a, b, p and q.
    """
    ours, theirs = ours - ours.mean(), theirs - theirs.mean()
    slopes = slopes - slopes.mean(axis=1, keepdims=True)
    # Not `@`: BLAS starts threads for sums as long as these, which then wait for cores that judging has.
    try:
        inverse = np.linalg.inv(np.einsum("in,jn->ij", slopes, slopes))
    except np.linalg.LinAlgError:  # nothing changes: one grey
        return None
    on_ours, on_theirs = np.einsum("in,n->i", slopes, ours), np.einsum("in,n->i", slopes, theirs)
    alike = np.einsum("n,n->", ours, theirs) - on_ours @ inverse @ on_theirs
    if alike <= 0:
        return None
    contrast = (np.einsum("n,n->", theirs, theirs) - on_theirs @ inverse @ on_theirs) / alike
    return np.asarray(inverse @ (contrast * on_ours - on_theirs))


def _matrix(a: float, b: float, p: float, q: float, middle: NDArray[np.float64]) -> Matrix:
    linear = np.array([[a, -b], [b, a]])
    shift = np.array([p, q]) - linear @ middle
    return np.array([[a, -b, shift[0]], [b, a, shift[1]], [0, 0, 1]])
