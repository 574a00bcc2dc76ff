import os
from pathlib import Path

import numpy as np
import pytest

from partgate.records import Home, ImageMissing, ImageStore, StoreDamaged, StoreUnwritable

RANDOM = np.random.default_rng(7)
GREY = RANDOM.integers(0, 256, (48, 70), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (48, 70, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(GREY, id="grey"),
        pytest.param(COLOUR, id="colour"),
        pytest.param(COLOUR[::2, ::-1], id="not-contiguous"),
        pytest.param(np.zeros((1, 1), np.uint8), id="one-pixel"),
        pytest.param(np.full((9, 5, 3), 255, np.uint8), id="flat"),
    ],
)
def test_an_image_comes_back_to_the_last_bit(images: ImageStore, image: np.ndarray) -> None:
    sha256 = images.put(image)
    back = images.get(sha256)
    assert back.dtype == np.uint8
    assert back.shape == image.shape
    np.testing.assert_array_equal(back, image)
    assert images.has(sha256)


def test_a_frame_of_a_camera_may_be_read_only(images: ImageStore) -> None:
    image = GREY.copy()
    image.flags.writeable = False
    np.testing.assert_array_equal(images.get(images.put(image)), GREY)


def test_a_map_comes_back_to_the_last_bit(images: ImageStore) -> None:
    anomaly_map = RANDOM.normal(0, 1e6, (32, 40)).astype(np.float32)
    anomaly_map[0, :3] = np.inf, -np.inf, 0
    sha256 = images.put_map(anomaly_map)
    back = images.get_map(sha256)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, anomaly_map)


def test_a_file_lies_under_its_own_hash_and_nothing_else_does(home: Home, images: ImageStore) -> None:
    sha256 = images.put(GREY)
    assert images.put(GREY) == sha256
    files = [path.relative_to(home.images_path) for path in home.images_path.rglob("*") if path.is_file()]
    assert files == [Path(sha256[:2], f"{sha256}.jxl")]


def test_what_is_there_is_not_written_again(home: Home, images: ImageStore) -> None:
    """A file that replaces another frees its blocks, for which everybody's next commit may have to wait."""
    image, anomaly_map = images.put(GREY), images.put_map(np.ones((4, 4), np.float32))
    files = [
        path
        for folder in (home.images_path, home.maps_path)
        for path in folder.rglob("*.*")
        if path.is_file()
    ]
    before = [path.stat().st_ino for path in files]
    assert images.put_all([GREY], [np.ones((4, 4), np.float32)]) == [image, anomaly_map]
    assert [path.stat().st_ino for path in files] == before
    assert len(before) == 2


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(GREY.astype(np.uint16), id="16-bit"),
        pytest.param(GREY.astype(np.float32), id="float"),
        pytest.param(GREY[0], id="a-row"),
        pytest.param(np.zeros((4, 4, 4), np.uint8), id="four-channels"),
    ],
)
def test_what_is_no_image_is_refused(images: ImageStore, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="an image is"):
        images.put(image)


def test_what_is_no_map_is_refused(images: ImageStore) -> None:
    with pytest.raises(ValueError, match="an anomaly map is"):
        images.put_map(np.zeros((2, 2), np.float64))
    with pytest.raises(ValueError, match="an anomaly map is"):
        images.put_map(np.zeros((2, 2, 1), np.float32))


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [_flip_a_bit, _truncate, _empty])
def test_a_damaged_file_is_noticed_and_named(home: Home, images: ImageStore, spoil: object) -> None:
    assert callable(spoil)
    image, anomaly_map = images.put(COLOUR), images.put_map(np.ones((4, 4), np.float32))
    for folder in (home.images_path, home.maps_path):
        spoil(next(path for path in folder.rglob("*") if path.is_file()))
    with pytest.raises(StoreDamaged, match=f"{image}.jxl: the image is damaged"):
        images.get(image)
    with pytest.raises(StoreDamaged, match=f"{anomaly_map}.npy: the image is damaged"):
        images.get_map(anomaly_map)
    assert images.put(COLOUR) == image  # the same image put in again mends it
    np.testing.assert_array_equal(images.get(image), COLOUR)


def test_a_missing_file_is_named(images: ImageStore) -> None:
    with pytest.raises(ImageMissing, match=f"{'0' * 64}.jxl: the image is missing"):
        images.get("0" * 64)
    assert not images.has("0" * 64)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../../etc/passwd",
        "0" * 63,
        "0" * 65,
        "0" * 63 + "G",
        "A" * 64,
        "/" + "0" * 63,
        "0" * 64 + "\n",
        "0" * 62 + "/.",
        "\u0660" * 64,
    ],
)
def test_what_is_no_hash_never_becomes_a_path(images: ImageStore, name: str) -> None:
    for ask in (images.get, images.get_map, images.has):
        with pytest.raises(ImageMissing, match="is not a SHA-256"):
            ask(name)


def test_a_map_with_a_pickle_in_it_is_not_opened(home: Home, images: ImageStore) -> None:
    import hashlib
    import io

    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    (home.maps_path / sha256[:2]).mkdir()
    (home.maps_path / sha256[:2] / f"{sha256}.npy").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="allow_pickle"):
        images.get_map(sha256)


def test_a_failing_disk_leaves_no_half_file(
    home: Home, images: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(StoreUnwritable, match="No space left on device"):
        images.put(GREY)
    monkeypatch.undo()
    assert [path for path in home.images_path.rglob("*") if path.is_file()] == []


def test_sweeping_takes_old_leftovers_only(home: Home, images: ImageStore) -> None:
    sha256 = images.put(GREY)
    folder = home.images_path / ".incoming"
    old, new = folder / "a.part", folder / "b.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert images.sweep() == 1
    assert (old.exists(), new.exists(), images.has(sha256)) == (False, True, True)


def test_sweeping_goes_through_no_folder_of_images(
    images: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that reads the names of months of images takes minutes."""
    for number in range(40):
        images.put(GREY + np.uint8(number))
    looked: list[str] = []
    scan = os.scandir

    def noted(path: object) -> object:
        looked.append(str(path))
        return scan(path)  # type: ignore[call-overload] # as it was called

    monkeypatch.setattr(os, "scandir", noted)
    images.sweep()
    assert {Path(one).name for one in looked} <= {".incoming", "images", "maps"}


def test_of_many_images_one_that_fails_fails_alone(
    home: Home, images: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fdatasync, iter(range(10))

    def broken_at_the_second(descriptor: int) -> None:
        if next(calls) == 1:
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", broken_at_the_second)
    no_image = np.zeros((4, 4, 4), np.uint8)
    whole, unsynced, refused, mapped = images.put_all([GREY, COLOUR, no_image], [np.ones((4, 4), np.float32)])
    assert isinstance(whole, str)
    assert isinstance(mapped, str)
    assert isinstance(unsynced, StoreUnwritable)
    assert isinstance(refused, ValueError)
    np.testing.assert_array_equal(images.get(whole), GREY)
    np.testing.assert_array_equal(images.get_map(mapped), np.ones((4, 4), np.float32))
    files = [
        path
        for folder in (home.images_path, home.maps_path)
        for path in folder.rglob("*.*")
        if path.is_file()
    ]
    assert len(files) == 2
