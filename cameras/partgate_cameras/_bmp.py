"""BMP, decoded by Pillow."""

import io
import struct

import numpy as np
from numpy.typing import NDArray

from partgate_cameras._errors import ImageError
from partgate_cameras._pixels import check_size


def decode(data: bytes) -> NDArray[np.uint8]:
    """Return (h, w) or (h, w, 3) RGB uint8.

    Raises:
        ImageError: damaged, truncated, or too large.
    """
    from PIL.BmpImagePlugin import BmpImageFile

    try:
        # The class itself: `Image.open` adds a size check of its own that warns process-wide.
        with BmpImageFile(io.BytesIO(data)) as image:
            check_size(*image.size)
            image.load()
            grey = image.mode in {"1", "L"}
            return np.asarray(image.convert("L" if grey else "RGB"))
    except (OSError, SyntaxError, ValueError, LookupError, OverflowError, struct.error) as error:
        raise ImageError(f"truncated or damaged: {len(data):,} bytes ({error})") from error
