"""The virtual line: parts that are alike, defects that are plain, and the same ones every time."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from partgate_cameras import CameraUnavailable, DefectKind, draw_part, make_camera
from partgate_cameras import _texture as texture_module
from partgate_station import Unavailable, VirtualCamera

TEXTURES = ("brick", "grass", "gravel")


def line(
    texture: str = "brick", *, defect_rate: float = 0.1, seed: int = 7, size_px: int = 256
) -> VirtualCamera:
    return VirtualCamera.model_validate(
        {
            "kind": "virtual",
            "camera_id": "top",
            "texture": texture,
            "seed": seed,
            "size_px": size_px,
            "defect_rate": defect_rate,
        }
    )


def test_the_same_number_is_the_same_part_in_any_process() -> None:
    config = line(defect_rate=0.5)
    here = [int(draw_part(config, number).image.astype(np.int64).sum()) for number in (5, 3, 4)]
    program = (
        "from partgate_cameras import draw_part; from partgate_station import VirtualCamera;"
        f"c = VirtualCamera.model_validate_json({config.model_dump_json()!r});"
        "print(*(int(draw_part(c, n).image.astype('int64').sum()) for n in (3, 4, 5)))"
    )
    there = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True
    )
    three, four, five = map(int, there.stdout.split())
    assert here == [five, three, four]


def test_parts_differ_by_number_and_by_seed() -> None:
    images = [
        draw_part(line(seed=seed, defect_rate=0), number).image for seed in (1, 2) for number in range(5)
    ]
    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.parametrize("texture", TEXTURES)
def test_good_parts_are_alike_in_light_and_contrast(texture: str) -> None:
    images = np.stack([draw_part(line(texture, defect_rate=0), number).image for number in range(60)])
    means = images.mean((1, 2))
    spreads = images.std((1, 2))
    assert means.std() < 10
    assert abs(means - means.mean()).max() < 4 * means.std()
    assert spreads.std() < 0.15 * spreads.mean()


@pytest.mark.parametrize("texture", TEXTURES)
@pytest.mark.parametrize("size_px", [64, 256, 448])
def test_every_defect_is_plain(texture: str, size_px: int) -> None:
    config = line(texture, defect_rate=1.0, size_px=size_px)
    good = config.model_copy(update={"defect_rate": 0.0})
    kinds: Counter[DefectKind] = Counter()
    for number in range(40):
        part, without = draw_part(config, number), draw_part(good, number).image
        defect = part.defect
        assert defect is not None
        kinds[defect.kind] += 1
        assert defect.contrast >= 45
        assert defect.size_px >= {DefectKind.SCRATCH: 30}.get(defect.kind, 12)
        difference = np.abs(part.image.astype(int) - without)
        assert difference[defect.mask].mean() == pytest.approx(defect.contrast)
        assert difference[defect.mask].sum() > 0.7 * difference.sum(), "it lies where the mask says"
        rows, columns = np.nonzero(defect.mask)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == defect.size_px
    assert set(kinds) == set(DefectKind)


def test_defects_vary_in_size_and_contrast() -> None:
    parts = [draw_part(line(defect_rate=1.0), number) for number in range(80)]
    for kind in DefectKind:
        defects = [part.defect for part in parts if part.defect is not None and part.defect.kind is kind]
        sizes, contrasts = [defect.size_px for defect in defects], [defect.contrast for defect in defects]
        assert max(sizes) > 1.5 * min(sizes)
        assert max(contrasts) > 1.1 * min(contrasts)


def test_the_defect_rate_is_the_share_of_defective_parts() -> None:
    config = line(defect_rate=0.1, size_px=64)
    defective = sum(draw_part(config, number).defect is not None for number in range(1000))
    assert 70 <= defective <= 130
    assert all(draw_part(line(defect_rate=0.0, size_px=64), number).defect is None for number in range(50))


def test_the_camera_gives_the_drawn_parts_in_order() -> None:
    config = line(defect_rate=0.5)
    camera = make_camera(config, start_at=12)
    with pytest.raises(CameraUnavailable, match="not open"):
        camera.grab(1)
    camera.open()
    for number in (12, 13):
        frame = camera.grab(1)
        assert (frame.frame_id, frame.camera_id, frame.camera_timestamp_ns) == (number, "top", None)
        assert not frame.image.flags.writeable
        np.testing.assert_array_equal(frame.image, draw_part(config, number).image)
    camera.close()
    camera.close()
    with pytest.raises(CameraUnavailable):
        camera.grab(1)
    camera.open()
    assert camera.grab(1).frame_id == 14


def test_without_the_photographs_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texture_module.load_texture.cache_clear()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "skimage", raising=False)
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(Unavailable, match=r"scikit-image, which is not installed.*partgate\[demo\]"):
        make_camera(line()).open()


def test_drawing_imports_no_scikit_image() -> None:
    program = (
        "import sys; from partgate_cameras import draw_part; from partgate_station import VirtualCamera;"
        "draw_part(VirtualCamera(kind='virtual', camera_id='a'), 0);"
        "print(sorted({'skimage', 'pooch', 'harvesters', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout.strip() == "[]"
