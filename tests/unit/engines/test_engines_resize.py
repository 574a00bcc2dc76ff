import numpy as np
import pytest

from partgate_engines._resize import resize_matrix

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
