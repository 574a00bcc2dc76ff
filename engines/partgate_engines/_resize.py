"""The one resize of this project: antialiased bilinear, as a matrix, after a mean over whole pixels."""

import numpy as np
from numpy.typing import NDArray


def resize_matrix(length_px: int, size_px: int) -> NDArray[np.float32]:
    """Return the matrix that resizes one axis of an image by an antialiased bilinear filter.

    `matrix @ image` resizes the rows, `image @ matrix.T` the columns. A matrix product is what every
    runtime takes; TensorRT refuses an antialiased Resize, and a resize without antialiasing loses two
    thirds of a thin scratch on the way from 5 Mpx to 256 px.

    Args:
        length_px: pixels along the axis before, at least 1.
        size_px: pixels after, at least 1.

    Returns:
        (size_px, length_px) float32, read-only; every row sums to 1.

    Convention: pixel centres lie at half pixels, the triangle is as wide as the reduction and never
    narrower than a pixel, and it is cut off and renormalised at the border: what torch's
    `interpolate(mode="bilinear", antialias=True)` and Pillow's reducing BILINEAR do.
    """
    scale = length_px / size_px
    width = max(scale, 1.0)
    centres = scale * (np.arange(size_px) + 0.5)
    first = np.maximum(np.floor(centres - width + 0.5), 0)
    last = np.minimum(np.floor(centres + width + 0.5), length_px)
    pixels = np.arange(length_px)
    distance = np.abs(pixels[None, :] - centres[:, None] + 0.5) / width
    weights = np.maximum(1.0 - distance, 0.0)
    weights *= (pixels >= first[:, None]) & (pixels < last[:, None])
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = weights.astype(np.float32)
    matrix.flags.writeable = False
    return matrix


def reduction(height_px: int, width_px: int, size_px: int) -> int:
    """Return by how many whole pixels a large frame is averaged before the graph resizes it; 1: not.

    What is left is still at least twice the size the graph makes of it, so that its antialiased
    resize decides what is seen. A scratch 2 px wide and 120 grey levels deep on 5 Mpx comes out 15 to
    24 levels deep at 256 px, by where it falls between pixels; without averaging first, 13 to 24
    (a test holds it). Averaging bytes is what processors do fastest.
    """
    return max(1, min(height_px, width_px) // (2 * size_px))


def reduced(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return the means over squares of `factor` x `factor` pixels, rounded after every halving.

    Even factors are halved for as long as they are: means over 2 x 2 bytes are what processors do in one step
    for many pixels, and a frame of 5 Mpx takes a third (colour) to a fifth (grey) of the time that means over
    4 x 4 take (docs/decisions/0009).

    Args:
        pixels: (h, w, c) uint8; not modified. Sides that are no multiple are continued by their edge.
        factor: at least 1; 1 returns the array itself.

    Returns:
        (ceil(h / factor), ceil(w / factor), c) uint8; each halving lies an eighth of a grey level above the
        mean on average, because halves are rounded up, and half of one at most.
    """
    if factor == 1:
        return pixels
    height_px, width_px, _ = pixels.shape
    below, beside = -height_px % factor, -width_px % factor
    if below or beside:
        pixels = np.pad(pixels, ((0, below), (0, beside), (0, 0)), mode="edge")
    pixels = np.ascontiguousarray(pixels)
    while factor % 2 == 0:
        pixels, factor = _averaged(pixels, 2), factor // 2
    return pixels if factor == 1 else _averaged(pixels, factor)


def _averaged(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    import cv2

    height_px, width_px, channels = pixels.shape
    size = (width_px // factor, height_px // factor)
    # With whole factors OpenCV's area filter is exactly the mean.
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8).reshape(size[1], size[0], channels)
