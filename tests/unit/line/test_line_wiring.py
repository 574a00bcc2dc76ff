"""From the station file to triggers and what finds each camera's frames."""

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pytest

from partgate.line._camera_trigger import CameraTriggers
from partgate.line._digital_input import DigitalInput
from partgate.line._finders import GrabbedFrames
from partgate.line._line_camera import LineCamera
from partgate.line._part import Trigger
from partgate.line._triggers import Continuous, Interval
from partgate.line._wiring import wire
from partgate_cameras import Frame, FrameTimeout, ProcessCamera
from partgate_station import ConfigError, StationConfig

TOP = {"kind": "genicam", "camera_id": "top", "producer": "none.cti", "trigger": "line"}
SIDE = TOP | {"camera_id": "side", "latest_ms": 50}
SOFT = TOP | {"camera_id": "soft", "trigger": "software", "latest_ms": 50}
DRAWN = {"kind": "virtual", "camera_id": "drawn"}


def config(trigger: Mapping[str, object], *cameras: Mapping[str, object]) -> StationConfig:
    return StationConfig.model_validate(
        {"station_id": "one", "trigger": trigger, "cameras": tuple(cameras)}, strict=False
    )


@pytest.mark.parametrize(
    ("trigger", "cameras", "source", "finders"),
    [
        ({"kind": "interval", "period_s": 1}, [DRAWN], Interval, [GrabbedFrames]),
        ({"kind": "continuous"}, [DRAWN, SOFT], Continuous, [GrabbedFrames, GrabbedFrames]),
        (
            {"kind": "camera", "camera_id": "top"},
            [DRAWN, TOP, SIDE],
            CameraTriggers,
            [GrabbedFrames, CameraTriggers, LineCamera],
        ),
        ({"kind": "digital_input"}, [SIDE, SOFT], DigitalInput, [LineCamera, GrabbedFrames]),
    ],
    ids=["interval", "continuous", "camera", "digital-input"],
)
def test_the_station_file_chooses(
    trigger: dict[str, object], cameras: list[dict[str, object]], source: type, finders: list[type]
) -> None:
    station = config(trigger, *cameras)
    wiring = wire(station, [ProcessCamera(camera) for camera in station.cameras])
    assert type(wiring.triggers) is source
    assert [type(finder) for finder in wiring.finders] == finders
    assert [finder.camera_id for finder in wiring.finders] == list(station.camera_ids)
    wiring.close()


def test_a_camera_behind_a_line_that_nothing_knows_of_is_refused() -> None:
    station = config({"kind": "interval", "period_s": 1}, SIDE)
    with pytest.raises(ConfigError, match="camera side: behind a trigger line it needs latest_ms"):
        wire(station, [ProcessCamera(camera) for camera in station.cameras])


@dataclass
class Grabbed:
    """A camera whose frames arrived when a test says."""

    arrivals_s: deque[float]
    camera_id: str = "soft"
    exhausted: bool = False
    grabbed: int = 0
    timeouts_s: list[float] = field(default_factory=list)

    def open(self) -> None: ...

    def close(self) -> None: ...

    def grab(self, timeout_s: float) -> Frame:
        self.grabbed += 1
        self.timeouts_s.append(timeout_s)
        return Frame(
            image=np.zeros((4, 4), np.uint8),
            camera_id="soft",
            frame_id=self.grabbed,
            camera_timestamp_ns=None,
            received_at=datetime.now(UTC),
            arrived_s=self.arrivals_s.popleft(),
        )


def trigger(at_s: float) -> Trigger:
    return Trigger(trigger_id=7, triggered_at=datetime.now(UTC), monotonic_s=at_s)


def test_a_part_that_has_passed_is_not_photographed_any_more() -> None:
    now_s, camera = time.monotonic(), Grabbed(deque())
    finder = GrabbedFrames(camera, latest_s=0.05)
    with pytest.raises(FrameTimeout, match="camera soft: no frame within 50 ms of the trigger"):
        finder.frame_for(trigger(now_s - 1), now_s + 60)
    assert camera.grabbed == 0, "what is there now is another part"


def test_a_device_is_not_asked_for_a_part_whose_deadline_is_over() -> None:
    """What is in front of it is another part, and the picture would be owed besides."""
    now_s = time.monotonic()
    camera = Grabbed(deque([now_s]))
    finder = GrabbedFrames(camera, is_device=True)
    with pytest.raises(FrameTimeout, match="camera soft: no frame before the deadline, after which no part"):
        finder.frame_for(trigger(now_s - 1), now_s - 0.001)
    assert camera.grabbed == 0
    assert finder.frame_for(trigger(now_s), now_s + 60).frame_id == 1


def test_a_file_is_asked_for_a_part_whose_deadline_is_over() -> None:
    """Its next image is this part's, and must not become the next one's."""
    now_s = time.monotonic()
    camera = Grabbed(deque([now_s]))
    assert GrabbedFrames(camera).frame_for(trigger(now_s - 1), now_s - 0.001).frame_id == 1
    assert camera.timeouts_s == [0.001]


def test_a_device_is_asked_for_no_second_frame_after_the_deadline() -> None:
    now_s = time.monotonic()
    camera = Grabbed(deque([now_s] * 1_000_000))
    with pytest.raises(FrameTimeout, match="no frame before the deadline"):
        GrabbedFrames(camera, earliest_s=60, is_device=True).frame_for(trigger(now_s), now_s + 0.05)
    assert camera.grabbed > 0


@pytest.mark.parametrize(
    ("camera", "is_device"),
    [
        (SOFT, True),
        (SOFT | {"trigger": "free"}, True),
        ({"kind": "video", "camera_id": "net", "source": "rtsp://h/x"}, True),
        ({"kind": "video", "camera_id": "file", "source": "parts.mkv"}, False),
        (DRAWN, False),
    ],
)
def test_which_cameras_show_what_is_in_front_of_them(camera: dict[str, object], is_device: bool) -> None:
    station = config({"kind": "interval", "period_s": 1}, camera)
    (finder,) = wire(station, [ProcessCamera(camera) for camera in station.cameras]).finders
    assert isinstance(finder, GrabbedFrames)
    assert finder._is_device is is_device


def test_frames_before_the_window_are_skipped_and_one_after_it_is_a_stray() -> None:
    at_s = time.monotonic()
    camera = Grabbed(deque([at_s + 1, at_s + 3, at_s + 3, at_s + 90]))
    finder = GrabbedFrames(camera, earliest_s=2, latest_s=50)
    assert finder.frame_for(trigger(at_s), at_s + 60).frame_id == 2
    assert camera.timeouts_s[0] <= 50
    assert finder.frame_for(trigger(at_s), at_s + 60).frame_id == 3
    with pytest.raises(FrameTimeout):
        finder.frame_for(trigger(at_s), at_s + 60)
    (stray,) = finder.take_strays()
    assert (stray.frame_id, stray.why) == (4, "LATE: it came when trigger 7's window was over")
    assert stray.image is not None
    assert finder.take_strays() == ()


def test_a_live_video_has_its_window() -> None:
    live = {"kind": "video", "camera_id": "net", "source": "rtsp://h/x", "earliest_ms": 200, "latest_ms": 900}
    station = config({"kind": "interval", "period_s": 1}, live)
    (finder,) = wire(station, [ProcessCamera(camera) for camera in station.cameras]).finders
    assert isinstance(finder, GrabbedFrames)
    assert (finder._earliest_s, finder._latest_s) == (0.2, 0.9)


def test_a_source_says_none_when_the_station_stops() -> None:
    stop = threading.Event()
    stop.set()
    assert (
        CameraTriggers(ProcessCamera(config({"kind": "continuous"}, DRAWN).cameras[0])).wait(1, stop) is None
    )
