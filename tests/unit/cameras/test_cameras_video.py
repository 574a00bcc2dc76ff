"""Videos as cameras: files, and what stands for a live stream on this machine."""

import contextlib
import io
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_cameras import (
    CameraUnavailable,
    EndOfImages,
    Frame,
    FrameBlank,
    FrameFrozen,
    FrameTimeout,
    ImageError,
    ProcessCamera,
    _video_live,
    make_camera,
)
from partgate_cameras import _errors as errors
from partgate_cameras._video import VideoFile
from partgate_cameras._video_lag import StreamLag
from partgate_cameras._video_live import LiveVideo
from partgate_cameras._video_source import _MEANINGS, mapped
from partgate_station import Unavailable, VideoCamera
from video_files import HEIGHT_PX, PER_S, WIDTH_PX, number_of, numbered, write_video

LONG_S = 20.0


def camera_of(source: Path | str, **settings: object) -> VideoCamera:
    return VideoCamera.model_validate(
        {"kind": "video", "camera_id": "top", "source": str(source), **settings}
    )


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "parts.mkv"
    write_video(path, numbered(10))
    return path


@contextlib.contextmanager
def opened(config: VideoCamera, *, next_frame: int = 0) -> Iterator[VideoFile]:
    camera = VideoFile(config, next_frame=next_frame)
    camera.open()
    try:
        yield camera
    finally:
        camera.close()


# A file.


def test_a_file_gives_each_trigger_the_next_frame_and_then_ends(video: Path) -> None:
    with opened(camera_of(video)) as camera:
        frames = []
        while not camera.exhausted:
            frames.append(camera.grab(1))
        with pytest.raises(EndOfImages, match=r"all frames of .*parts\.mkv given"):
            camera.grab(1)
    assert [number_of(frame.image) for frame in frames] == list(range(10))
    assert [frame.frame_id for frame in frames] == list(range(10))
    assert [frame.camera_timestamp_ns for frame in frames] == [n * 1_000_000_000 // PER_S for n in range(10)]
    np.testing.assert_array_equal(frames[3].image, numbered(1, first=3)[0])


def test_a_file_that_repeats_begins_again_and_counts_on(video: Path) -> None:
    with opened(camera_of(video, repeat=True)) as camera:
        frames = [camera.grab(1) for _ in range(25)]
        assert not camera.exhausted
    assert [number_of(frame.image) for frame in frames] == [*range(10), *range(10), *range(5)]
    assert [frame.frame_id for frame in frames] == list(range(25))


def test_a_file_goes_on_after_a_restart(video: Path) -> None:
    with opened(camera_of(video), next_frame=7) as camera:
        frame = camera.grab(1)
        assert (number_of(frame.image), frame.frame_id) == (7, 7)
    with opened(camera_of(video), next_frame=10) as camera:
        assert camera.exhausted


def test_a_compressed_file_goes_on_at_the_very_frame_though_it_is_no_key_frame(tmp_path: Path) -> None:
    path = tmp_path / "parts.mp4"
    write_video(path, numbered(20), codec="libx264", pixel_format="yuv420p", options={"g": "50"})
    with opened(camera_of(path, colour="grey"), next_frame=13) as camera:
        assert number_of(camera.grab(1).image) == 13


def test_a_closed_file_goes_on_where_it_stopped(video: Path) -> None:
    camera = VideoFile(camera_of(video))
    for expected in (0, 1):
        camera.open()
        assert number_of(camera.grab(1).image) == expected
        camera.close()
    with pytest.raises(CameraUnavailable, match="not open"):
        camera.grab(1)


def test_at_its_own_pace_frames_nobody_asked_for_are_passed_over(video: Path) -> None:
    with opened(camera_of(video, pace="own")) as camera:
        first = camera.grab(LONG_S)
        time.sleep(3.5 / PER_S)
        later = camera.grab(LONG_S)
        asked_s = time.monotonic()
        soon = camera.grab(LONG_S)
        waited_s = time.monotonic() - asked_s
    assert number_of(first.image) == 0
    assert number_of(later.image) >= 4
    assert number_of(later.image) == later.frame_id
    assert soon.frame_id > later.frame_id
    assert waited_s < 1


def test_at_its_own_pace_a_frame_that_is_not_due_in_time_is_not_given(tmp_path: Path) -> None:
    path = tmp_path / "slow.mkv"
    write_video(path, numbered(3), per_s=1)
    with opened(camera_of(path, pace="own")) as camera:
        camera.grab(1)
        before_s = time.monotonic()
        with pytest.raises(FrameTimeout, match=r"no frame is due within 0\.05 s"):
            camera.grab(0.05)
        assert time.monotonic() - before_s < 0.9


def test_colours_come_as_rgb_and_can_be_turned_grey(tmp_path: Path) -> None:
    path = tmp_path / "red.mkv"
    red = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    red[..., 0] = 200
    write_video(path, [red], pixel_format="bgr0")
    with opened(camera_of(path)) as camera:
        np.testing.assert_array_equal(camera.grab(1).image, red)
    with opened(camera_of(path, colour="grey")) as camera:
        assert camera.grab(1).image.shape == (HEIGHT_PX, WIDTH_PX)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_grey_keeps_its_upper_eight_bits(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "deep.mkv"
    with av.open(path, "w") as output:
        stream = output.add_stream("ffv1", rate=PER_S)
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, f"gray{bits}le"
        levels = (np.arange(HEIGHT_PX * WIDTH_PX).reshape(HEIGHT_PX, WIDTH_PX) % 256).astype(np.uint16)
        frame = av.VideoFrame(WIDTH_PX, HEIGHT_PX, f"gray{bits}le")
        frame.planes[0].update((levels << (bits - 8)).tobytes())
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    with opened(camera_of(path)) as camera:
        found = camera.grab(1).image.astype(int)
    assert np.abs(found - levels).max() <= 1


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "no video"), (b"<!DOCTYPE html>" * 40, "no video"), (None, "is not there")],
    ids=["empty", "a page", "missing"],
)
def test_what_is_no_video_is_said_in_a_sentence(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "x.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CameraUnavailable, match=says):
        VideoFile(camera_of(path)).open()


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mkv"
    with av.open(path, "w") as output:
        stream = output.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    with pytest.raises(CameraUnavailable, match="has no video in it"):
        VideoFile(camera_of(path)).open()


def packets_of(path: Path) -> list[bytes]:
    with av.open(path) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_a_file_without_a_frame_is_no_camera(tmp_path: Path) -> None:
    path = tmp_path / "head.y4m"
    path.write_bytes(b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 Cmono\n")
    camera = VideoFile(camera_of(path))
    with pytest.raises(CameraUnavailable, match=r"head\.y4m has no frame in it"):
        camera.open()
    with pytest.raises(CameraUnavailable, match="not open"):
        camera.grab(1)


def test_a_damaged_frame_costs_its_trigger_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "parts.mkv"
    noise = np.random.default_rng(0).integers(0, 256, (6, HEIGHT_PX, WIDTH_PX), np.uint8)
    write_video(path, list(noise))
    content = bytearray(path.read_bytes())
    packets = packets_of(path)
    middle = content.index(packets[2]) + len(packets[2]) // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)
    seen: list[str] = []
    with opened(camera_of(path)) as camera:
        while not camera.exhausted:
            try:
                seen.append(str(camera.grab(1).frame_id))
            except ImageError as error:
                seen.append("damaged" if "parts.mkv: damaged" in str(error) else str(error))
    assert seen == ["0", "1", "damaged", "3", "4", "5"]


def test_a_file_cannot_lead_ffmpeg_to_another_address(tmp_path: Path) -> None:
    """A playlist is a file that names others."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.3)
    path = tmp_path / "list.m3u8"
    port = server.getsockname()[1]
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:{port}/a.ts\n")
    with contextlib.closing(server):
        with pytest.raises(CameraUnavailable):
            VideoFile(camera_of(path)).open()
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_file_in_a_process_goes_on_after_the_process_is_lost(video: Path) -> None:
    camera = ProcessCamera(camera_of(video))
    camera.open()
    try:
        assert [number_of(camera.grab(LONG_S).image) for _ in range(3)] == [0, 1, 2]
        assert camera.restarts == 0
        camera.close()
        camera.open()
        assert number_of(camera.grab(LONG_S).image) == 3
    finally:
        camera.close()


def test_without_pyav_the_kind_is_unavailable(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(Unavailable, match="needs PyAV"):
        VideoFile(camera_of(video)).open()


def test_pyav_is_not_imported_for_other_cameras() -> None:
    import subprocess

    program = "import sys, partgate_cameras; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == 0


# A live source.


@dataclass
class Server:
    """Sends what a test says to whoever connects; what stands for a camera on the network."""

    send: Callable[[socket.socket, threading.Event], None]
    stop: threading.Event = field(default_factory=threading.Event)
    connections: int = 0

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="video server")
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop.set()
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        while not self.stop.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            self.connections += 1
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                self.send(connection, self.stop)


def transport_stream(frames: int) -> bytes:
    buffer = io.BytesIO()
    write_video(
        buffer,
        numbered(frames),
        codec="mpeg2video",
        pixel_format="yuv420p",
        container="mpegts",
        options={"g": "1"},
    )
    return buffer.getvalue()


def paced(content: bytes, *, seconds: float, then_close: bool = False) -> Callable[..., None]:
    """Return what sends a stream over some seconds, and then again and again, or closes."""

    def send(connection: socket.socket, stop: threading.Event) -> None:
        pieces = [content[at : at + 188 * 4] for at in range(0, len(content), 188 * 4)]
        while not stop.is_set():
            for piece in pieces:
                connection.sendall(piece)
                if stop.wait(seconds / len(pieces)):
                    return
            if then_close:
                return

    return send


def silent(connection: socket.socket, stop: threading.Event) -> None:
    stop.wait(30)


def live(port: int, scheme: str = "tcp", **settings: object) -> VideoCamera:
    options = {"probesize": "20000"} if scheme == "tcp" else {}
    return camera_of(f"{scheme}://127.0.0.1:{port}", options=options, **settings)


@contextlib.contextmanager
def watching(config: VideoCamera) -> Iterator[LiveVideo]:
    camera = LiveVideo(config)
    camera.open()
    try:
        yield camera
    finally:
        camera.close()


def test_a_live_stream_gives_frames_that_come_after_they_were_asked_for() -> None:
    with Server(paced(transport_stream(50), seconds=2)) as server, watching(live(server.port)) as camera:
        frames: list[Frame] = []
        for _ in range(4):
            asked_s = time.monotonic()
            frames.append(camera.grab(LONG_S))
            assert frames[-1].arrived_s >= asked_s
        assert not camera.exhausted
    ids = [frame.frame_id for frame in frames]
    assert ids == sorted(set(ids))
    assert frames[0].image.shape == (HEIGHT_PX, WIDTH_PX, 3)
    times = [frame.camera_timestamp_ns or 0 for frame in frames]
    assert times == sorted(set(times))


def test_what_waited_on_its_way_lags_by_that_much_until_it_has_caught_up() -> None:
    lag = StreamLag()
    usual = [lag.of(100 + n * 0.04 + 0.01 * (n % 2), n * 0.04) for n in range(50)]
    assert max(usual) == pytest.approx(0.01)
    # Two seconds without a frame; then those that piled up come one after the other, and the last is in time.
    piled_up = [lag.of(104 + n * 0.001, 2 + n * 0.04) for n in range(52)]
    assert piled_up[0] == pytest.approx(2.0)
    assert piled_up == sorted(piled_up, reverse=True)
    assert piled_up[-1] < 0.02
    assert lag.of(104.06, None) == 0, "a frame without a time says nothing"


def test_a_stream_whose_clock_begins_anew_is_measured_anew() -> None:
    lag = StreamLag()
    lag.of(100, 5000)
    assert lag.of(100.04, 4999.9) == 0, "as by the first report of a stream with sound"
    assert lag.of(100.08, 0) == 0
    assert lag.of(101.08, 0.5) == pytest.approx(0.5)


def test_a_way_that_is_longer_for_good_is_the_usual_one_after_a_minute() -> None:
    lag = StreamLag()
    lags = [lag.of(1000 + s + (0.5 if s else 0.0), s) for s in range(120)]
    assert lags[1:60] == pytest.approx([0.5] * 59)
    assert lags[60:] == pytest.approx([0.0] * 60)


@dataclass
class Piling:
    """A source, and the clock: frames come when a list says, of when it says."""

    steps: list[tuple[float, float]]
    tells_time: bool = True
    now_s: float = 0.0

    def next_frame(self) -> Any:
        self.now_s, taken_s = self.steps.pop(0)
        return SimpleNamespace(pts=round(taken_s * 1000), time_base=Fraction(1, 1000))

    def monotonic(self) -> float:
        return self.now_s


@pytest.mark.parametrize("tells_time", [True, False])
def test_a_frame_from_before_is_given_to_no_part_and_said_once(
    tells_time: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera: Any = LiveVideo(camera_of("rtsp://viewer@h/x"))
    steps = [(10.0, 0.0), (13.04, 0.04), (13.05, 1.04), (13.06, 2.04), (13.07, 3.07), (17.1, 3.1)]
    source = Piling(steps, tells_time)
    monkeypatch.setattr(_video_live, "time", source)
    given = []
    for number in range(6):
        assert camera._take(source, number), "it has its number"
        given.append(camera._newest.number)
    assert given == ([0, 0, 0, 0, 4, 4] if tells_time else [0, 1, 2, 3, 4, 5])
    assert camera._late == (4 if tells_time else 0)
    said = [record.getMessage().partition(" later")[0] for record in caplog.records]
    what = "camera top: rtsp://viewer@h/x: frames come"
    assert said == ([f"{what} 3.0 s", f"{what} 4.0 s"] if tells_time else [])


def standing_still(content: bytes, *, seconds: float, from_s: float, for_s: float) -> Callable[..., None]:
    """Return what sends a stream at its rate, but for a while in which the network stands still."""

    def send(connection: socket.socket, stop: threading.Event) -> None:
        pieces = [content[at : at + 188] for at in range(0, len(content), 188)]
        begun_s = time.monotonic()
        for number, piece in enumerate(pieces):
            due_s = seconds * number / len(pieces)
            if from_s < due_s < from_s + for_s:
                due_s = from_s + for_s
            if stop.wait(max(0.0, begun_s + due_s - time.monotonic())):
                return
            connection.sendall(piece)

    return send


def test_what_piled_up_while_the_network_stood_still_is_no_parts_frame() -> None:
    content = transport_stream(200)  # of 8 s
    with (
        Server(standing_still(content, seconds=8, from_s=3, for_s=1.5)) as server,
        watching(live(server.port)) as camera,
    ):
        before = camera.grab(LONG_S)
        while time.monotonic() - before.arrived_s < LONG_S:
            asked_s = time.monotonic()
            frame = camera.grab(LONG_S)
            if frame.arrived_s - asked_s > 0.8:  # this part was there while nothing came
                break
            before = frame
    assert before.camera_timestamp_ns is not None
    assert frame.camera_timestamp_ns is not None
    passed_s = frame.arrived_s - before.arrived_s
    assert passed_s > 0.8
    assert (frame.camera_timestamp_ns - before.camera_timestamp_ns) / 1e9 > passed_s - 0.3


def mjpeg_server(picture: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Return what sends one picture again and again, as an IP camera does."""

    def send(connection: socket.socket, stop: threading.Event) -> None:
        connection.recv(4096)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=frame\r\n\r\n"
        connection.sendall(head)
        part = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
        while not stop.wait(0.02):
            connection.sendall(part + picture + b"\r\n")

    return send


def jpeg(path: Path, pixels: NDArray[np.uint8]) -> bytes:
    write_video(path, [pixels], codec="mjpeg", pixel_format="yuvj420p", container="mjpeg")
    return path.read_bytes()


def test_motion_jpeg_over_http_is_a_live_stream(tmp_path: Path) -> None:
    picture = jpeg(tmp_path / "still.mjpeg", numbered(1, first=9)[0])
    with (
        Server(mjpeg_server(picture)) as server,
        watching(live(server.port, "http", colour="grey")) as camera,
    ):
        frame = camera.grab(LONG_S)
        time.sleep(0.5)
        assert camera._late == 0, "its frames have no times of their own: FFmpeg counts them"
    assert number_of(frame.image) == 9


def test_f08_a_stream_that_shows_the_same_for_ever_is_frozen(tmp_path: Path) -> None:
    picture = jpeg(tmp_path / "still.mjpeg", numbered(1, first=9)[0])
    with Server(mjpeg_server(picture)) as server:
        camera = ProcessCamera(live(server.port, "http", colour="grey"))
        camera.open()
        try:
            shown = [number_of(camera.grab(LONG_S).image) for _ in range(2)]
            with pytest.raises(FrameFrozen, match=r"is the 3\. in a row with the same bytes"):
                camera.grab(LONG_S)
        finally:
            camera.close()
            server.stop.set()
    assert shown == [9, 9]


def test_b21_a_stream_that_shows_nothing_is_never_judged(tmp_path: Path) -> None:
    picture = jpeg(tmp_path / "black.mjpeg", np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8))
    with Server(mjpeg_server(picture)) as server:
        camera = ProcessCamera(live(server.port, "http", colour="grey"))
        camera.open()
        try:
            with pytest.raises(FrameBlank, match="every pixel is 0"):
                camera.grab(LONG_S)
        finally:
            camera.close()
            server.stop.set()


def loss_of(camera: LiveVideo) -> CameraUnavailable:
    """Return how a camera says that it is lost; frames may come before."""
    give_up_s = time.monotonic() + LONG_S
    while time.monotonic() < give_up_s:
        try:
            camera.grab(LONG_S)
        except CameraUnavailable as error:
            return error
    raise AssertionError("the camera was never lost")


def test_a_stream_that_ends_is_a_camera_lost() -> None:
    send = paced(transport_stream(50), seconds=0.5, then_close=True)
    with Server(send) as server, watching(live(server.port)) as camera:
        assert "has ended" in str(loss_of(camera))


def test_a_stream_that_falls_silent_is_a_camera_lost() -> None:
    def send(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(transport_stream(50))
        stop.wait(30)

    with Server(send) as server, watching(live(server.port, read_timeout_s=0.3)) as camera:
        assert "did not answer in time" in str(loss_of(camera))
        asked_s = time.monotonic()
        with pytest.raises(CameraUnavailable):
            camera.grab(LONG_S)
        assert time.monotonic() - asked_s < 1, "a loss that is known is said at once"


def test_a_part_does_not_wait_longer_than_it_may() -> None:
    def send(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(transport_stream(50))
        stop.wait(30)

    with Server(send) as server, watching(live(server.port, read_timeout_s=10)) as camera:
        time.sleep(0.3)
        asked_s = time.monotonic()
        with pytest.raises(FrameTimeout, match=r"no whole frame in 0\.2 s"):
            camera.grab(0.2)
        assert time.monotonic() - asked_s < 5
        server.stop.set()


@pytest.mark.parametrize("scheme", ["tcp", "http", "rtsp"])
def test_a_server_that_says_nothing_ends_the_opening_in_time(scheme: str) -> None:
    with Server(silent) as server:
        before_s = time.monotonic()
        with pytest.raises(CameraUnavailable, match="did not answer in time"):
            LiveVideo(live(server.port, scheme, open_timeout_s=0.5)).open()
        assert time.monotonic() - before_s < 10
        server.stop.set()


def test_a_stream_in_a_process_comes_back_after_it_was_lost() -> None:
    content = transport_stream(50)

    def send(connection: socket.socket, stop: threading.Event) -> None:
        paced(content, seconds=1, then_close=True)(connection, stop)

    with Server(send) as server:
        camera = ProcessCamera(live(server.port))
        camera.open()
        try:
            camera.grab(LONG_S)
            lost = False
            give_up_s = time.monotonic() + 40
            while not (lost and server.connections > 1):
                assert time.monotonic() < give_up_s
                try:
                    camera.grab(5)
                except CameraUnavailable:
                    lost = True
                    time.sleep(0.05)
            while True:
                assert time.monotonic() < give_up_s
                with contextlib.suppress(CameraUnavailable, FrameTimeout):
                    assert camera.grab(5).image.shape == (HEIGHT_PX, WIDTH_PX, 3)
                    break
                time.sleep(0.05)
            assert camera.restarts >= 1
        finally:
            camera.close()
            server.stop.set()


# Passwords, and errors.

SECRET = "geheim-9f2"


@pytest.mark.parametrize(
    "source",
    [
        f"rtsp://viewer:{SECRET}@127.0.0.1:1/stream",
        f"rtsp://127.0.0.1:1/user=admin&password={SECRET}&channel=1",
        f"http://127.0.0.1:1/video?user=a&pwd={SECRET}",
    ],
)
def test_s27_a_password_is_in_no_error_and_in_no_log(source: str, caplog: pytest.LogCaptureFixture) -> None:
    config = camera_of(source, open_timeout_s=1.0)
    with pytest.raises(CameraUnavailable) as caught:
        make_camera(config).open()
    process = ProcessCamera(config)
    with pytest.raises(CameraUnavailable) as caught_there:
        process.open()
    for error in (caught.value, caught_there.value):
        assert "refuses the connection" in str(error)
        assert "127.0.0.1:1/" in str(error)
        assert SECRET not in str(error)
        assert error.__cause__ is None
    assert SECRET not in caplog.text
    assert SECRET not in repr(config)
    assert SECRET not in config.shown


def test_s27_a_password_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("a/b@c: ü\n")
    config = camera_of("rtsp://viewer@10.0.0.7:554/stream", password_file=file)
    assert config.address("a/b@c: ü") == "rtsp://viewer:a%2Fb%40c%3A%20%C3%BC@10.0.0.7:554/stream"
    assert "viewer@10.0.0.7:554/stream" in config.shown


def test_a_password_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    config = camera_of("rtsp://viewer@127.0.0.1:1/x", password_file=tmp_path / "none")
    with pytest.raises(CameraUnavailable, match=r"none cannot be read \(No such file"):
        LiveVideo(config).open()


FOREIGN = [
    kind
    for kind in vars(av.error).values()
    if isinstance(kind, type) and issubclass(kind, av.FFmpegError) and kind is not av.FFmpegError
]


@pytest.mark.parametrize("kind", FOREIGN, ids=lambda kind: kind.__name__)
def test_no_error_of_pyav_leaves_as_it_is(kind: type[av.FFmpegError]) -> None:
    config = camera_of(f"rtsp://a:{SECRET}@h/x")
    with pytest.raises(CameraUnavailable) as caught, mapped(config):
        raise kind(1, "told", f"rtsp://a:{SECRET}@h/x")
    assert "rtsp://a@h/x" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_every_meaning_is_of_an_error_there_is() -> None:
    known = {kind.__name__ for kind in FOREIGN} | {"OSError", "TimeoutError", "ConnectionResetError"}
    assert set(_MEANINGS) <= known
    assert CameraUnavailable is errors.CameraUnavailable
