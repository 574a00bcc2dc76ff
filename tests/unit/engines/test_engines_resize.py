import numpy as np
import pytest

from partgate_engines._resize import reduced, reduction, resize_matrix

SIZES = [(1, 8), (31, 64), (64, 64), (100, 64), (333, 256), (2048, 256)]


@pytest.mark.parametrize(("length_px", "size_px"), SIZES)
def test_resize_is_torchs_antialiased_bilinear(length_px: int, size_px: int) -> None:
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(0).random((length_px, 50), dtype=np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None, None], size=(size_px, 50), mode="bilinear", antialias=True
    )[0, 0].numpy()
    np.testing.assert_allclose(resize_matrix(length_px, size_px) @ image, expected, atol=1e-5)


@pytest.mark.parametrize(("length_px", "size_px"), SIZES)
def test_a_flat_image_stays_flat(length_px: int, size_px: int) -> None:
    np.testing.assert_allclose(resize_matrix(length_px, size_px).sum(axis=1), 1, atol=1e-6)


def test_a_thin_scratch_survives_a_large_reduction() -> None:
    line = np.zeros(2048, dtype=np.float32)
    line[1001] = 255
    reduced = resize_matrix(2048, 256) @ line
    # Every pixel weighs the same on the way down: nothing falls between the samples.
    assert reduced.sum() * 2048 / 256 == pytest.approx(255, rel=1e-3)


def test_the_matrix_is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        resize_matrix(10, 4)[0, 0] = 1


@pytest.mark.parametrize(
    ("height_px", "width_px", "factor"), [(256, 256, 1), (1023, 4000, 1), (1024, 1024, 2), (2048, 2448, 4)]
)
def test_only_large_frames_are_averaged_first(height_px: int, width_px: int, factor: int) -> None:
    assert reduction(height_px, width_px, 256) == factor
    assert min(height_px, width_px) / factor >= min(height_px, 2 * 256)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 6, 8])
def test_averaging_is_the_mean_of_squares_continued_by_the_edge(factor: int, channels: int) -> None:
    pixels = np.random.default_rng(factor).integers(0, 256, (231, 342, channels)).astype(np.uint8)
    padded = np.pad(pixels, ((0, -231 % factor), (0, -342 % factor), (0, 0)), mode="edge").astype(float)
    high, wide = padded.shape[0] // factor, padded.shape[1] // factor
    expected = padded.reshape(high, factor, wide, factor, channels).mean(axis=(1, 3))
    found = reduced(pixels, factor)
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    halvings = (factor & -factor).bit_length() - 1
    roundings = halvings + (factor >> halvings > 1)
    off = found - expected
    assert np.abs(off).max() <= 0.5 * roundings
    assert off.mean() == pytest.approx(0.125 * halvings, abs=0.02)  # halves are rounded up
    # No noisier than one rounding would be (0.29), whatever the number of them.
    assert off.std() < 0.35


def test_a_thin_scratch_on_a_large_frame_keeps_its_contrast() -> None:
    depths = []
    for offset in range(10):
        lines = np.full((8, 2448, 1), 100, np.uint8)
        lines[:, 1200 + offset : 1202 + offset] = 220
        exact = lines[0, :, 0].astype(np.float32) @ resize_matrix(2448, 256).T - 100
        ours = reduced(lines, 4)[0, :, 0].astype(np.float32) @ resize_matrix(612, 256).T - 100
        assert ours.sum() == pytest.approx(exact.sum(), rel=0.03)
        depths.append((ours.max(), exact.max()))
    worst, exact_worst = np.min(depths, axis=0)
    assert worst >= exact_worst
    mean, exact_mean = np.mean(depths, axis=0)
    assert mean == pytest.approx(exact_mean, rel=0.03)
