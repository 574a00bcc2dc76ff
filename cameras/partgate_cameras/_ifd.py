"""The directory of a TIFF file, which EXIF uses too."""

import struct
from collections.abc import Mapping

from partgate_cameras._errors import ImageError

ENTRY_BYTES = 12
ORIENTATION = 274

# TIFF 6.0, section 2: field types by number; here those that count and measure, as struct codes.
_TYPES: Mapping[int, str] = {1: "B", 3: "H", 4: "I"}


def read_directory(data: bytes) -> tuple[dict[int, tuple[int, ...]], int]:
    r"""Return the whole-number tags of the first directory, and where the next directory begins.

    Args:
        data: begins with the TIFF header (`II*\0` or `MM\0*`).

    Returns:
        Values by tag number; tags of other types are left out. The offset is 0 after the last.

    Raises:
        ImageError: the directory or a value of it lies outside the data.
    """
    order = "<" if data[:2] == b"II" else ">"
    try:
        (place,) = struct.unpack_from(f"{order}4xI", data)
        (count,) = struct.unpack_from(f"{order}H", data, place)
        place += 2
        tags = dict(_entry(data, order, place + number * ENTRY_BYTES) for number in range(count))
        (following,) = struct.unpack_from(f"{order}I", data, place + count * ENTRY_BYTES)
    except struct.error as error:
        raise ImageError(
            f"truncated or damaged: {len(data):,} bytes, and the directory lies beyond ({error})"
        ) from error
    return {tag: values for tag, values in tags.items() if values}, following


def exif_orientation(data: bytes) -> int:
    """Return the orientation that an EXIF block states, 1 if it states none or cannot be read.

    A damaged EXIF block does not make the picture unusable, so it is no error.
    """
    if data[:4] not in {b"II*\0", b"MM\0*"}:
        return 1
    try:
        tags, _ = read_directory(data)
    except ImageError:
        return 1
    return tags.get(ORIENTATION, (1,))[0]


def _entry(data: bytes, order: str, place: int) -> tuple[int, tuple[int, ...]]:
    tag, kind, count = struct.unpack_from(f"{order}HHI", data, place)
    code = _TYPES.get(kind)
    if code is None or count == 0:
        return tag, ()
    size = struct.calcsize(code) * count
    place += 8
    if size > 4:  # noqa: PLR2004 - what does not fit into the entry's last four bytes lies elsewhere
        (place,) = struct.unpack_from(f"{order}I", data, place)
        if place + size > len(data):
            raise struct.error(f"tag {tag} ends at {place + size:,}")
    return tag, struct.unpack_from(f"{order}{count}{code}", data, place)
