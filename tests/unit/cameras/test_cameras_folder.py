"""Finding images, and giving them one per trigger."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partgate_cameras import (
    CameraUnavailable,
    EndOfImages,
    ImageError,
    list_images,
    make_camera,
    survey_images,
)
from partgate_cameras._frame import Provident
from partgate_station import CameraRegion, FolderCamera, MissingInput


def put(path: Path, level: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 6), level).save(path, "PNG")
    return path


def camera(folder: Path, *, repeat: bool = False) -> FolderCamera:
    return FolderCamera(kind="folder", camera_id="top", folder=folder, repeat=repeat)


def test_images_come_in_natural_order(tmp_path: Path) -> None:
    names = ["img1.png", "img2.png", "IMG3.png", "img10.png", "tray2/a.png", "tray10/a.png"]
    for name in reversed(names):
        put(tmp_path / name)
    assert list_images(tmp_path) == [tmp_path / name for name in names]


def test_one_file_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no image")
    assert list_images(file) == [file]


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="none: no such file or folder"):
        list_images(tmp_path / "none")


def test_a_survey_says_what_it_left_out_and_why(tmp_path: Path) -> None:
    good = put(tmp_path / "b" / "good.png")
    put(tmp_path / ".hidden" / "a.png")
    put(tmp_path / ".hidden.png")
    no_suffix = put(tmp_path / "noname")
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(b"")
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "film.gif").write_bytes(b"GIF89a" + bytes(20))
    (tmp_path / "link.png").symlink_to(good)
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    survey = survey_images(tmp_path)
    assert set(survey.images) == {good, no_suffix, damaged}
    assert {skipped.path.name: skipped.reason for skipped in survey.skipped} == {
        "film.gif": "format GIF not allowed (PNG, JPEG, TIFF, BMP)",
        "link.png": "a link, which is not followed",
        "loop": "a link, which is not followed",
        "notes.txt": "not an image",
        "pipe.png": "not a regular file",
    }


def test_names_with_odd_characters_are_listed(tmp_path: Path) -> None:
    names = ["a\nb.png", "😀.png", "CON.png", "²3.png", os.fsdecode(b"\xff.png"), "x" * 250 + ".png"]
    for name in names:
        put(tmp_path / name)
    assert {path.name for path in list_images(tmp_path)} == set(names)


def test_a_folder_gives_its_images_and_ends(tmp_path: Path) -> None:
    for level in (10, 20, 30):
        put(tmp_path / f"{level}.png", level)
    # A folder begins at its first image, however many parts the station has seen.
    folder = make_camera(camera(tmp_path), start_at=7)
    folder.open()
    before = folder.exhausted
    frames = [folder.grab(1) for _ in range(3)]
    assert (before, folder.exhausted) == (False, True)
    assert [(frame.frame_id, int(frame.image[0, 0])) for frame in frames] == [(0, 10), (1, 20), (2, 30)]
    assert not frames[0].image.flags.writeable
    assert frames[0].received_at.utcoffset() is not None
    for _ in range(2):
        with pytest.raises(EndOfImages, match=r"all 3 images of .* given"):
            folder.grab(1)
    folder.close()
    folder.close()


def test_a_repeating_folder_begins_again_and_counts_on(tmp_path: Path) -> None:
    for level in (10, 20):
        put(tmp_path / f"{level}.png", level)
    folder = make_camera(camera(tmp_path, repeat=True))
    folder.open()
    frames = [folder.grab(1) for _ in range(3)]
    assert [(frame.frame_id, int(frame.image[0, 0])) for frame in frames] == [(0, 10), (1, 20), (2, 10)]
    assert not folder.exhausted


def test_a_damaged_file_costs_its_own_trigger_only(tmp_path: Path) -> None:
    put(tmp_path / "1.png", 10)
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes()[:40])
    gone = put(tmp_path / "3.png", 30)
    put(tmp_path / "4.png", 40)
    folder = make_camera(camera(tmp_path))
    folder.open()
    gone.unlink()
    assert folder.grab(1).frame_id == 0
    with pytest.raises(ImageError, match=r"2\.png: truncated"):
        folder.grab(1)
    with pytest.raises(ImageError, match=r"3\.png: no such file any more"):
        folder.grab(1)
    assert int(folder.grab(1).image[0, 0]) == 40


def test_an_empty_folder_is_refused_at_open(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    folder = make_camera(camera(tmp_path))
    with pytest.raises(
        CameraUnavailable, match=r"camera top: .*: no images .*; skipped 1: a\.txt: not an image"
    ):
        folder.open()
    with pytest.raises(CameraUnavailable, match="not open"):
        folder.grab(1)
    put(tmp_path / "b.png")
    folder.open()
    assert folder.grab(1).image.shape == (6, 8)


def test_reopening_sees_new_images_and_goes_on(tmp_path: Path) -> None:
    put(tmp_path / "1.png", 10)
    folder = make_camera(camera(tmp_path))
    folder.open()
    assert np.all(folder.grab(1).image == 10)
    folder.close()
    put(tmp_path / "2.png", 20)
    folder.open()
    assert np.all(folder.grab(1).image == 20)


def test_one_image_is_read_ahead_and_given_by_the_next_grab(tmp_path: Path) -> None:
    for name, level in (("a.png", 1), ("b.png", 2), ("c.png", 3)):
        put(tmp_path / name, level)
    folder = make_camera(camera(tmp_path))
    assert isinstance(folder, Provident)
    folder.prepare()  # not open: nothing to read
    folder.open()
    for _ in range(2):
        folder.prepare()
    put(tmp_path / "a.png", 9)
    (tmp_path / "c.png").unlink()
    assert (folder.grab(1.0).image == 1).all(), "as it was when it was read"
    assert (folder.grab(1.0).image == 2).all()
    folder.prepare()
    with pytest.raises(ImageError, match="any more"):
        folder.grab(1.0)
    folder.prepare()  # there is none any more
    assert folder.exhausted
    folder.close()


def test_a_damaged_file_that_was_read_ahead_costs_its_own_trigger_only(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(put(tmp_path / "b.png", 2).read_bytes()[:40])
    cut = camera(tmp_path).model_copy(
        update={"region": CameraRegion(x_px=0, y_px=0, width_px=2, height_px=2)}
    )
    folder = make_camera(cut)
    folder.open()
    assert isinstance(folder, Provident)
    folder.prepare()
    with pytest.raises(ImageError, match=r"a\.png"):
        folder.grab(1.0)
    folder.prepare()
    frame = folder.grab(1.0)
    assert (frame.image.shape, frame.image[0, 0], frame.frame_id) == ((2, 2), 2, 1)
    folder.close()
