"""TIFF.

libtiff through imagecodecs, after our own look at the directory: size, pages and colour model are
known before a pixel is decoded. Pillow would do, but speaks through Python warnings, which cannot
be caught in one thread only.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from partgate_cameras._errors import ImageError
from partgate_cameras._ifd import ORIENTATION, read_directory
from partgate_cameras._pixels import check_size, to_8_bit, upright

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
SAMPLES_PER_PIXEL, PLANAR, COLOUR_MAP = 277, 284, 320
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
JPEG_COMPRESSION = 7
DEPTHS = (1, 8, 16)  # bits
SEPARATE_PLANES = 2
MAX_SAMPLES = {BLACK_IS_ZERO: 2, WHITE_IS_ZERO: 2, RGB: 4, PALETTE: 1, YCBCR: 3}  # with alpha, if any
COLOUR_MODELS = {4: "mask", 5: "CMYK", 6: "YCbCr", 8: "CIELab", 9: "ICCLab", 32803: "CFA (raw)"}

Tags = Mapping[int, tuple[int, ...]]


def decode(data: bytes) -> NDArray[np.uint8]:
    """Return (h, w) or (h, w, 3) RGB uint8, upright.

    Raises:
        ImageError: damaged, truncated, too large, of several pages, or of a colour model or depth
            that is not read.
    """
    import imagecodecs

    tags, following = read_directory(data)
    _check(tags, following)
    try:
        pixels = imagecodecs.tiff_decode(data)
    # imagecodecs maps libtiff's complaints to its own error; the others are what it raised for
    # damaged directories among 250,000 files with flipped bytes.
    except (imagecodecs.TiffError, IndexError, MemoryError, TypeError, ValueError) as error:
        raise ImageError(f"truncated or damaged: {len(data):,} bytes ({error})") from error
    pixels = _drop_alpha(_interleaved(pixels, tags), tags)
    return upright(_to_grey_or_rgb(pixels, tags), tags.get(ORIENTATION, (1,))[0])


def _check(tags: Tags, following: int) -> None:
    if WIDTH not in tags or HEIGHT not in tags or PHOTOMETRIC not in tags:
        raise ImageError("damaged: the directory says no size or no colour model")
    check_size(tags[WIDTH][0], tags[HEIGHT][0])
    if following:
        raise ImageError("several pages: one image per file; split it")
    model, samples = tags[PHOTOMETRIC][0], tags.get(SAMPLES_PER_PIXEL, (1,))[0]
    # libtiff turns JPEG's own YCbCr into RGB; YCbCr of any other compression it leaves.
    readable = model in MAX_SAMPLES and (model != YCBCR or tags.get(COMPRESSION, (1,))[0] == JPEG_COMPRESSION)
    if not readable:
        raise ImageError(f"colour model {COLOUR_MODELS.get(model, model)} not allowed (grey, RGB or palette)")
    depths = tags.get(BITS, (1,))
    if len(set(depths)) > 1 or depths[0] not in DEPTHS:
        raise ImageError(f"{'/'.join(map(str, depths))} bits not allowed (1, 8 or 16 bits, whole numbers)")
    if samples > MAX_SAMPLES[model]:
        raise ImageError(f"{samples} samples per pixel not allowed (grey or RGB, with or without alpha)")


def _interleaved(pixels: NDArray[np.generic], tags: Tags) -> NDArray[np.generic]:
    """Return (h, w) or (h, w, c), refusing what the directory did not announce."""
    if tags.get(PLANAR, (1,))[0] == SEPARATE_PLANES and pixels.ndim == 3:  # noqa: PLR2004 - (c, h, w)
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.shape[:2] != (tags[HEIGHT][0], tags[WIDTH][0]) or pixels.ndim not in {2, 3}:
        raise ImageError(
            f"damaged: decoded to {pixels.shape}, announced as {tags[HEIGHT][0]}×{tags[WIDTH][0]}"
        )
    return pixels


def _drop_alpha(pixels: NDArray[np.generic], tags: Tags) -> NDArray[np.generic]:
    if pixels.ndim == 2:  # noqa: PLR2004 - (h, w)
        return pixels
    return pixels[..., :3] if tags[PHOTOMETRIC][0] in {RGB, YCBCR} else pixels[..., 0]


def _to_grey_or_rgb(pixels: NDArray[np.generic], tags: Tags) -> NDArray[np.uint8]:
    model, bits = tags[PHOTOMETRIC][0], tags.get(BITS, (1,))[0]
    if model == PALETTE:
        return _through_palette(pixels, tags)
    grey_or_rgb = _to_8_bit(pixels, bits)
    return 255 - grey_or_rgb if model == WHITE_IS_ZERO and bits > 1 else grey_or_rgb


def _to_8_bit(pixels: NDArray[np.generic], bits: int) -> NDArray[np.uint8]:
    if pixels.dtype == np.bool_:
        return np.where(pixels, np.uint8(255), np.uint8(0))
    if pixels.dtype == np.uint8 and bits == 8:  # noqa: PLR2004 - bits
        return pixels.astype(np.uint8, copy=False)
    if pixels.dtype == np.uint16 and bits == 16:  # noqa: PLR2004 - bits
        return to_8_bit(pixels.astype(np.uint16, copy=False))
    raise ImageError(f"{bits} bits of type {pixels.dtype} not allowed (1, 8 or 16 bits, whole numbers)")


def _through_palette(pixels: NDArray[np.generic], tags: Tags) -> NDArray[np.uint8]:
    colours = tags.get(COLOUR_MAP, ())
    fits = len(colours) % 3 == 0 and len(colours) >= 3 * (int(pixels.max(initial=0)) + 1)
    if pixels.dtype != np.uint8 or not fits:
        raise ImageError(f"damaged: a palette of {len(colours) // 3} colours does not fit the pixels")
    palette = np.array(colours, np.uint16).reshape(3, -1).T  # (colours, 3)
    return to_8_bit(palette)[pixels.astype(np.uint8, copy=False)]
