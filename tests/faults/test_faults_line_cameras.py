"""A camera behind a trigger line, in its process: what comes late or from before is given to no part."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from file_stream import with_file
from partgate_cameras import (
    CameraUnavailable,
    Frame,
    FrameTimeout,
    NoFrameYet,
    ProcessCamera,
)
from partgate_cameras._gentl_stream import TriggerMode
from partgate_station import GenicamCamera
from scripted_cameras import PATIENCE, camera_in_process

LINE = GenicamCamera(kind="genicam", camera_id="top", producer="none.cti", trigger="line", frozen_after=0)
SLOW = replace(PATIENCE, hang_s=60)
SOFTWARE = LINE.model_copy(update={"trigger": "software"})


@contextmanager
def camera(folder: Path, mode: TriggerMode = "hardware") -> Iterator[tuple[ProcessCamera, Path]]:
    edges = folder / "edges"
    edges.touch()
    config = LINE if mode == "hardware" else SOFTWARE
    in_process = ProcessCamera(config, make=partial(with_file, edges=edges, mode=mode), patience=SLOW)
    in_process.open()
    try:
        yield in_process, edges
    finally:
        in_process.close()


def fire(edges: Path, kinds: bytes) -> float:
    with edges.open("ab") as file:
        file.write(kinds)
    return time.monotonic()


def next_frame(top: ProcessCamera) -> Frame:
    give_up_s = time.monotonic() + 40
    while True:
        try:
            return top.next_frame(1)
        except (FrameTimeout, CameraUnavailable):
            assert time.monotonic() < give_up_s, "no frame came"


def wait_until_idle(top: ProcessCamera) -> None:
    """Wait until the camera is open and nothing comes: what is fired then is seen."""
    give_up_s = time.monotonic() + 40
    while time.monotonic() < give_up_s:
        try:
            top.next_frame(0.2)
        except NoFrameYet:
            return
        except CameraUnavailable:
            time.sleep(0.05)
    raise AssertionError("the camera never came back")


def loss_of(top: ProcessCamera) -> str:
    give_up_s = time.monotonic() + 40
    while time.monotonic() < give_up_s:
        try:
            top.next_frame(0.05)
        except NoFrameYet:
            pass
        except CameraUnavailable as error:
            return str(error)
    raise AssertionError("nobody noticed")


def problem_of(top: ProcessCamera) -> str | None:
    """Return what keeps the station from being ready; a call, because it changes by itself."""
    return top.problem


def shows(frame: Frame) -> int:
    return int(frame.image[0, 0])


def test_f07_frames_that_nobody_asks_for_are_stamped_when_they_come_and_kept_in_order(tmp_path: Path) -> None:
    with camera(tmp_path) as (top, edges):
        fired_s = [fire(edges, b".") for _ in range(3)]
        time.sleep(1)
        asked_s = time.monotonic()
        frames = [next_frame(top) for _ in range(3)]
        assert [shows(frame) for frame in frames] == [1, 2, 3]
        assert all(frame.arrived_s < asked_s for frame in frames), "not when they were asked for"
        assert frames[0].arrived_s < fired_s[0] + 1
        with pytest.raises(NoFrameYet):
            top.next_frame(0.05)
        assert top.restarts == 0, "an idle line is no fault"


def test_f11_a_frame_behind_a_line_that_comes_too_late_for_who_asked_is_given_to_the_next_who_asks(
    tmp_path: Path,
) -> None:
    """Dropped, it would be one that nobody counted: the next would be taken for it."""
    with camera(tmp_path) as (top, edges):
        fire(edges, b".")
        assert shows(next_frame(top)) == 1
        fire(edges, b"s..")
        with pytest.raises(FrameTimeout):
            top.grab(0.02)
        assert [shows(next_frame(top)) for _ in range(3)] == [2, 3, 4]
        assert top.take_strays() == ()


def test_f11_a_gap_in_the_numbers_is_said_with_the_frame_after_it(tmp_path: Path) -> None:
    with camera(tmp_path) as (top, edges):
        fire(edges, b".xx.")
        assert [(shows(frame), frame.lost_before) for frame in (next_frame(top), next_frame(top))] == [
            (1, 0),
            (4, 2),
        ]
        assert top.lost_frames == 2


def test_f01_a_flush_and_a_lost_process_leave_nothing_of_before(tmp_path: Path) -> None:
    with camera(tmp_path) as (top, edges):
        fire(edges, b"..")
        assert shows(next_frame(top)) == 1
        top.flush(20)
        fire(edges, b".")
        frame = next_frame(top)
        assert (shows(frame), frame.frame_id, frame.lost_before) == (3, 1, 0)
        assert [stray.why.partition(":")[0] for stray in top.take_strays()] == ["FLUSHED"]
        assert top.pid is not None
        os.kill(top.pid, signal.SIGKILL)
        give_up_s = time.monotonic() + 40
        while top.restarts == 0 and time.monotonic() < give_up_s:
            time.sleep(0.01)
        wait_until_idle(top)
        fire(edges, b".")
        frame = next_frame(top)
        assert (shows(frame), frame.lost_before) == (4, 0)


def test_f01_a_cable_that_is_pulled_while_nothing_comes_is_noticed(tmp_path: Path) -> None:
    """Nothing comes from a line at rest either: only the device itself can tell which it is."""
    with camera(tmp_path) as (top, edges):
        fire(edges, b".")
        assert shows(next_frame(top)) == 1
        wait_until_idle(top)
        assert top.restarts == 0
        pulled = edges.with_name("pulled")
        pulled.touch()
        assert "check cable and power" in loss_of(top)
        give_up_s = time.monotonic() + 40
        while not problem_of(top):
            assert time.monotonic() < give_up_s, "the station stays ready"
            time.sleep(0.01)
        fire(edges, b"...")  # parts that nobody saw
        pulled.unlink()
        wait_until_idle(top)
        assert top.restarts > 0
        fire(edges, b".")
        assert shows(next_frame(top)) == 5


def test_f11_a_software_triggered_frame_that_was_given_up_is_a_stray(tmp_path: Path) -> None:
    with camera(tmp_path, "software") as (top, edges):
        with pytest.raises(FrameTimeout):
            top.grab(0.02)
        fire(edges, b".")  # late
        strays: list[str] = []
        give_up_s = time.monotonic() + 40
        while not strays and time.monotonic() < give_up_s:
            strays += [stray.why for stray in top.take_strays()]
            time.sleep(0.01)
        assert strays == ["LATE: its part had been given up"]


def test_f07_a_late_answer_is_a_stray_with_its_picture(tmp_path: Path) -> None:
    top = camera_in_process(tmp_path, {"1": "late"}, hang_s=60)
    top.open()
    try:
        assert shows(top.grab(20)) == 0
        with pytest.raises(FrameTimeout):
            top.grab(0.05)
        assert shows(top.grab(20)) == 2
        (stray,) = top.take_strays()
    finally:
        top.close()
    assert (stray.frame_id, stray.why) == (1, "LATE: its part had been given up")
    assert stray.image is not None
    assert stray.image[0, 0] == 1
