"""From a camera's pixel format to grey or RGB in 8 bit."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from partgate_cameras._errors import FrameFormatError
from partgate_cameras._pixel_layouts import LAYOUTS, Layout

SUPPORTED = tuple(sorted(LAYOUTS))

Bytes = NDArray[np.uint8]

# PFNC names the pattern by its first two pixels, OpenCV's newer names by its first four.
_BAYER: Mapping[str, str] = {
    "BG": "COLOR_BayerBGGR2RGB",
    "GB": "COLOR_BayerGBRG2RGB",
    "GR": "COLOR_BayerGRBG2RGB",
    "RG": "COLOR_BayerRGGB2RGB",
}

# Weights of red and blue in the brightness, ITU-R BT.601 and BT.709.
_WEIGHTS: Mapping[str, tuple[float, float]] = {
    "full": (0.299, 0.114),
    "601": (0.299, 0.114),
    "709": (0.2126, 0.0722),
}
_ALL_LEVELS = 255.0
_LUMA_LEVELS, _LUMA_BLACK, _CHROMA_LEVELS, _CHROMA_ZERO = 219.0, 16.0, 224.0, 128.0


def check_supported(pixel_format: str) -> None:
    """Refuse a pixel format that cannot become a frame.

    Raises:
        FrameFormatError: names it and those that can.
    """
    if pixel_format not in LAYOUTS:
        raise FrameFormatError(
            f"pixel format {pixel_format} not supported (supported: {', '.join(SUPPORTED)})"
        )


def line_bytes(pixel_format: str, width_px: int) -> int:
    """Return how many bytes of a line are pixels; padding comes on top.

    Raises:
        FrameFormatError: a line of that width does not end with a byte: what follows it is not defined.
    """
    layout = LAYOUTS[pixel_format]
    groups, left = divmod(width_px, layout.group_px)
    if left:
        raise FrameFormatError(
            f"pixel format {pixel_format} with a width of {width_px}:"
            f" expected a multiple of {layout.group_px}"
        )
    return groups * layout.group_bytes


def to_image(
    data: Bytes,
    *,
    pixel_format: str,
    width_px: int,
    height_px: int,
    padding_bytes: int = 0,
    big_endian: bool = False,
) -> Bytes:
    """Return a frame's pixels as a new array.

    Of formats deeper than eight bits the upper eight are kept; alpha is dropped; Bayer patterns are
    interpolated (bilinear). BGR becomes RGB, and so do brightness and colour.

    Args:
        data: (n,) at least `height_px` lines of pixels and padding; not kept.
        pixel_format: one that `check_supported` lets pass.
        padding_bytes: between lines.
        big_endian: byte order of the two-byte formats.

    Returns:
        (h, w) or (h, w, 3) RGB, C-contiguous, owning its memory.
    """
    layout, used = LAYOUTS[pixel_format], line_bytes(pixel_format, width_px)
    lines = data[: height_px * (used + padding_bytes)].reshape(height_px, used + padding_bytes)[:, :used]
    if layout.kind == "luma":
        return _rgb_of_luma(lines, layout)
    if layout.kind == "colours":
        return _rgb_of_colours(lines.reshape(height_px, width_px, layout.group_bytes), layout)
    grey = _grey(lines, layout, big_endian=big_endian)
    return _demosaiced(grey, pixel_format) if pixel_format.startswith("Bayer") else grey


def _grey(lines: Bytes, layout: Layout, *, big_endian: bool) -> Bytes:
    """Return one sample for each pixel, its upper eight bits; owning its memory."""
    if layout.kind == "bytes":
        return lines.copy()
    if layout.kind == "words":
        return _upper_eight(lines, bits=layout.bits, big_endian=big_endian)
    groups = lines.reshape(lines.shape[0], -1, layout.group_bytes)
    if layout.kind == "gige":
        return np.array(groups[..., ::2], order="C").reshape(lines.shape[0], -1)
    samples = [_from_stream(groups, layout.bits * (number + 1) - 8) for number in range(layout.group_px)]
    return np.stack(samples, axis=-1).reshape(lines.shape[0], -1)


def _from_stream(groups: Bytes, first_bit: int) -> Bytes:
    """Return eight bits of each group, from `first_bit` on, where bit 0 is the first byte's lowest."""
    byte, shift = divmod(first_bit, 8)
    if not shift:
        return groups[..., byte]
    return np.asarray((groups[..., byte] >> shift) | (groups[..., byte + 1] << (8 - shift)), np.uint8)


def _upper_eight(lines: Bytes, *, bits: int, big_endian: bool) -> Bytes:
    values = np.ascontiguousarray(lines).view(">u2" if big_endian else "<u2")
    # Bits above the format's own should be zero; where they are not, the pixel is at its brightest.
    return np.asarray(np.minimum(values >> (bits - 8), 255), np.uint8, order="C")


def _demosaiced(samples: Bytes, pixel_format: str) -> Bytes:
    import cv2

    pattern = pixel_format.removeprefix("Bayer")[:2]
    return np.asarray(cv2.cvtColor(samples, getattr(cv2, _BAYER[pattern])), np.uint8)


def _rgb_of_colours(pixels: Bytes, layout: Layout) -> Bytes:
    if layout.order == "RGB":
        return pixels.copy()
    import cv2

    code = getattr(cv2, f"COLOR_{layout.order}2RGB")
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), code), np.uint8)


def _rgb_of_luma(lines: Bytes, layout: Layout) -> Bytes:
    """Return (h, w, 3) RGB of brightness and colour; pixels that share a colour have the same."""
    import cv2

    groups = lines.reshape(lines.shape[0], -1, layout.group_bytes)
    whole = np.empty((*groups.shape[:2], layout.group_px, 3), np.uint8)
    brightness = [place for place, letter in enumerate(layout.order) if letter == "Y"]
    whole[..., 0] = groups[..., brightness]
    whole[..., 1] = groups[..., layout.order.index("U"), None]
    whole[..., 2] = groups[..., layout.order.index("V"), None]
    return np.asarray(cv2.transform(whole.reshape(lines.shape[0], -1, 3), _matrix(layout.matrix)), np.uint8)


def _matrix(name: str) -> NDArray[np.float64]:
    """Return (3, 4): from (Y, Cb, Cr, 1) to RGB, 0 to 255.

    Source: ITU-R BT.601-7 and BT.709-6; all 256 levels as in JFIF.
    """
    red, blue = _WEIGHTS[name]
    green = 1 - red - blue
    narrow = name != "full"
    luma = _ALL_LEVELS / _LUMA_LEVELS if narrow else 1.0
    chroma = _ALL_LEVELS / _CHROMA_LEVELS if narrow else 1.0
    to_red, to_blue = 2 * (1 - red) * chroma, 2 * (1 - blue) * chroma
    rows = np.array(
        [
            [luma, 0, to_red],
            [luma, -to_blue * blue / green, -to_red * red / green],
            [luma, to_blue, 0],
        ]
    )
    zero = np.array([_LUMA_BLACK if narrow else 0.0, _CHROMA_ZERO, _CHROMA_ZERO])
    return np.column_stack([rows, -rows @ zero])
