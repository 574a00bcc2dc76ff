"""Reading image files: what is converted how, and what is refused in which words."""

import io
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg  # type: ignore[import-untyped] # its wheel has stubs but no py.typed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from partgate_cameras import ImageError, decode_image, read_image
from partgate_station import MissingInput

Array = NDArray[np.uint8]


def grey_picture() -> Array:
    rows, columns = np.mgrid[0:60, 0:80]
    noise = np.random.default_rng(1).integers(0, 40, (60, 80))
    return np.asarray(rows * 2 + columns + noise, np.uint8)


def rgb_picture() -> Array:
    grey = grey_picture()
    return np.stack([grey, grey // 2, 255 - grey], axis=-1)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


GREY, RGB = Image.fromarray(grey_picture()), Image.fromarray(rgb_picture())
SIXTEEN = Image.fromarray(grey_picture().astype(np.uint16) * 256 + 77)
ALPHA = RGB.copy()
ALPHA.putalpha(GREY)
BITS = GREY.convert("1")
PALETTE = RGB.convert("P")


@pytest.mark.parametrize(
    ("picture", "kind", "expected"),
    [
        pytest.param(GREY, "PNG", grey_picture(), id="png grey"),
        pytest.param(RGB, "PNG", rgb_picture(), id="png rgb"),
        pytest.param(SIXTEEN, "PNG", grey_picture(), id="png 16 bit keeps the upper eight"),
        pytest.param(ALPHA, "PNG", rgb_picture(), id="png alpha dropped, not blended"),
        pytest.param(ALPHA.convert("LA"), "PNG", np.asarray(RGB.convert("L")), id="png grey alpha dropped"),
        pytest.param(BITS, "PNG", np.asarray(BITS).astype(np.uint8) * 255, id="png 1 bit"),
        pytest.param(PALETTE, "PNG", np.asarray(PALETTE.convert("RGB")), id="png palette"),
        pytest.param(GREY, "TIFF", grey_picture(), id="tiff grey"),
        pytest.param(RGB, "TIFF", rgb_picture(), id="tiff rgb"),
        pytest.param(SIXTEEN, "TIFF", grey_picture(), id="tiff 16 bit"),
        pytest.param(ALPHA, "TIFF", rgb_picture(), id="tiff alpha dropped"),
        pytest.param(BITS, "TIFF", np.asarray(BITS).astype(np.uint8) * 255, id="tiff 1 bit"),
        pytest.param(PALETTE, "TIFF", np.asarray(PALETTE.convert("RGB")), id="tiff palette"),
        pytest.param(GREY, "BMP", grey_picture(), id="bmp grey"),
        pytest.param(RGB, "BMP", rgb_picture(), id="bmp rgb"),
        pytest.param(BITS, "BMP", np.asarray(BITS).astype(np.uint8) * 255, id="bmp 1 bit"),
    ],
)
def test_lossless_formats_give_their_pixels(
    picture: Image.Image, kind: str, expected: Array, tmp_path: Path
) -> None:
    path = tmp_path / "picture.bin"  # the suffix does not matter
    path.write_bytes(encoded(picture, kind))
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", "zstd"])
def test_compressed_tiff(compression: str) -> None:
    np.testing.assert_array_equal(decode_image(encoded(RGB, "TIFF", compression=compression)), rgb_picture())


def test_tiff_with_white_as_zero_is_inverted() -> None:
    data = bytearray(encoded(GREY, "TIFF"))
    where = data.index(struct.pack("<HHI", 262, 3, 1))
    data[where + 8] = 0
    np.testing.assert_array_equal(decode_image(bytes(data)), 255 - grey_picture())


def test_16_bit_rgb_png_keeps_the_upper_eight() -> None:
    header = struct.pack(">IIBBBBB", 80, 60, 16, 2, 0, 0, 0)
    lines = (rgb_picture().astype(np.uint16) * 256 + 200).astype(">u2").reshape(60, -1)
    rows = b"".join(b"\0" + line.tobytes() for line in lines)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(decode_image(png), rgb_picture())


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_has_the_pixels_that_other_decoders_give(progressive: bool) -> None:
    for picture in (GREY, RGB):
        data = encoded(picture, "JPEG", quality=92, progressive=progressive)
        np.testing.assert_array_equal(decode_image(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    data = encoded(GREY, kind, exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    np.testing.assert_array_equal(decode_image(data), expected)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encoded(GREY, "JPEG"), id="jpeg"),
        pytest.param(encoded(RGB, "JPEG", progressive=True), id="progressive jpeg"),
        pytest.param(encoded(GREY, "PNG"), id="png"),
        pytest.param(encoded(RGB, "BMP"), id="bmp"),
        pytest.param(encoded(GREY, "TIFF"), id="tiff"),
        pytest.param(encoded(GREY, "TIFF", compression="tiff_lzw"), id="compressed tiff"),
    ],
)
def test_truncated_files_are_refused_at_every_length(data: bytes, tmp_path: Path) -> None:
    lengths = sorted(
        {*range(60, len(data), 97), len(data) // 2, len(data) - 12, *range(len(data) - 4, len(data))}
    )
    for length in lengths:
        with pytest.raises(ImageError, match=f"truncated.*{length:,} bytes|damaged"):
            decode_image(data[:length])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_truncated_says_so_with_its_byte_count(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "img_123.jpg"
    path.write_bytes(encoded(GREY, kind)[:1000])
    with pytest.raises(ImageError, match=r"img_123\.jpg: truncated: 1,000 bytes"):
        read_image(path)


def test_jpeg_with_a_block_missing_is_no_grey_half() -> None:
    data = encoded(GREY, "JPEG", quality=95)
    middle = len(data) // 2
    for damaged in (data[:middle] + b"\xff\xd9", data[:middle] + data[middle + 200 :]):
        assert np.asarray(Image.open(io.BytesIO(damaged))).shape == (60, 80), "others take it"
        with pytest.raises(ImageError, match="damaged"):
            decode_image(damaged)


def test_png_with_flipped_bits_is_refused() -> None:
    data = bytearray(encoded(GREY, "PNG"))
    data[len(data) // 2] ^= 0x10
    with pytest.raises(ImageError, match="damaged"):
        decode_image(bytes(data))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", r"x\.jpg: not an image \(0 bytes\)", id="empty"),
        pytest.param(b"<!DOCTYPE html><html>", r"x\.jpg: not an image \(starts with '<!DO'\)", id="html"),
        pytest.param(b"part;score\n1;2\n", r"not an image \(starts with 'part'\)", id="text"),
        pytest.param(b"BMP is a format", r"not an image \(starts with 'BMP '\)", id="text like a bitmap"),
        pytest.param(b"\0\1\2\3\4", r"not an image \(starts with 00 01 02 03 04\)", id="binary"),
        pytest.param(b"GIF89a" + bytes(40), r"format GIF not allowed \(PNG, JPEG, TIFF, BMP\)", id="gif"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", "format EPS not allowed", id="eps"),
        pytest.param(b"8BPS\0\1" + bytes(40), "format PSD not allowed", id="psd"),
        pytest.param(b"SIMPLE  =                    T", "format FITS not allowed", id="fits"),
        pytest.param(
            b"<?xml version='1.0'?>\n<svg xmlns='x'>", "format SVG not allowed", id="svg with prolog"
        ),
        pytest.param(b"<svg xmlns='x'>", "format SVG not allowed", id="svg"),
        pytest.param(b"RIFF\0\0\0\0WEBPVP8 ", "format WebP not allowed", id="webp"),
    ],
)
def test_what_is_no_image_is_refused_by_name(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=words) as caught:
        read_image(path)
    assert caught.value.exit_code == 65


def png_bomb() -> bytes:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(50_001)))
        + chunk(b"IEND", b"")
    )


def jpeg_bomb() -> bytes:
    data = bytearray(encoded(GREY, "JPEG"))
    where = data.index(b"\xff\xc0")
    data[where + 5 : where + 9] = struct.pack(">HH", 50_000, 50_000)
    return bytes(data)


def bmp_bomb() -> bytes:
    data = bytearray(encoded(GREY, "BMP"))
    data[18:26] = struct.pack("<ii", 50_000, 50_000)
    return bytes(data)


def tiff_bomb() -> bytes:
    data = encoded(Image.new("1", (500, 500)), "TIFF", compression="group4")
    for tag in (256, 257):
        data = data.replace(struct.pack("<HHIHH", tag, 3, 1, 500, 0), struct.pack("<HHII", tag, 4, 1, 50_000))
        data = data.replace(struct.pack("<HHII", tag, 4, 1, 500), struct.pack("<HHII", tag, 4, 1, 50_000))
    return data


@pytest.mark.parametrize("bomb", [png_bomb, jpeg_bomb, bmp_bomb, tiff_bomb])
def test_bombs_are_refused_by_their_header(bomb: Callable[[], bytes]) -> None:
    data = bomb()
    tracemalloc.start()
    with pytest.raises(ImageError, match=r"50000×50000 pixels, 2,500 Mpx, exceed the limit of 64 Mpx"):
        decode_image(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(encoded(RGB.convert("CMYK"), "JPEG"), "colour model CMYK not allowed", id="cmyk jpeg"),
        pytest.param(encoded(RGB.convert("CMYK"), "TIFF"), "colour model CMYK not allowed", id="cmyk tiff"),
        pytest.param(encoded(RGB.convert("LAB"), "TIFF"), "colour model CIELab not allowed", id="lab tiff"),
        pytest.param(encoded(GREY.convert("F"), "TIFF"), "32 bits not allowed", id="float tiff"),
        pytest.param(encoded(GREY.convert("I"), "TIFF"), "32 bits not allowed", id="32 bit tiff"),
        pytest.param(encoded(GREY, "TIFF", save_all=True, append_images=[GREY]), "several pages", id="pages"),
        pytest.param(
            encoded(GREY, "PNG", save_all=True, append_images=[RGB.convert("L").rotate(180)]),
            "animated PNG",
            id="apng",
        ),
        pytest.param(encoded(GREY, "TIFF", big_tiff=True), "format BigTIFF not allowed", id="bigtiff"),
    ],
)
def test_kinds_that_have_no_clear_meaning_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        decode_image(data)


def test_an_image_of_exactly_the_limit_is_read() -> None:
    assert decode_image(encoded(Image.new("1", (8000, 8000)), "PNG")).size == 64_000_000


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")


def test_odd_names_are_shown_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a\nb\x1b[31m😀.png"
    path.write_bytes(b"text")
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert r"a\nb\x1b[31m😀.png: not an image" in str(caught.value)
    undecodable = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    undecodable.write_bytes(b"text")
    with pytest.raises(ImageError, match=r"\\udcff\.png: not an image"):
        read_image(undecodable)
    with pytest.raises(ImageError, match=r"a\\x00b\.png: cannot be read \(embedded null byte\)"):
        read_image(Path("a\0b.png"))


def test_a_fifo_and_a_device_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero"), tmp_path):
        with pytest.raises(ImageError, match="not a regular file"):
            read_image(path)


def test_links_that_lead_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png: cannot be read"):
        read_image(tmp_path / "a.png")


def test_a_file_without_permission(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        path = Path("/proc/self/mem")  # root may read every file, but not this one from its start
        words = "cannot be read|not an image"
    else:
        path, words = tmp_path / "locked.png", "cannot be read"
        path.write_bytes(encoded(GREY, "PNG"))
        path.chmod(0)
    with pytest.raises(ImageError, match=words):
        read_image(path)


SMALL = Image.fromarray(grey_picture()[:12, :16])
VALID = [
    encoded(SMALL, "PNG"),
    encoded(SMALL.convert("P"), "PNG"),
    encoded(SMALL, "JPEG", exif=Image.Exif().tobytes()),
    encoded(SMALL.convert("RGB"), "JPEG", progressive=True),
    encoded(SMALL, "BMP"),
    encoded(SMALL.convert("P"), "BMP"),
    encoded(SMALL, "TIFF"),
    encoded(SMALL.convert("P"), "TIFF", compression="tiff_lzw"),
    encoded(SMALL.convert("1"), "TIFF", compression="group4"),
]
SIGNATURES = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM" + bytes(12) + b"\x28\0\0\0"]


def outcome(data: bytes) -> None:
    try:
        image = decode_image(data)
    except ImageError:
        return
    assert image.dtype == np.uint8
    assert image.ndim in {2, 3}
    assert image.ndim == 2 or image.shape[2] == 3
    assert image.size > 0


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(start=st.sampled_from([b"", *SIGNATURES]), rest=st.binary(max_size=400))
def test_any_bytes_give_an_image_or_an_image_error(start: bytes, rest: bytes) -> None:
    outcome(start + rest)


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.sampled_from(VALID),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6),
    keep=st.floats(0, 1),
    cut=st.booleans(),
)
def test_damaged_images_give_an_image_or_an_image_error(
    data: bytes, changes: list[tuple[int, int]], keep: float, cut: bool
) -> None:
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    outcome(bytes(damaged[: int(keep * len(damaged))]) if cut else bytes(damaged))


@pytest.mark.parametrize("component", [0, 1, 2])
def test_every_chroma_subsampling_gives_an_image_or_an_image_error(component: int) -> None:
    data = bytearray(encoded(SMALL.convert("RGB"), "JPEG"))
    where = data.index(b"\xff\xc0") + 11 + 3 * component
    for factors in range(256):
        data[where] = factors
        outcome(bytes(data))


def test_a_palette_that_does_not_fit_is_damage() -> None:
    data = bytearray(encoded(SMALL.convert("P"), "TIFF"))
    where = data.index(struct.pack("<HHI", 320, 3, 768))
    for colours in (3, 200, 767, 769):
        data[where + 4 : where + 8] = struct.pack("<I", colours)
        outcome(bytes(data))
    data[where + 4 : where + 8] = struct.pack("<I", 3)
    with pytest.raises(ImageError, match="damaged"):
        decode_image(bytes(data))


def test_strict_decoding_is_what_refuses(tmp_path: Path) -> None:
    # Holds the reason for the decoder: without strictness it gives a picture, too.
    data = encoded(GREY, "JPEG", quality=95)
    assert simplejpeg.decode_jpeg(data[: len(data) // 2], "GRAY", strict=False).shape == (60, 80, 1)
