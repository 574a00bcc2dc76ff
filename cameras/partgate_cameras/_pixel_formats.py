"""From a camera's pixel format to grey or RGB in 8 bit.

Names and layouts are those of the GenICam Pixel Format Naming Convention (PFNC).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from partgate_cameras._errors import FrameFormatError

# Format: bytes per pixel.
_BYTES: Mapping[str, int] = {
    "BGR8": 3,
    "BGRa8": 4,
    "BayerBG8": 1,
    "BayerGB8": 1,
    "BayerGR8": 1,
    "BayerRG8": 1,
    "Mono10": 2,
    "Mono12": 2,
    "Mono14": 2,
    "Mono16": 2,
    "Mono8": 1,
    "RGB8": 3,
    "RGBa8": 4,
}
SUPPORTED = tuple(sorted(_BYTES))

# PFNC names the pattern by its first two pixels, OpenCV's newer names by its first four.
_BAYER: Mapping[str, str] = {
    "BayerBG8": "COLOR_BayerBGGR2RGB",
    "BayerGB8": "COLOR_BayerGBRG2RGB",
    "BayerGR8": "COLOR_BayerGRBG2RGB",
    "BayerRG8": "COLOR_BayerRGGB2RGB",
}


def check_supported(pixel_format: str) -> None:
    """Refuse a pixel format that cannot become a frame.

    Raises:
        FrameFormatError: names it and those that can.
    """
    if pixel_format not in _BYTES:
        raise FrameFormatError(
            f"pixel format {pixel_format} not supported (supported: {', '.join(SUPPORTED)})"
        )


def line_bytes(pixel_format: str, width_px: int) -> int:
    """Return how many bytes of a line are pixels; padding comes on top."""
    return _BYTES[pixel_format] * width_px


def to_image(
    data: NDArray[np.uint8],
    *,
    pixel_format: str,
    width_px: int,
    height_px: int,
    padding_bytes: int = 0,
    big_endian: bool = False,
) -> NDArray[np.uint8]:
    """Return a frame's pixels as a new array.

    Mono10 to Mono16 keep their upper eight bits; alpha is dropped; Bayer patterns are interpolated
    (bilinear). BGR becomes RGB.

    Args:
        data: (n,) at least `height_px` lines of pixels and padding; not kept.
        pixel_format: one that `check_supported` lets pass.
        padding_bytes: between lines.
        big_endian: byte order of the two-byte formats.

    Returns:
        (h, w) or (h, w, 3) RGB, C-contiguous, owning its memory.
    """
    used = line_bytes(pixel_format, width_px)
    lines = data[: height_px * (used + padding_bytes)].reshape(height_px, used + padding_bytes)[:, :used]
    if pixel_format in _BAYER:
        return _demosaiced(lines, pixel_format)
    if _BYTES[pixel_format] == 1:
        return lines.copy()
    if pixel_format.startswith("Mono"):
        return _upper_eight(lines, bits=int(pixel_format.removeprefix("Mono")), big_endian=big_endian)
    pixels = lines.reshape(height_px, width_px, -1)[..., :3]
    return np.array(pixels[..., ::-1] if pixel_format.startswith("BGR") else pixels, order="C")


def _upper_eight(lines: NDArray[np.uint8], *, bits: int, big_endian: bool) -> NDArray[np.uint8]:
    values = np.ascontiguousarray(lines).view(">u2" if big_endian else "<u2")
    # Bits above the format's own should be zero; where they are not, the pixel is at its brightest.
    return np.asarray(np.minimum(values >> (bits - 8), 255), np.uint8, order="C")


def _demosaiced(lines: NDArray[np.uint8], pixel_format: str) -> NDArray[np.uint8]:
    import cv2

    rgb = cv2.cvtColor(np.ascontiguousarray(lines), getattr(cv2, _BAYER[pixel_format]))
    return np.asarray(rgb, np.uint8)
