"""JPEG.

simplejpeg, because it alone of those tried turns libjpeg's warnings into errors: with a block of
bytes missing, or cut and closed with an end marker, Pillow 13, OpenCV 5 and imagecodecs 2026.3
give a picture of which half is wrong, and say nothing. On sound files the pixels are the same.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from partgate_cameras._errors import ImageError
from partgate_cameras._ifd import exif_orientation
from partgate_cameras._pixels import check_size, upright

MARKER = 0xFF
START_OF_SCAN = 0xDA
APP1 = 0xE1
EXIF = b"Exif\0\0"
REFUSED_COLOURS = ("CMYK", "YCCK")


def decode(data: bytes) -> NDArray[np.uint8]:
    """Return (h, w) or (h, w, 3) RGB uint8, upright.

    Raises:
        ImageError: damaged, truncated, too large, or CMYK.
    """
    import simplejpeg  # type: ignore[import-untyped] # its wheel has stubs but no py.typed

    try:
        height_px, width_px, colours, _ = simplejpeg.decode_jpeg_header(data, strict=True)
        check_size(width_px, height_px)
        if colours in REFUSED_COLOURS:
            raise ImageError(
                f"colour model {colours} not allowed (grey or RGB): its colours depend on a printer"
            )
        grey = colours.lower() == "gray"
        pixels = simplejpeg.decode_jpeg(data, colorspace="GRAY" if grey else "RGB", strict=True)
    # KeyError: what simplejpeg 1.9 raises for a chroma subsampling that it has no name for.
    except (ValueError, KeyError) as error:
        raise ImageError(_in_words(str(error), len(data))) from error
    return upright(pixels[..., 0] if grey else pixels, _orientation(data))


def _in_words(message: str, size: int) -> str:
    if "premature end of jpeg file" in message.lower():
        return f"truncated: {size:,} bytes, and the picture goes on ({message})"
    return f"damaged ({message})"


def _orientation(data: bytes) -> int:
    for marker, content in _segments(data):
        if marker == APP1 and content.startswith(EXIF):
            return exif_orientation(content[len(EXIF) :])
    return 1


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, content) of the segments before the picture itself."""
    place = 2
    while place + 4 <= len(data) and data[place] == MARKER and data[place + 1] != START_OF_SCAN:
        if data[place + 1] == MARKER:  # fill bytes may stand before a marker
            place += 1
            continue
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        yield data[place + 1], data[place + 4 : place + 2 + length]
        place += 2 + length
