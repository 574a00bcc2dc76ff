"""What the decoders of all formats share: the size limit, bit depth, and turning upright."""

import numpy as np
from numpy.typing import NDArray

from partgate_cameras._errors import ImageError

MAX_MPX = 64
PIXELS_PER_MPX = 1_000_000

# EXIF's orientation: whether rows and columns are exchanged, after mirroring up-down, left-right.
_ORIENTATIONS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


def check_size(width_px: int, height_px: int) -> None:
    """Refuse a size that a header declares, before any memory is taken for it.

    Raises:
        ImageError: it is nothing, or more than `MAX_MPX`.
    """
    if width_px <= 0 or height_px <= 0:
        raise ImageError(f"damaged: the header says {width_px}×{height_px} pixels")
    mpx = width_px * height_px / PIXELS_PER_MPX
    if mpx > MAX_MPX:
        raise ImageError(f"{width_px}×{height_px} pixels, {mpx:,.0f} Mpx, exceed the limit of {MAX_MPX} Mpx")


def to_8_bit(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return the upper eight of sixteen bits; the range is never stretched to the content."""
    return (pixels >> 8).astype(np.uint8)


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return the picture as it was seen, given EXIF's orientation tag.

    Args:
        pixels: (h, w) or (h, w, c).
        orientation: 1 to 8; anything else counts as 1, upright.

    Returns:
        A view where possible; for 5 to 8 width and height are exchanged.
    """
    transposed, mirrored_down, mirrored_across = _ORIENTATIONS.get(orientation, (False, False, False))
    pixels = pixels[::-1] if mirrored_down else pixels
    pixels = pixels[:, ::-1] if mirrored_across else pixels
    return pixels.swapaxes(0, 1) if transposed else pixels
