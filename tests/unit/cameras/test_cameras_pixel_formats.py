"""From the bytes of a camera to grey or RGB."""

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_cameras import FrameFormatError
from partgate_cameras._pixel_formats import SUPPORTED, check_supported, to_image

Array = NDArray[np.uint8]
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


def test_other_formats_are_refused_with_the_list() -> None:
    for pixel_format in ("Mono12p", "YUV422_8", "Coord3D_ABC32f"):
        with pytest.raises(FrameFormatError, match=f"{pixel_format} not supported .*BGR8.*Mono8"):
            check_supported(pixel_format)
    for pixel_format in SUPPORTED:
        check_supported(pixel_format)
