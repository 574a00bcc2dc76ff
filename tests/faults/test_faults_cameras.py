"""What befalls a camera, by the rows of the fault matrix: no part waits, none gets another's frame."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from partgate_cameras import (
    CameraError,
    CameraUnavailable,
    Frame,
    FrameFormatError,
    FrameFrozen,
    FrameIncomplete,
    FrameTimeout,
    ProcessCamera,
)
from partgate_station import GenicamCamera
from scripted_cameras import PATIENCE, camera_in_process, grab_when_back, scripted

SOON_S = 3.0
"""What "at once" may take on a machine that is busy with other things."""


@contextmanager
def opened(camera: ProcessCamera) -> Iterator[ProcessCamera]:
    camera.open()
    try:
        yield camera
    finally:
        camera.close()


def level(frame: Frame) -> int:
    """Return the number that is burned into the picture."""
    return int(frame.image[0, 0])


def pid_of(camera: ProcessCamera) -> int:
    assert camera.pid is not None
    return camera.pid


def wait_until_lost(camera: ProcessCamera, text: str) -> str:
    """Return what the first grab says that finds the camera away."""
    give_up_s = time.monotonic() + 30
    while time.monotonic() < give_up_s:
        try:
            camera.grab(20)
        except CameraUnavailable as error:
            if text in str(error):
                return str(error)
        time.sleep(0.005)
    raise AssertionError(f"the camera was never lost: {text}")


def test_f01_a_process_that_is_killed_is_missed_at_once_and_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(camera_in_process(tmp_path, {})) as camera:
        assert [camera.grab(20).frame_id for _ in range(3)] == [0, 1, 2]
        os.kill(pid_of(camera), signal.SIGKILL)
        began_s = time.monotonic()
        with pytest.raises(
            CameraUnavailable, match=r"camera top: lost \d\.\d s ago \(.*\), coming back, attempt 1"
        ):
            camera.grab(20)
        assert time.monotonic() - began_s < SOON_S
        frame = grab_when_back(camera)
        assert (frame.frame_id, level(frame), camera.restarts) == (3, 3, 1)
    assert "lost: its process ended with exit code -9" in caplog.text
    assert "camera top: back" in caplog.text


def test_f01_a_device_that_is_gone_gets_a_new_process(tmp_path: Path) -> None:
    with opened(camera_in_process(tmp_path, {"1": "gone"})) as camera:
        before = pid_of(camera)
        assert camera.grab(20).frame_id == 0
        with pytest.raises(CameraUnavailable, match=r"^camera top is no longer connected$"):
            camera.grab(20)
        assert grab_when_back(camera).frame_id == 1
        assert pid_of(camera) != before


def test_f01_a_crash_within_a_grab_is_said_before_its_deadline(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(camera_in_process(tmp_path, {"1": "segfault"})) as camera:
        camera.grab(20)
        with pytest.raises(CameraUnavailable, match="its process ended with exit code -11"):
            camera.grab(50)
        assert grab_when_back(camera).frame_id == 1
    assert "ended with -11" in caplog.text


@pytest.mark.parametrize("act", ["hang", "hold", "stop"])
def test_f02_a_camera_that_hangs_costs_its_part_its_time_and_no_more(
    tmp_path: Path, act: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`hold` keeps Python's lock in native code, `stop` is SIGSTOP: nothing in the process can answer."""
    with opened(camera_in_process(tmp_path, {"1": act})) as camera:
        hung = pid_of(camera)
        camera.grab(20)
        began_s = time.monotonic()
        with pytest.raises(FrameTimeout, match=r"its process has not answered in 0\.2 s"):
            camera.grab(0.2)
        assert 0.2 <= time.monotonic() - began_s < 0.2 + SOON_S
        wait_until_lost(camera, "did not answer")
        frame = grab_when_back(camera)
        assert frame.frame_id == level(frame) == 1
        assert pid_of(camera) != hung
    assert f"process {hung} ended with -9" in caplog.text


def test_f02_a_process_that_is_stopped_between_two_parts_is_noticed(tmp_path: Path) -> None:
    with opened(camera_in_process(tmp_path, {}, silent_turns=10)) as camera:
        stopped = pid_of(camera)
        os.kill(stopped, signal.SIGSTOP)
        give_up_s = time.monotonic() + 30
        while camera.restarts == 0 and time.monotonic() < give_up_s:
            time.sleep(0.02)
        assert grab_when_back(camera).frame_id == 0
        assert pid_of(camera) != stopped


def test_f02_a_process_that_says_nothing_for_a_moment_is_doubted_and_not_killed(tmp_path: Path) -> None:
    """The station is not ready meanwhile, and a machine that is only loaded loses no camera."""
    with opened(camera_in_process(tmp_path, {}, doubt_turns=2, silent_turns=10_000)) as camera:
        stopped = pid_of(camera)
        os.kill(stopped, signal.SIGSTOP)
        wait_for(lambda: "has been silent for" in (camera.problem or ""))
        os.kill(stopped, signal.SIGCONT)
        wait_for(lambda: camera.problem is None)
        assert grab_when_back(camera).frame_id == 0
        assert (camera.restarts, pid_of(camera)) == (0, stopped)


def wait_for(what: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 30
    while not what() and time.monotonic() < give_up_s:
        time.sleep(0.02)
    assert what()


def test_f03_a_camera_that_comes_back_during_open_and_hangs_there_is_not_waited_for(tmp_path: Path) -> None:
    """The third process opens: the second hangs in open, while the camera is there."""
    with opened(camera_in_process(tmp_path, {"0": "exit"})) as camera:
        assert camera._keeper is not None
        camera._keeper._patience = replace(PATIENCE, open_s=4)
        camera._make = partial(scripted, script={"open": "hold"}, folder=tmp_path)
        with pytest.raises(CameraUnavailable):
            camera.grab(20)
        wait_until_lost(camera, "did not open in")
        assert grab_when_back(camera).frame_id == 0
        assert camera.restarts >= 2


@pytest.mark.parametrize(("act", "error"), [("timeout", FrameTimeout), ("incomplete", FrameIncomplete)])
def test_f05_frames_that_never_arrive_whole_have_the_camera_opened_anew(
    tmp_path: Path, act: str, error: type[CameraError]
) -> None:
    script = {str(number): act for number in range(1, 4)}
    with opened(camera_in_process(tmp_path, script)) as camera:
        camera.grab(20)
        for _ in range(3):
            with pytest.raises(error):
                camera.grab(20)
        assert "3 triggers in a row without a frame" in wait_until_lost(camera, "in a row")
        grab_when_back(camera)
        assert camera.restarts == 1


def held() -> tuple[int, int]:
    """Return how many descriptors and threads this process holds."""
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


def lowest_held() -> tuple[int, int]:
    """Return what this process holds once the remains of what ran before are gone."""
    seen = []
    for _ in range(20):
        seen.append(held())
        time.sleep(0.05)
    return min(seen)


def test_f06_a_storm_of_losses_leaks_nothing_slows_down_and_alarms_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(camera_in_process(tmp_path, {})) as camera:
        camera.grab(20)
        before = lowest_held()
        for number in range(1, 8):
            os.kill(pid_of(camera), signal.SIGKILL)
            assert grab_when_back(camera).frame_id == number
        assert camera.restarts == 7
        patience_ends_s = time.monotonic() + 10  # the last process's remains may be cleared up a moment later
        while held() != before and time.monotonic() < patience_ends_s:
            time.sleep(0.02)
        assert held() == before, "descriptors and threads, before and after seven losses"
    alarms = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert len(alarms) == 1
    assert "a person has to look after it" in alarms[0].getMessage()


def test_f07_a_late_frame_is_dropped_and_no_part_gets_anothers(tmp_path: Path) -> None:
    script = {str(number): "late" for number in (1, 2, 5)}
    with opened(camera_in_process(tmp_path, script, hang_s=60)) as camera:
        given: list[Frame] = [camera.grab(20)]
        for _ in range(2):
            with pytest.raises(FrameTimeout):
                camera.grab(0.05)
        given += [camera.grab(20) for _ in range(2)]
        with pytest.raises(FrameTimeout):
            camera.grab(0.05)
        given.append(camera.grab(20))
        assert camera.restarts == 0
    assert [(frame.frame_id, level(frame)) for frame in given] == [(n, n) for n in (0, 3, 4, 6)]


def device(
    folder: Path, script: dict[str, str], *, always: bool = False, frozen_after: int = 3
) -> ProcessCamera:
    """Return a scripted camera that counts as a device."""
    config = GenicamCamera(kind="genicam", camera_id="top", producer="none.cti", frozen_after=frozen_after)
    make = partial(scripted, script=script, folder=folder, always=always)
    return ProcessCamera(config, make=make, patience=PATIENCE)


def test_f08_a_number_that_comes_again_is_not_this_parts_frame(tmp_path: Path) -> None:
    with opened(camera_in_process(tmp_path, {"2": "same frame"})) as camera:
        assert [camera.grab(20).frame_id for _ in range(2)] == [0, 1]
        with pytest.raises(FrameFrozen, match="camera top: gave frame 1 again"):
            camera.grab(20)
        assert camera.grab(20).frame_id == 3


def test_f08_bytes_that_do_not_change_are_refused_until_they_do(tmp_path: Path) -> None:
    script = {str(number): "same bytes" for number in (1, 3)}  # 0 0 2 2 4
    with opened(device(tmp_path, script, frozen_after=2)) as camera:
        assert level(camera.grab(20)) == 0
        with pytest.raises(FrameFrozen, match=r"frame 1 is the 2\. in a row with the same bytes"):
            camera.grab(20)
        assert level(camera.grab(20)) == 2
        with pytest.raises(FrameFrozen):
            camera.grab(20)
        assert level(camera.grab(20)) == 4
    again = camera_in_process(tmp_path / "other", {"1": "same bytes"})
    (tmp_path / "other").mkdir()
    with opened(again):  # images on disk may well repeat
        assert [level(again.grab(20)) for _ in range(2)] == [0, 0]


def test_f09_a_size_that_changes_is_refused_also_after_the_camera_was_away(tmp_path: Path) -> None:
    with opened(device(tmp_path, {"1": "resize", "3": "resize"})) as camera:
        camera.grab(20)
        with pytest.raises(FrameFormatError, match=r"frame 1: \(24, 16\), expected \(12, 16\)"):
            camera.grab(20)
        camera.grab(20)
        os.kill(pid_of(camera), signal.SIGKILL)
        with pytest.raises(FrameFormatError, match=r"frame 3: \(24, 16\), expected \(12, 16\)"):
            grab_when_back(camera)
        assert camera.grab(20).frame_id == 4


def test_f12_a_camera_that_another_program_has_is_asked_for_without_a_crash_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(camera_in_process(tmp_path, {"0": "exit"})) as camera:
        (tmp_path / "away").touch()
        with pytest.raises(CameraUnavailable):
            camera.grab(20)
        said = wait_until_lost(camera, "is controlled by another program")
        assert "coming back, attempt" in said
        wait_until_lost(camera, "attempt 9")  # one process asks again and again
        assert camera.restarts == 1
        (tmp_path / "away").unlink()
        assert grab_when_back(camera).frame_id == 0
    assert sum(record.levelno == logging.CRITICAL for record in caplog.records) == 1


def test_f54_a_process_that_the_kernel_kills_for_memory_comes_back(tmp_path: Path) -> None:
    with opened(camera_in_process(tmp_path, {"1": "kill"})) as camera:
        camera.grab(20)
        with pytest.raises(CameraUnavailable, match="exit code -9"):
            camera.grab(50)
        assert grab_when_back(camera).frame_id == 1


def test_a_bug_in_a_driver_is_said_and_its_process_not_trusted_any_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(camera_in_process(tmp_path, {"0": "bug"})) as camera:
        with pytest.raises(CameraError, match="camera top: ZeroDivisionError: a driver's bug"):
            camera.grab(20)
        assert grab_when_back(camera).frame_id == 0
        assert camera.restarts == 1
    assert "Traceback" in caplog.text


def test_close_while_the_camera_is_away_is_prompt(tmp_path: Path) -> None:
    with opened(camera_in_process(tmp_path, {"0": "exit"})) as camera:
        (tmp_path / "away").touch()
        with pytest.raises(CameraUnavailable):
            camera.grab(20)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 5
    with pytest.raises(CameraUnavailable, match="not open"):
        camera.grab(1)
