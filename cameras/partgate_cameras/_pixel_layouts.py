"""How the pixels of each format lie in a line of bytes.

Names and layouts are those of the GenICam Pixel Format Naming Convention (PFNC); `Packed` are GigE Vision's
older ones. A line is made of groups of bytes, each of a few pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PATTERNS = ("BG", "GB", "GR", "RG")

Kind = Literal["bytes", "words", "stream", "gige", "colours", "luma"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a format's pixels lie."""

    kind: Kind
    """`bytes`, `words`: a pixel each. `stream`: bit after bit, the lowest first (PFNC's `p`). `gige`: two
    pixels' upper bits in the first and third of three bytes. `colours`: bytes per pixel. `luma`: brightness
    of each pixel, colour of several."""

    bits: int = 8
    """Of a pixel, or of each of its components."""

    group_px: int = 1
    group_bytes: int = 1
    order: str = ""
    """The components' letters in the order of the bytes; of `luma` Y, U (Cb) and V (Cr)."""

    matrix: Literal["full", "601", "709"] = "full"
    """Of `luma`: BT.601 with all 256 levels, as YUV and YCbCr have it; BT.601 or BT.709 with 16 to 235."""


_GREY: Mapping[str, Layout] = {
    "8": Layout(kind="bytes"),
    "10": Layout(kind="words", bits=10, group_bytes=2),
    "10p": Layout(kind="stream", bits=10, group_px=4, group_bytes=5),
    "10Packed": Layout(kind="gige", bits=10, group_px=2, group_bytes=3),
    "12": Layout(kind="words", bits=12, group_bytes=2),
    "12p": Layout(kind="stream", bits=12, group_px=2, group_bytes=3),
    "12Packed": Layout(kind="gige", bits=12, group_px=2, group_bytes=3),
    "14": Layout(kind="words", bits=14, group_bytes=2),
    "16": Layout(kind="words", bits=16, group_bytes=2),
}


def _luma(order: str, matrix: Literal["full", "601", "709"] = "full") -> Layout:
    return Layout(kind="luma", group_px=order.count("Y"), group_bytes=len(order), order=order, matrix=matrix)


_COLOUR: Mapping[str, Layout] = {
    **{
        name: Layout(kind="colours", group_bytes=len(order), order=order)
        for name, order in {"RGB8": "RGB", "BGR8": "BGR", "RGBa8": "RGBA", "BGRa8": "BGRA"}.items()
    },
    "YUV411_8_UYYVYY": _luma("UYYVYY"),
    "YUV422_8": _luma("YUYV"),
    "YUV422_8_UYVY": _luma("UYVY"),
    "YUV8_UYV": _luma("UYV"),
    "YCbCr8": _luma("YUV"),
    "YCbCr8_CbYCr": _luma("UYV"),
    "YCbCr422_8": _luma("YUYV"),
    "YCbCr422_8_CbYCrY": _luma("UYVY"),
    "YCbCr411_8": _luma("YYUYYV"),
    "YCbCr411_8_CbYYCrYY": _luma("UYYVYY"),
    "YCbCr601_8_CbYCr": _luma("UYV", "601"),
    "YCbCr601_422_8": _luma("YUYV", "601"),
    "YCbCr601_422_8_CbYCrY": _luma("UYVY", "601"),
    "YCbCr601_411_8_CbYYCrYY": _luma("UYYVYY", "601"),
    "YCbCr709_8_CbYCr": _luma("UYV", "709"),
    "YCbCr709_422_8": _luma("YUYV", "709"),
    "YCbCr709_422_8_CbYCrY": _luma("UYVY", "709"),
    "YCbCr709_411_8_CbYYCrYY": _luma("UYYVYY", "709"),
}

LAYOUTS: Mapping[str, Layout] = {
    **{f"Mono{bits}": layout for bits, layout in _GREY.items()},
    **{
        f"Bayer{pattern}{bits}": layout
        for pattern in PATTERNS
        for bits, layout in _GREY.items()
        if bits != "14"
    },
    **_COLOUR,
}
"""Every format that can become a frame, by name."""
