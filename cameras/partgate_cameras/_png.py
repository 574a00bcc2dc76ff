"""PNG.

Pillow decodes and checks sums; the chunks are walked beforehand, because Pillow takes a file that
ends before its last chunk, and the first picture of an animation, for whole.
"""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from partgate_cameras._errors import ImageError
from partgate_cameras._ifd import exif_orientation
from partgate_cameras._pixels import check_size, to_8_bit, upright

SIGNATURE_BYTES = 8
FRAMING_BYTES = 12  # length, type and check sum around a chunk's content
IHDR_BYTES = 13
SIXTEEN_BIT = "I;16"


def decode(data: bytes) -> NDArray[np.uint8]:
    """Return (h, w) or (h, w, 3) RGB uint8, upright.

    Raises:
        ImageError: damaged, truncated, too large, or animated.
    """
    orientation = _check(data)
    return upright(_pixels(data), orientation)


def _check(data: bytes) -> int:
    """Walk through the chunks; return the orientation they state."""
    orientation = 1
    for number, (kind, content) in enumerate(_chunks(data)):
        if number == 0:
            if kind != b"IHDR" or len(content) != IHDR_BYTES:
                raise ImageError("damaged: the header is missing")
            check_size(*struct.unpack(">II", content[:8]))
        elif kind == b"acTL":
            raise ImageError("animated PNG: one image per file")
        elif kind == b"eXIf":
            orientation = exif_orientation(content)
        elif kind == b"IEND":
            return orientation
    raise ImageError(f"truncated: {len(data):,} bytes, and the end chunk is missing")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = SIGNATURE_BYTES
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        end = place + FRAMING_BYTES + length
        if end > len(data):
            raise ImageError(f"truncated: {len(data):,} bytes, and the chunk at {place:,} ends at {end:,}")
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place = end


def _pixels(data: bytes) -> NDArray[np.uint8]:
    from PIL.PngImagePlugin import PngImageFile

    try:
        # The class itself: `Image.open` adds a size check of its own that warns process-wide.
        with PngImageFile(io.BytesIO(data)) as image:
            image.load()
            if image.mode == SIXTEEN_BIT:
                return to_8_bit(np.asarray(image))
            grey = image.mode in {"1", "L", "LA"}
            return np.asarray(image.convert("L" if grey else "RGB"))
    except (OSError, SyntaxError, ValueError, LookupError, OverflowError, struct.error, zlib.error) as error:
        raise ImageError(f"damaged ({error})") from error
