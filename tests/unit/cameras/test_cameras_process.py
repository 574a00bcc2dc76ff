"""A camera in a process of its own is the same camera."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from partgate_cameras import (
    CameraError,
    CameraUnavailable,
    EndOfImages,
    FeatureError,
    ImageError,
    ProcessCamera,
    make_camera,
)
from partgate_station import Camera, FolderCamera, GenicamCamera, MissingInput, VirtualCamera
from scripted_cameras import PATIENCE, camera_in_process, grab_when_back, other_device_first

HEAVY = {"sqlmodel", "sqlalchemy", "openvino", "torch", "fastapi", "typer", "partgate"}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually_gone(pid: int) -> bool:
    give_up_s = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < give_up_s:
        time.sleep(0.02)
    return not is_alive(pid)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_virtual_line_gives_the_same_frames_and_goes_on_when_opened_again() -> None:
    config = VirtualCamera(kind="virtual", camera_id="top", size_px=100, seed=3)
    plain = make_camera(config, start_at=12)
    plain.open()
    camera = ProcessCamera(config, start_at=12)
    with pytest.raises(CameraUnavailable, match="camera top: not open"):
        camera.grab(1)
    before = open_descriptors()
    for _ in range(2):
        camera.open()
        camera.open()
        pid = camera.pid
        assert pid is not None
        for _ in range(3):
            expected, frame = plain.grab(20), camera.grab(20)
            np.testing.assert_array_equal(frame.image, expected.image)
            assert (frame.frame_id, frame.camera_id) == (expected.frame_id, "top")
            assert frame.received_at.utcoffset() is not None
            assert not frame.image.flags.writeable
        camera.close()
        camera.close()
        assert not is_alive(pid)
        with pytest.raises(CameraUnavailable, match="camera top: not open"):
            camera.grab(1)
    assert frame.frame_id == 17
    assert open_descriptors() == before


def test_a_folder_of_many_sizes_with_a_damaged_file_and_an_end(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    images = [
        rng.integers(0, 256, shape, np.uint8) for shape in [(40, 50), (400, 500, 3), (30, 20), (900, 800)]
    ]
    for number, image in enumerate(images):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image[..., ::-1] if image.ndim == 3 else image)
    (tmp_path / "2b.png").write_bytes((tmp_path / "0.png").read_bytes()[:60])
    camera = ProcessCamera(FolderCamera(kind="folder", camera_id="top", folder=tmp_path), start_at=7)
    camera.open()
    kept = [camera.grab(20) for _ in range(3)]
    with pytest.raises(ImageError, match=r"2b\.png: truncated"):
        camera.grab(20)
    before = camera.exhausted
    kept.append(camera.grab(20))
    assert (before, camera.exhausted) == (False, True)
    with pytest.raises(EndOfImages, match="all 5 images"):
        camera.grab(20)
    camera.close()
    assert camera.exhausted
    assert [frame.frame_id for frame in kept] == [0, 1, 2, 4]
    for frame, image in zip(kept, images, strict=True):
        np.testing.assert_array_equal(frame.image, image)


def simulator(**features: object) -> GenicamCamera:
    usual = {"AcquisitionFrameRate": 100.0, "PixelFormat": "RGBa8", "Width": 320, "Height": 240}
    return GenicamCamera.model_validate(
        {"kind": "genicam", "camera_id": "top", "producer": "viky.cti", "features": usual | features}
    )


@pytest.mark.parametrize(
    ("named", "wanted"),
    [({}, ["None", "0"]), ({"serial_number": "2"}, ["2", "2"])],
    ids=["the first there is", "by its number"],
)
def test_f01_a_camera_that_is_opened_again_is_the_same_device(
    tmp_path: Path, named: dict[str, str], wanted: list[str]
) -> None:
    camera = ProcessCamera(
        simulator().model_copy(update=named),
        make=partial(other_device_first, folder=tmp_path),
        patience=PATIENCE,
    )
    camera.open()
    try:
        camera.grab(20)
        assert camera.pid is not None
        os.kill(camera.pid, signal.SIGKILL)
        grab_when_back(camera)
    finally:
        camera.close()
    assert [(tmp_path / str(number)).read_text() for number in range(2)] == wanted


def test_a_genicam_camera_keeps_its_own_count() -> None:
    camera = ProcessCamera(simulator())
    camera.open()
    frames = [camera.grab(20) for _ in range(5)]
    camera.close()
    assert [frame.image.shape for frame in frames] == [(240, 320, 3)] * 5
    numbers = [frame.frame_id for frame in frames]
    assert numbers == sorted(set(numbers))
    assert {frame.camera_timestamp_ns for frame in frames} == {None}  # the simulator has no clock


@pytest.mark.parametrize(
    ("config", "error", "text"),
    [
        (simulator(Width=5000), FeatureError, "requested 5000, allowed is 100 to 800"),
        (simulator(NoSuchFeature=1), FeatureError, "NoSuchFeature"),
        (FolderCamera(kind="folder", camera_id="top", folder=Path("gone")), MissingInput, "gone"),
    ],
    ids=["value", "feature", "folder"],
)
def test_what_is_wrong_at_open_is_said_as_without_a_process(
    config: Camera, error: type[Exception], text: str
) -> None:
    camera = ProcessCamera(config)
    with pytest.raises(error, match=text) as raised:
        camera.open()
    with pytest.raises(error) as plain:
        make_camera(config).open()
    assert str(raised.value) == str(plain.value)
    assert camera.pid is None


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        ("bug", CameraError, "camera top: ZeroDivisionError: a driver's bug"),
        ("segfault", CameraUnavailable, "its process ended with exit code -11"),
        ("exit", CameraUnavailable, "its process ended with exit code 3"),
        ("hold", CameraUnavailable, r"did not open in \d"),
    ],
)
def test_open_ends_whatever_the_camera_does(
    tmp_path: Path, act: str, error: type[Exception], text: str
) -> None:
    camera = camera_in_process(tmp_path, {"open": act}, open_s=4)
    with pytest.raises(error, match=text):
        camera.open()
    assert camera.pid is None
    with pytest.raises(CameraUnavailable, match="not open"):
        camera.grab(1)


def test_a_camera_that_could_not_be_opened_can_be_later(tmp_path: Path) -> None:
    (tmp_path / "away").touch()
    camera = camera_in_process(tmp_path, {})
    with pytest.raises(CameraUnavailable, match="controlled by another program"):
        camera.open()
    (tmp_path / "away").unlink()
    camera.open()
    assert camera.grab(20).frame_id == 0
    camera.close()


def test_errors_keep_their_class_and_text_and_the_process_its_life(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    camera = camera_in_process(tmp_path, {"0": "damaged", "1": "feature", "2": "missing", "3": "log"})
    camera.open()
    pid = camera.pid
    with pytest.raises(ImageError, match=r"^7\.png: truncated$"):
        camera.grab(20)
    with pytest.raises(FeatureError, match=r"requested 1\.0, is 2\.0") as feature:
        camera.grab(20)
    with pytest.raises(MissingInput, match="no such folder"):
        camera.grab(20)
    assert feature.value.exit_code == 78
    frame = camera.grab(20)
    assert (frame.frame_id, frame.camera_timestamp_ns) == (3, 3000)
    assert camera.pid == pid
    camera.close()
    assert ("driver", logging.WARNING, "3 frames lost") in caplog.record_tuples


def test_interruptions_are_for_the_station_alone(tmp_path: Path) -> None:
    camera = camera_in_process(tmp_path, {})
    camera.open()
    pid = camera.pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGTERM)
    assert [camera.grab(20).frame_id for _ in range(2)] == [0, 1]
    assert (camera.pid, camera.restarts) == (pid, 0)
    assert os.getpgid(pid) != os.getpgrp()
    camera.close()
    assert (tmp_path / "closed").exists()


def test_the_process_is_light_and_the_first_to_go_when_memory_runs_out(tmp_path: Path) -> None:
    camera = camera_in_process(tmp_path, {"0": "modules"})
    camera.open()
    expendable = int(Path(f"/proc/{camera.pid}/oom_score_adj").read_text())
    with pytest.raises(CameraUnavailable) as listed:
        camera.grab(20)
    camera.close()
    modules = str(listed.value).split()
    assert "partgate_cameras._child" in modules
    assert not HEAVY & {module.partition(".")[0] for module in modules}
    assert expendable > int(Path("/proc/self/oom_score_adj").read_text())


def test_close_does_not_wait_for_a_camera_that_hangs(tmp_path: Path) -> None:
    camera = camera_in_process(tmp_path, {"0": "hold"}, hang_s=600, close_s=0.2)
    camera.open()
    pid = camera.pid
    assert pid is not None
    with pytest.raises(CameraError):
        camera.grab(0.01)
    began_s = time.monotonic()
    camera.close()
    assert time.monotonic() - began_s < 5
    assert not is_alive(pid)


def test_nothing_is_left_when_the_station_is_killed(tmp_path: Path) -> None:
    program = f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from partgate_cameras import FrameTimeout
        from scripted_cameras import camera_in_process
        camera = camera_in_process(Path({str(tmp_path)!r}), {{"1": "hold"}}, hang_s=600)
        camera.open()
        camera.grab(20)
        try:
            camera.grab(0.01)
        except FrameTimeout:
            print(camera.pid, flush=True)
        sys.stdin.read()
    """
    shared = set(Path("/dev/shm").iterdir())
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as station:
        assert station.stdout is not None
        pid = int(station.stdout.readline())
        assert is_alive(pid)
        station.kill()
    assert eventually_gone(pid)
    assert set(Path("/dev/shm").iterdir()) <= shared


def test_a_program_that_forgets_to_close_ends_all_the_same(tmp_path: Path) -> None:
    program = f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from scripted_cameras import camera_in_process
        camera = camera_in_process(Path({str(tmp_path)!r}), {{}})
        camera.open()
        print(camera.pid, flush=True)
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=50, check=True,
    )  # fmt: skip
    assert eventually_gone(int(done.stdout))
    assert "leaked" not in done.stderr


def test_a_frame_that_ends_every_process_is_tried_twice_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    camera = camera_in_process(tmp_path, {"1": "segfault"}, always=True)
    camera.open()
    assert camera.grab(20).frame_id == 0
    assert grab_when_back(camera).frame_id == 2
    assert camera.restarts == 2
    camera.close()
    assert "frame 1 ended its process 2 times; passed over" in caplog.text
