"""All of the GenICam camera, on the simulator."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from genicam_camera import FAST, config
from partgate_cameras import (
    Camera,
    CameraError,
    CameraUnavailable,
    FeatureError,
    FrameFormatError,
    make_camera,
)
from partgate_cameras._genicam import GenicamDevice
from partgate_cameras._gentl_errors import _MEANINGS, mapped
from partgate_cameras._producers import SEARCH_PATH, Producer, find_producer


@pytest.fixture
def simulated() -> Iterator[Camera]:
    camera = make_camera(config())
    camera.open()
    yield camera
    camera.close()


def test_the_simulator_gives_frames_as_the_file_says(simulated: Camera) -> None:
    frames = [simulated.grab(5) for _ in range(10)]
    assert all(frame.image.shape == (240, 320) for frame in frames)
    numbers = [frame.frame_id for frame in frames]
    assert numbers == sorted(set(numbers))
    assert len({frame.image.tobytes() for frame in frames}) > 1, "the picture moves"
    for frame in frames:
        assert frame.image.flags.owndata
        assert not frame.image.flags.writeable
        assert frame.camera_timestamp_ns is None, "the simulator has no clock"


def test_colour_comes_without_alpha() -> None:
    camera = make_camera(
        config(features={"PixelFormat": "RGBa8", "Width": 400, "Height": 400}, serial_number="1")
    )
    camera.open()
    image = camera.grab(5).image
    camera.close()
    assert image.shape == (400, 400, 3)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 1


def test_opening_again_and_again() -> None:
    camera = make_camera(config())
    before = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        camera.open()
        camera.open()
        assert camera.grab(5).image.shape == (240, 320)
        camera.close()
        camera.close()
    assert threading.active_count() == before[0]
    assert len(list(Path("/proc/self/fd").iterdir())) <= before[1] + 2
    assert Producer._loaded == {}


def test_two_cameras_share_a_producer_and_none_a_device() -> None:
    first, second = (
        make_camera(config(serial_number="0")),
        make_camera(config(serial_number="2", camera_id="side")),
    )
    third = make_camera(config(serial_number="2", camera_id="again"))
    first.open()
    second.open()
    with pytest.raises(
        CameraUnavailable, match="camera again is controlled by another program, or opened twice"
    ):
        third.open()
    assert first.grab(5).camera_id == "top"
    first.close()
    assert second.grab(5).camera_id == "side"
    second.close()
    third.open()
    assert third.grab(5).camera_id == "again"
    third.close()


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"serial_number": "9"}, CameraUnavailable, "serial number '9'; devices there are: .*'0'.*'1'.*'2'"),
        (
            {"user_defined_name": "left"},
            CameraUnavailable,
            "user-defined name 'left'; devices there are: .*Viky",
        ),
        (
            {"producer": "none.cti"},
            CameraUnavailable,
            r"no GenTL producer 'none\.cti'.*\.cti files there: viky\.cti",
        ),
        ({"features": {"Widht": 300}}, FeatureError, r"feature Widht: .* \(did you mean Width\?\)"),
        ({"features": {"Width": 5000}}, FeatureError, "feature Width: requested 5000, allowed is 100 to 800"),
        ({"features": {"Width": 300.5}}, FeatureError, "requested 300.5, expected a whole number"),
        ({"features": {"Width": True}}, FeatureError, "requested true, expected a whole number"),
        (
            {"features": {"AcquisitionFrameRate": 0.5}},
            FeatureError,
            r"requested 0\.5, allowed is 1\.0 to 200\.0",
        ),
        (
            {"features": {"AspectRatio": 2.0}},
            FeatureError,
            r"requested 2\.0, but it cannot be written; it is 1\.0",
        ),
        ({"features": {"PixelFormat": "BGR8"}}, FeatureError, "requested 'BGR8', allowed are Mono8, RGBa8"),
        ({"features": {"ChunkEnable": "yes"}}, FeatureError, "requested 'yes', expected true or false"),
        ({"features": {"ImageFormatControl": 1}}, FeatureError, "cannot be set: it is a category"),
        ({"features": {"FancyBallOperation": False}}, FeatureError, "requested false, expected true"),
    ],
)
def test_what_cannot_be_opened_says_why_and_stays_free(
    settings: dict[str, object], error: type[CameraError], words: str
) -> None:
    camera = make_camera(config(**settings))
    with pytest.raises(error, match=words) as caught:
        camera.open()
    assert caught.value.exit_code == (78 if error is FeatureError else 69)
    camera.close()
    assert Producer._loaded == {}
    fine = make_camera(config())
    fine.open()
    fine.close()


def test_a_number_a_flag_and_a_command_are_set() -> None:
    camera = make_camera(
        config(
            features=FAST
            | {"BouncingBallSize": 33, "ChunkEnable": False, "DeviceFeaturePersistenceStart": True}
        )
    )
    camera.open()
    camera.close()
    again = GenicamDevice(config(features={"BouncingBallSize": 20, "ChunkEnable": True}))
    again.open()
    again.close()


def test_a_camera_that_rounds_is_found_out() -> None:
    class Rounding:
        """A node as GenApi has them, which takes multiples of 8 without saying so."""

        min, max, inc = 0, 1000, 1

        def __init__(self) -> None:
            self._value = 0

        def get_access_mode(self) -> int:
            return 4

        @property
        def value(self) -> int:
            return self._value

        @value.setter
        def value(self, value: int) -> None:
            self._value = value // 8 * 8

    class NodeMap:
        Width = type("IInteger", (Rounding,), {})()

        def has_node(self, name: str) -> bool:
            return name == "Width"

    from partgate_cameras._features import set_features

    set_features(NodeMap(), {"Width": 640})
    with pytest.raises(FeatureError, match="feature Width: requested 644, the camera made it 640"):
        set_features(NodeMap(), {"Width": 644})


def grab_repeatedly(camera: Camera, times: int) -> None:
    for _ in range(times):
        camera.grab(5)


def test_a_frame_of_another_size_is_refused() -> None:
    camera = GenicamDevice(config())
    camera.open()
    camera.grab(5)
    stream = camera._stream
    assert stream is not None
    stream._node_map.Width.value = 400  # type: ignore[attr-defined] # as a second program might
    with pytest.raises(FrameFormatError, match="400×240 Mono8, expected 320×240 Mono8"):
        grab_repeatedly(camera, 20)
    camera.close()


def test_the_programs_sigint_handler_survives() -> None:
    # A handler of our own: where a shell runs this in the background, SIGINT is ignored from the start.
    caught: list[int] = []
    earlier = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    camera = make_camera(config(features=FAST))
    try:
        camera.open()
        signal.raise_signal(signal.SIGINT)
        assert caught == [signal.SIGINT]
        assert camera.grab(5).image.shape == (240, 320)
    finally:
        camera.close()
        signal.signal(signal.SIGINT, earlier)


def test_waiting_for_a_frame_lets_other_threads_run() -> None:
    camera = make_camera(config(features=FAST | {"AcquisitionFrameRate": 2.0}))
    camera.open()
    camera.grab(5)
    turns, stop = [0], threading.Event()

    def count() -> None:
        while not stop.wait(0.001):
            turns[0] += 1

    thread = threading.Thread(target=count, name="counting")
    thread.start()
    before = turns[0]
    camera.grab(5)
    during = turns[0] - before
    stop.set()
    thread.join(5)
    camera.close()
    assert during > 20, "half a second of waiting has room for hundreds"


def test_a_producer_is_found_by_path_then_search_path_then_package(tmp_path: Path) -> None:
    packaged = find_producer("viky.cti", environment={})
    assert packaged.name == "viky.cti"
    assert find_producer(str(packaged), environment={}) == packaged
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "maker.cti").write_bytes(b"")
    search = {SEARCH_PATH: os.pathsep.join(str(tmp_path / name) for name in ("none", "two", "one"))}
    assert find_producer("maker.cti", environment=search) == tmp_path / "two" / "maker.cti"
    with pytest.raises(CameraUnavailable, match=r"'x\.cti'.*none, .*two, .*one.*maker\.cti, viky\.cti"):
        find_producer("x.cti", environment=search)


def test_a_file_that_is_no_producer(tmp_path: Path) -> None:
    (tmp_path / "empty.cti").write_bytes(b"not a library")
    with pytest.raises(CameraUnavailable, match=r"empty\.cti cannot be loaded"):
        make_camera(config(producer=str(tmp_path / "empty.cti"))).open()
    assert Producer._loaded == {}


def test_no_exception_of_the_bindings_comes_through() -> None:
    from genicam import genapi, gentl

    foreign = [
        kind
        for module in (genapi, gentl)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ]
    assert len(foreign) > 30
    assert set(_MEANINGS) <= {kind.__name__ for kind in foreign}
    for kind in foreign:
        with pytest.raises(CameraUnavailable, match="camera top"), mapped("camera top"):
            raise kind.__new__(kind)


EXIT_PROGRAM = """
    import sys
    from partgate_cameras import make_camera
    from partgate_station import GenicamCamera
    camera = make_camera(GenicamCamera(kind="genicam", camera_id="top", producer="viky.cti"))
    for _ in range(2):
        camera.open()
        assert camera.grab(5).image.ndim in (2, 3)
        if "closed" in sys.argv:
            camera.close()
            camera.close()
        else:
            break
    print("done")
"""


@pytest.mark.parametrize("state", ["closed", "open"])
def test_the_process_ends_cleanly(state: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(EXIT_PROGRAM), state],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=Path(__file__).parent,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "done"), done.stderr
    assert "Traceback" not in done.stderr
