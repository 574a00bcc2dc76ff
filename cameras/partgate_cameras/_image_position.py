"""How far a picture has moved."""

import numpy as np
from numpy.typing import NDArray

from partgate_cameras._image_measures import SKETCH_PX

QUIET = 1e-6  # a picture without any difference in it has no place

Sketch = NDArray[np.uint8] | NDArray[np.float64]
_RAMP = np.hanning(SKETCH_PX)
_WINDOW = np.outer(_RAMP, _RAMP)


def stretched(sketch: Sketch) -> NDArray[np.uint8]:
    """Return a sketch with its grey levels stretched to 0 to 255, which moves nothing."""
    low, high = float(sketch.min()), float(sketch.max())
    return np.round((sketch.astype(np.float64) - low) * (255 / max(high - low, QUIET))).astype(np.uint8)


def spectrum(sketch: Sketch) -> NDArray[np.complex128]:
    """Return what `moved_by` compares: the sketch's spectrum, its edges faded out."""
    values = sketch.astype(np.float64)
    faded = (values - values.mean()) * _WINDOW
    return np.fft.rfft2(faded - faded.mean())


def moved_by(now: NDArray[np.complex128], reference: NDArray[np.complex128]) -> tuple[float, float] | None:
    """Return how far a picture has moved against another.

    Args:
        now: its spectrum.
        reference: the other's.

    Returns:
        (down, right) in pixels of the sketches, -32 to 32; None where one of them shows nothing. Pictures
        that show different things give any value.

    Source: Kuglin and Hines 1975, "The phase correlation image alignment method"; the peak is refined by a
        parabola through its neighbours.
    """
    cross = now * reference.conj()
    size = np.abs(cross)
    if size.max() < QUIET:
        return None
    # Frequencies that hardly occur are noise, whose phase must not count as much as the others'.
    peaks = np.fft.irfft2(cross / (size + 0.01 * size.max()), s=(SKETCH_PX, SKETCH_PX))
    row, column = (int(index) for index in np.unravel_index(int(peaks.argmax()), peaks.shape))
    return _place(peaks[:, column], row), _place(peaks[row], column)


def _place(line: NDArray[np.float64], peak: int) -> float:
    before, here, after = line[peak - 1], line[peak], line[(peak + 1) % SKETCH_PX]
    bend = before - 2 * here + after
    place = peak + (0.5 * (before - after) / bend if bend else 0.0)
    return float((place + SKETCH_PX / 2) % SKETCH_PX - SKETCH_PX / 2)
