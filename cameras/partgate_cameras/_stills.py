"""Reading image files: strictly, because what is read is judged.

A decoder that fills the rest of a damaged picture with grey gives a picture that looks judged.
Pillow, OpenCV and imagecodecs all do so for some damages (a JPEG with a block missing, or cut and
closed with an end marker): `_jpeg.py`, `_png.py`, `_tiff.py` and `_bmp.py` say which decoder is
used for which format and what is checked beforehand.
"""

import os
import stat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partgate_cameras import _bmp, _jpeg, _png, _tiff
from partgate_cameras._errors import ImageError
from partgate_cameras._formats import ALLOWED, SIGNATURE_BYTES, recognise
from partgate_cameras._names import shown
from partgate_station import MissingInput

# More than the largest image that is read can need: 64 Mpx, four channels of 16 bit.
MAX_FILE_BYTES = 512 * 1024**2
SHOWN_BYTES = 12


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return an image file's pixels, turned upright, as a camera would have given them.

    PNG, JPEG, TIFF and BMP are read, told by their content; docs/reference/images.md says how
    other depths and colour models become 8 bit grey or RGB.

    Args:
        path: a regular file, or a link to one.

    Returns:
        (h, w) or (h, w, 3) RGB uint8, C-contiguous, owned by the caller.

    Raises:
        MissingInput: there is no such file.
        ImageError: it is not an image, of a format or kind that is refused, too large, or damaged
            in any way that the format lets one see. The text begins with the path.
    """
    try:
        return decode_image(_content(path))
    except ImageError as error:
        raise ImageError(f"{shown(path)}: {error}") from error


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """Return the pixels of an image file's content; see `read_image`.

    Raises:
        ImageError: as for `read_image`; the text names no file.
    """
    if not data:
        raise ImageError("not an image (0 bytes)")
    match recognise(data[:SIGNATURE_BYTES]):
        case "JPEG":
            pixels = _jpeg.decode(data)
        case "PNG":
            pixels = _png.decode(data)
        case "TIFF":
            pixels = _tiff.decode(data)
        case "BMP":
            pixels = _bmp.decode(data)
        case None:
            raise ImageError(f"not an image (starts with {_start(data)})")
        case other:
            raise ImageError(f"format {other} not allowed ({ALLOWED})")
    return np.ascontiguousarray(pixels)


def _content(path: Path) -> bytes:
    try:
        # Before opening: a device may act on being opened, a FIFO blocks.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ImageError("not a regular file")
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            size = os.fstat(descriptor).st_size
            if size > MAX_FILE_BYTES:
                raise ImageError(f"{size:,} bytes exceed the limit of {MAX_FILE_BYTES:,}")
            return file.read(MAX_FILE_BYTES)
    except FileNotFoundError:
        raise MissingInput(f"{shown(path)}: no such file") from None
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror})") from error
    except ValueError as error:  # a NUL in the name
        raise ImageError(f"cannot be read ({error})") from error


def _start(data: bytes) -> str:
    """Return the first bytes as a person can read them: `'<!DO'`, or hexadecimal for no text."""
    start = data[:4]
    if start.isascii() and start.decode("ascii").isprintable():
        return f"'{start.decode('ascii')}'"
    return data[:SHOWN_BYTES].hex(" ")
