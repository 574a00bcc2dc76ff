"""Which mask belongs to which defective image."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partgate.retraining import marked_defects, read_images
from partgate_engines.anomaly import GoodImage, quiet
from partgate_station import DataError, MissingInput


def write(path: Path, *, marked: bool = False, size: tuple[int, int] = (40, 50)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(size, 90, dtype=np.uint8)
    if path.parts[-2] == "masks" or "masks" in path.parts:
        pixels[:] = 0
        pixels[10:20, 10:20] = 255 if marked else 0
    Image.fromarray(pixels).save(path)


@pytest.fixture
def defective(tmp_path: Path) -> tuple[GoodImage, ...]:
    for name in ("crack/1", "crack/2", "hole/1"):
        write(tmp_path / "defective" / f"{name}.png")
    return tuple(read_images(tmp_path / "defective", skip_bad=False, progress=quiet).images)


@pytest.mark.parametrize("ending", [".png", "_mask.png", ".bmp"])
def test_a_mask_has_the_name_of_its_image(
    ending: str, defective: tuple[GoodImage, ...], tmp_path: Path
) -> None:
    write(tmp_path / "masks" / "hole" / f"1{ending}", marked=True)
    (found,) = marked_defects(defective, tmp_path / "masks")
    assert found.origin.endswith("hole/1.png")
    assert found.mask.sum() == 100
    assert found.mask[15, 15]


def test_what_cannot_be_used_is_named(defective: tuple[GoodImage, ...], tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    with pytest.raises(MissingInput, match="masks: no such folder"):
        marked_defects(defective, masks)
    write(masks / "other.png", marked=True)
    with pytest.raises(DataError, match="none of 1 masks has the name of one of 3 defective images"):
        marked_defects(defective, masks)
    write(masks / "crack" / "1.png")
    write(masks / "crack" / "2.png", marked=True, size=(40, 51))
    with pytest.raises(DataError, match="2 of 3 images cannot be used") as refused:
        marked_defects(defective, masks)
    assert "0 pixels marked" in str(refused.value)
    assert "(40, 51)" in str(refused.value)
