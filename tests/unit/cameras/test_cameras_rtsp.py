"""RTSP, spoken by FFmpeg on both sides, with a server of this program in between."""

import contextlib
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import video_files
from partgate_cameras import CameraUnavailable, ProcessCamera
from partgate_cameras._video_live import LiveVideo
from partgate_station import VideoCamera
from rtsp_relay import RtspRelay
from video_files import number_of

LONG_S = 20.0
SECRET = "geheim/9f2"


# In a process of its own: PyAV keeps Python's lock while it writes a stream's head, and waits for the server.
PUBLISHER = """
import itertools, sys, time
from fractions import Fraction
import av
from video_files import PER_S, numbered

with av.open(sys.argv[1], "w", format="rtsp", options={"rtsp_transport": "tcp"}) as output:
    stream = output.add_stream("libx264", rate=PER_S, options={"g": "1", "tune": "zerolatency"})
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    stream.time_base = Fraction(1, PER_S)
    pictures = numbered(30)
    begun_s = time.monotonic()
    for number in itertools.count():
        frame = av.VideoFrame.from_ndarray(pictures[number % 30], format="gray")
        frame.pts, frame.time_base = number, Fraction(1, PER_S)
        output.mux(stream.encode(frame))
        time.sleep(max(0.0, begun_s + (number + 1) / PER_S - time.monotonic()))
"""


@contextlib.contextmanager
def published(relay: RtspRelay) -> Iterator[None]:
    """Have a process publish frames at their rate, every one a key frame, until the block ends."""
    command = [sys.executable, "-c", PUBLISHER, relay.url()]
    environment = os.environ | {"PYTHONPATH": str(Path(video_files.__file__).parent)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as publisher:
        try:
            assert relay.published.wait(LONG_S)
            yield
        finally:
            publisher.kill()


def camera_of(relay: RtspRelay, name: str = "", **settings: object) -> VideoCamera:
    return VideoCamera.model_validate(
        {"kind": "video", "camera_id": "top", "source": relay.url(name), "colour": "grey"} | settings
    )


def test_a_stream_over_rtsp_gives_frames_in_their_order() -> None:
    with RtspRelay() as relay, published(relay):
        camera = LiveVideo(camera_of(relay))
        camera.open()
        try:
            frames = [camera.grab(LONG_S) for _ in range(5)]
        finally:
            camera.close()
    shown = [number_of(frame.image) for frame in frames]
    steps = [(after - before) % 30 for before, after in itertools.pairwise(shown)]
    assert all(1 <= step <= 15 for step in steps), shown
    times = [frame.camera_timestamp_ns or 0 for frame in frames]
    assert times == sorted(set(times))


def test_the_password_of_a_file_opens_the_stream_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text(SECRET)
    wrong.write_text("other")
    with RtspRelay(password=SECRET) as relay, published(relay):
        camera = LiveVideo(camera_of(relay, "viewer", password_file=right))
        camera.open()
        camera.grab(LONG_S)
        camera.close()
        with pytest.raises(CameraUnavailable, match=r"wants a name and a password, or others \(401\)"):
            LiveVideo(camera_of(relay, "viewer", password_file=wrong)).open()


def test_a_stream_that_nobody_publishes_any_more_is_lost_and_comes_back() -> None:
    with RtspRelay() as relay:
        camera = ProcessCamera(camera_of(relay, read_timeout_s=0.5))
        try:
            with published(relay):
                camera.open()
                camera.grab(LONG_S)
            lost = _lost(camera)
            assert "did not answer in time" in lost or "lost" in lost
            relay.published.clear()
            with published(relay):
                _back(camera)
            assert camera.restarts >= 1
        finally:
            camera.close()


def _lost(camera: ProcessCamera) -> str:
    while True:
        try:
            camera.grab(LONG_S)
        except CameraUnavailable as error:
            return str(error)


def _back(camera: ProcessCamera) -> None:
    for _ in range(2000):
        try:
            camera.grab(LONG_S)
        except CameraUnavailable:
            threading.Event().wait(0.02)
        else:
            return
    pytest.fail("the camera never came back")
