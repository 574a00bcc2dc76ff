"""From the bytes of a camera to grey or RGB."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_cameras import FrameFormatError
from partgate_cameras._pixel_formats import SUPPORTED, check_supported, line_bytes, to_image

Array = NDArray[np.uint8]
Packing = Callable[[NDArray[np.int64], int], Array]
RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (6, 8)).astype(np.uint8)
RGB = RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)
ALPHA = RNG.integers(0, 256, (6, 8, 1)).astype(np.uint8)


def two_bytes(bits: int, order: str) -> Array:
    low = np.arange(48).reshape(6, 8) % 2 ** (bits - 8)
    values = (GREY.astype(np.uint16) << (bits - 8)) + low
    return np.frombuffer(values.astype(f"{order}u2").tobytes(), np.uint8)


def convert(data: Array, pixel_format: str, *, padding_bytes: int = 0, big_endian: bool = False) -> Array:
    return to_image(
        data,
        pixel_format=pixel_format,
        width_px=8,
        height_px=6,
        padding_bytes=padding_bytes,
        big_endian=big_endian,
    )


@pytest.mark.parametrize(
    ("data", "pixel_format", "expected"),
    [
        pytest.param(GREY, "Mono8", GREY, id="Mono8"),
        pytest.param(two_bytes(10, "<"), "Mono10", GREY, id="Mono10"),
        pytest.param(two_bytes(12, "<"), "Mono12", GREY, id="Mono12"),
        pytest.param(two_bytes(14, "<"), "Mono14", GREY, id="Mono14"),
        pytest.param(two_bytes(16, "<"), "Mono16", GREY, id="Mono16"),
        pytest.param(RGB, "RGB8", RGB, id="RGB8"),
        pytest.param(RGB[..., ::-1], "BGR8", RGB, id="BGR8"),
        pytest.param(np.concatenate([RGB, ALPHA], 2), "RGBa8", RGB, id="RGBa8"),
        pytest.param(np.concatenate([RGB[..., ::-1], ALPHA], 2), "BGRa8", RGB, id="BGRa8"),
    ],
)
def test_layouts(data: Array, pixel_format: str, expected: Array) -> None:
    buffer = np.concatenate([np.ascontiguousarray(data).ravel(), np.full(99, 7, np.uint8)])
    image = convert(buffer, pixel_format)
    np.testing.assert_array_equal(image, expected)
    assert image.flags.c_contiguous
    buffer[:] = 0
    np.testing.assert_array_equal(image, expected, "it is a copy")


def test_big_endian_and_values_beyond_the_format() -> None:
    np.testing.assert_array_equal(convert(two_bytes(12, ">"), "Mono12", big_endian=True), GREY)
    too_bright = np.full(48, 0xFFFF, np.uint16).view(np.uint8)
    assert np.all(convert(too_bright, "Mono12") == 255)


@pytest.mark.parametrize(
    ("pixel_format", "data"), [("Mono8", GREY), ("RGB8", RGB), ("Mono16", two_bytes(16, "<"))]
)
def test_padding_between_lines_is_dropped(pixel_format: str, data: Array) -> None:
    lines = np.ascontiguousarray(data).reshape(6, -1)
    padded = np.concatenate([lines, np.full((6, 5), 99, np.uint8)], 1).ravel()
    np.testing.assert_array_equal(
        convert(padded, pixel_format, padding_bytes=5), convert(lines.ravel(), pixel_format)
    )


@pytest.mark.parametrize(
    ("pixel_format", "pattern"),
    [("BayerRG8", "RGGB"), ("BayerBG8", "BGGR"), ("BayerGR8", "GRBG"), ("BayerGB8", "GBRG")],
)
def test_bayer_patterns_give_their_colours(pixel_format: str, pattern: str) -> None:
    colour = {"R": 200, "G": 120, "B": 40}
    tile = np.array([colour[letter] for letter in pattern], np.uint8).reshape(2, 2)
    image = convert(np.tile(tile, (3, 4)).ravel(), pixel_format)
    assert image.shape == (6, 8, 3)
    assert np.all(image[1:-1, 1:-1] == [200, 120, 40])


def bits_of(values: NDArray[np.int64], bits: int) -> str:
    """Return a line's pixels as one row of bits, the lowest bit of each pixel first."""
    return "".join(format(int(value), f"0{bits}b")[::-1] for value in values)


def as_stream(values: NDArray[np.int64], bits: int) -> Array:
    """Return lines as PFNC's `p` has them: bit after bit from the lowest of the first byte on."""
    lines = [bits_of(line, bits) for line in values]
    return np.array(
        [[int(line[at : at + 8][::-1], 2) for at in range(0, len(line), 8)] for line in lines], np.uint8
    )


def as_gige(values: NDArray[np.int64], bits: int) -> Array:
    """Return lines as GigE Vision's `Packed` has them: both pixels' lower bits in between."""
    low = bits - 8
    lines = []
    for line in values.tolist():
        packed: list[int] = []
        for first, second in zip(line[::2], line[1::2], strict=True):
            rest = (first % 2**low) | ((second % 2**low) << 4)
            packed += [first >> low, rest, second >> low]
        lines.append(packed)
    return np.array(lines, np.uint8)


def deep(bits: int) -> NDArray[np.int64]:
    """Return pixels of that many bits, whose upper eight are GREY and whose lower ones are not all 0."""
    lower = np.arange(48).reshape(6, 8) * 7 % 2 ** (bits - 8)
    values: NDArray[np.int64] = (GREY.astype(np.int64) << (bits - 8)) + lower
    return values


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize(("suffix", "pack"), [("p", as_stream), ("Packed", as_gige)])
def test_packed_grey_keeps_its_upper_eight_bits(bits: int, suffix: str, pack: Packing) -> None:
    data = pack(deep(bits), bits)
    pixel_format = f"Mono{bits}{suffix}"
    assert data.shape == (6, line_bytes(pixel_format, 8))
    np.testing.assert_array_equal(convert(data.ravel(), pixel_format), GREY)
    padded = np.concatenate([data, np.full((6, 3), 255, np.uint8)], 1).ravel()
    np.testing.assert_array_equal(convert(padded, pixel_format, padding_bytes=3), GREY)


def test_the_bytes_of_one_group_are_where_the_standards_have_them() -> None:
    """Written out by hand: pixels 0xABC and 0x123, and 0x3FF, 0x000, 0x201, 0x156."""
    assert as_stream(np.array([[0xABC, 0x123]]), 12).tolist() == [[0xBC, 0x3A, 0x12]]
    assert as_gige(np.array([[0xABC, 0x123]]), 12).tolist() == [[0xAB, 0x3C, 0x12]]
    assert as_stream(np.array([[0x3FF, 0, 0x201, 0x156]]), 10).tolist() == [[0xFF, 0x03, 0x10, 0xA0, 0x55]]
    assert as_gige(np.array([[0x3FF, 0x201]]), 10).tolist() == [[0xFF, 0x13, 0x80]]


BAYER_PACKINGS: dict[str, Packing] = {
    "8": lambda values, bits: values.astype(np.uint8),
    "10": lambda values, bits: np.ascontiguousarray(values.astype("<u2")).view(np.uint8),
    "12": lambda values, bits: np.ascontiguousarray(values.astype("<u2")).view(np.uint8),
    "16": lambda values, bits: np.ascontiguousarray(values.astype("<u2")).view(np.uint8),
    "10p": as_stream,
    "12p": as_stream,
    "10Packed": as_gige,
    "12Packed": as_gige,
}


@pytest.mark.parametrize("depth", BAYER_PACKINGS)
@pytest.mark.parametrize(
    ("name", "pattern"), [("RG", "RGGB"), ("BG", "BGGR"), ("GR", "GRBG"), ("GB", "GBRG")]
)
def test_bayer_of_every_depth_gives_its_colours(depth: str, name: str, pattern: str) -> None:
    bits = int(depth.removesuffix("p").removesuffix("Packed"))
    colour = {"R": 200, "G": 120, "B": 40}
    tile = np.array([colour[letter] for letter in pattern]).reshape(2, 2)
    values = (np.tile(tile, (3, 4)).astype(np.int64) << (bits - 8)) + (1 if bits > 8 else 0)
    image = convert(BAYER_PACKINGS[depth](values, bits).ravel(), f"Bayer{name}{depth}")
    assert image.shape == (6, 8, 3)
    assert np.all(image[1:-1, 1:-1] == [200, 120, 40])


# Brightness and colour: made from RGB by the standards' own formulas, then turned back.

COLOURS = np.array(
    [[255, 255, 255], [0, 0, 0], [200, 30, 30], [30, 200, 30], [30, 30, 200], [128, 128, 128], [250, 220, 10],
     [90, 60, 40]]
)  # fmt: skip


def full(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """JFIF: BT.601 with all levels."""
    red, green, blue = rgb.T
    return np.stack(
        [
            0.299 * red + 0.587 * green + 0.114 * blue,
            128 - 0.168736 * red - 0.331264 * green + 0.5 * blue,
            128 + 0.5 * red - 0.418688 * green - 0.081312 * blue,
        ]
    ).T


def bt601(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    red, green, blue = rgb.T / 255
    return np.stack(
        [
            16 + 65.481 * red + 128.553 * green + 24.966 * blue,
            128 - 37.797 * red - 74.203 * green + 112 * blue,
            128 + 112 * red - 93.786 * green - 18.214 * blue,
        ]
    ).T


def bt709(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    red, green, blue = rgb.T / 255
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return np.stack(
        [16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8556, 128 + 224 * (red - luma) / 1.5748]
    ).T


LUMA = {
    "YUV8_UYV": (full, "UYV"),
    "YUV422_8": (full, "YUYV"),
    "YUV422_8_UYVY": (full, "UYVY"),
    "YUV411_8_UYYVYY": (full, "UYYVYY"),
    "YCbCr8": (full, "YUV"),
    "YCbCr8_CbYCr": (full, "UYV"),
    "YCbCr422_8": (full, "YUYV"),
    "YCbCr422_8_CbYCrY": (full, "UYVY"),
    "YCbCr411_8": (full, "YYUYYV"),
    "YCbCr411_8_CbYYCrYY": (full, "UYYVYY"),
    "YCbCr601_8_CbYCr": (bt601, "UYV"),
    "YCbCr601_422_8": (bt601, "YUYV"),
    "YCbCr601_422_8_CbYCrY": (bt601, "UYVY"),
    "YCbCr601_411_8_CbYYCrYY": (bt601, "UYYVYY"),
    "YCbCr709_8_CbYCr": (bt709, "UYV"),
    "YCbCr709_422_8": (bt709, "YUYV"),
    "YCbCr709_422_8_CbYCrY": (bt709, "UYVY"),
    "YCbCr709_411_8_CbYYCrYY": (bt709, "UYYVYY"),
}


@pytest.mark.parametrize("pixel_format", LUMA)
def test_brightness_and_colour_become_rgb(pixel_format: str) -> None:
    """Each line is of one colour, so that what pixels share is the same."""
    formula, order = LUMA[pixel_format]
    sent = np.clip(np.rint(formula(COLOURS.astype(float))), 0, 255).astype(np.uint8)
    data = [[dict(zip("YUV", line.tolist(), strict=True))[letter] for letter in order] for line in sent]
    pixels = order.count("Y")
    groups = 8 // pixels
    lines = np.array([line * groups for line in data], np.uint8)
    image = to_image(lines.ravel(), pixel_format=pixel_format, width_px=pixels * groups, height_px=8)
    expected = np.broadcast_to(COLOURS[:, None], image.shape)
    assert np.abs(image.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("pixel_format", LUMA)
def test_each_pixel_keeps_its_own_brightness(pixel_format: str) -> None:
    formula, order = LUMA[pixel_format]
    levels = np.arange(8) * 30
    sent = formula(np.repeat(levels[:, None], 3, 1).astype(float))[:, 0].round().astype(np.uint8)
    pixels = order.count("Y")
    line: list[int] = []
    for first in range(0, 8 - 8 % pixels, pixels):
        own = iter(sent[first : first + pixels].tolist())
        line += [next(own) if letter == "Y" else 128 for letter in order]
    image = to_image(np.array(line, np.uint8), pixel_format=pixel_format, width_px=8, height_px=1)
    assert np.abs(image[0].astype(int) - levels[:, None]).max() <= 2


def test_every_format_is_tested() -> None:
    grey = {f"Mono{bits}" for bits in ("8", "10", "10p", "10Packed", "12", "12p", "12Packed", "14", "16")}
    bayer = {f"Bayer{name}{depth}" for name in ("RG", "BG", "GR", "GB") for depth in BAYER_PACKINGS}
    assert set(SUPPORTED) == grey | bayer | set(LUMA) | {"RGB8", "BGR8", "RGBa8", "BGRa8"}


def test_the_names_are_pfncs_own() -> None:
    from harvesters.util.pfnc import symbolics

    assert set(SUPPORTED) <= set(symbolics.values())


@pytest.mark.parametrize(
    ("pixel_format", "width_px", "multiple"),
    [("Mono12p", 7, 2), ("Mono10p", 6, 4), ("YUV411_8_UYYVYY", 6, 4)],
)
def test_a_line_that_does_not_end_with_a_byte_is_refused(
    pixel_format: str, width_px: int, multiple: int
) -> None:
    with pytest.raises(
        FrameFormatError,
        match=f"{pixel_format} with a width of {width_px}: expected a multiple of {multiple}",
    ):
        line_bytes(pixel_format, width_px)


def test_the_reference_lists_every_format() -> None:
    text = (Path(__file__).parents[3] / "docs" / "reference" / "cameras.md").read_text(encoding="utf-8")
    table = text.split("## Pixel formats")[1].split("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", table)) & set(SUPPORTED) == set(SUPPORTED)
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == set(SUPPORTED)


def test_other_formats_are_refused_with_the_list() -> None:
    for pixel_format in ("Mono1p", "RGB12p", "YCbCr422_10", "Coord3D_ABC32f"):
        with pytest.raises(FrameFormatError, match=f"{pixel_format} not supported .*BGR8.*Mono8"):
            check_supported(pixel_format)
    for pixel_format in SUPPORTED:
        check_supported(pixel_format)
