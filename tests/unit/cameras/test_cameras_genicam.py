"""The GenICam camera's own logic, on a scripted stream; `test_cameras_genicam_simulator.py` has all of it."""

import time
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from genicam_camera import FAST, config
from partgate_cameras import (
    CameraError,
    CameraUnavailable,
    FeatureError,
    FrameIncomplete,
    FrameOutOfOrder,
    FrameTimeout,
    NoFrameYet,
    _genicam,
    _shelf,
    make_camera,
)
from partgate_cameras._genicam import GenicamDevice
from partgate_cameras._genicam_trigger import check_trigger, with_trigger
from partgate_cameras._gentl_errors import mapped
from partgate_cameras._gentl_life import NO_ACCESS, LifeSigns
from partgate_cameras._gentl_stream import Delivery, Dropped, GentlStream, TriggerMode
from partgate_cameras._numbers import FrameNumbers, NumberNotRisen
from partgate_cameras._producers import Producer


class ScriptedStream:
    """Delivers what a test lays out: a frame number, "incomplete", or nothing, one per poll."""

    serial_number: str | None = None

    def __init__(self, script: list[int | str | None], trigger_mode: TriggerMode = "hardware") -> None:
        self.script = script
        self.trigger_mode = trigger_mode
        self.incomplete = 0
        self.fired = 0
        self.closed = 0
        self.restarts = 0
        self.waiting: list[int] = []
        self.asked = 0
        self.is_pulled = False

    def poll(self) -> Delivery | None:
        step = self.script.pop(0) if self.script else None
        if step == "incomplete":
            self.incomplete += 1
        if not isinstance(step, int):
            return None
        return Delivery(image=np.full((4, 6), step % 256, np.uint8), frame_id=step, timestamp_ns=step * 1000)

    def drop_waiting(self) -> list[Dropped]:
        waiting, self.waiting = self.waiting, []
        return [Dropped(frame_id=number, timestamp_ns=None) for number in waiting]

    def fire(self) -> None:
        self.fired += 1

    def prove_alive(self) -> None:
        self.asked += 1
        if self.is_pulled:
            raise CameraUnavailable("camera top does not answer: check cable and power")

    def restart(self) -> None:
        self.restarts += 1

    def close(self) -> None:
        self.closed += 1


def scripted(
    *script: int | str | None, trigger_mode: TriggerMode = "hardware"
) -> tuple[GenicamDevice, ScriptedStream]:
    stream = ScriptedStream(list(script), trigger_mode)
    camera = GenicamDevice(config(), connect=lambda _: stream)
    camera.open()
    return camera, stream


def test_frames_carry_the_cameras_number_and_time() -> None:
    camera, _ = scripted(None, 7, 8)
    first, second = camera.grab(5), camera.grab(5)
    assert (first.frame_id, first.camera_timestamp_ns, second.frame_id) == (7, 7000, 8)
    assert not first.image.flags.writeable
    assert camera.lost_frames == 0


def test_gaps_in_the_numbers_are_counted() -> None:
    camera, _ = scripted(1, 2, 6, 7)
    for _ in range(4):
        camera.grab(5)
    assert camera.lost_frames == 3


@pytest.mark.parametrize(
    ("numbers", "lost"), [((65534, 65535, 1, 2), 0), ((65535, 0, 1), 0), ((65535, 3), 2)]
)
def test_a_counter_of_16_bit_may_wrap(numbers: tuple[int, ...], lost: int) -> None:
    camera, _ = scripted(*numbers)
    assert [camera.grab(5).frame_id for _ in numbers] == list(numbers)
    assert camera.lost_frames == lost


def test_a_number_that_does_not_rise_costs_its_trigger() -> None:
    camera, _ = scripted(90, 12, 13, 13, 14)
    camera.grab(5)
    with pytest.raises(FrameOutOfOrder, match="frame id went 90→12"):
        camera.grab(5)
    assert camera.grab(5).frame_id == 13
    with pytest.raises(FrameOutOfOrder, match="13→13"):
        camera.grab(5)
    assert camera.grab(5).frame_id == 14


def test_nothing_in_time() -> None:
    camera, _ = scripted()
    with pytest.raises(FrameTimeout, match=r"camera top: no whole frame in 0\.02 s \(0 incomplete\)"):
        camera.grab(0.02)


def test_a_free_camera_skips_what_is_incomplete_and_says_how_much() -> None:
    camera, stream = scripted("incomplete", None, "incomplete", 5, trigger_mode="off")
    assert camera.grab(5).frame_id == 5
    assert camera.incomplete_frames == 2
    stream.script = ["incomplete"] * 3
    with pytest.raises(FrameTimeout, match=r"\(3 incomplete\)"):
        camera.grab(0.1)
    assert camera.incomplete_frames == 5


def test_behind_a_trigger_line_an_incomplete_frame_was_this_parts() -> None:
    camera, _ = scripted("incomplete", 2)
    with pytest.raises(FrameIncomplete, match="only a part"):
        camera.grab(5)
    assert camera.grab(5).frame_id == 2, "the next part gets its own"


def test_a_free_camera_does_not_show_an_earlier_part() -> None:
    camera, stream = scripted(1, 9, trigger_mode="off")
    camera.grab(5)
    stream.waiting = list(range(2, 9))  # arrived between the parts
    assert camera.grab(5).frame_id == 9
    assert camera.lost_frames == 0, "dropped on purpose"
    assert stream.fired == 0


def test_what_a_free_camera_took_between_two_parts_is_neither_lost_nor_out_of_order() -> None:
    camera, stream = scripted(1, trigger_mode="off")
    camera.grab(5)
    stream.waiting = list(range(2, 18))  # as many as are dropped at once; the buffers overran meanwhile
    stream.script = [5000]
    assert camera.grab(5).lost_before == 0
    stream.script = [70]  # after a pause in which a count of 16 bit has wrapped
    assert (camera.grab(5).frame_id, camera.lost_frames) == (70, 0)
    stream.script = [70]
    with pytest.raises(FrameOutOfOrder, match="70→70"):
        camera.grab(5)
    stream.waiting, stream.script = [71], [71]
    with pytest.raises(FrameOutOfOrder, match="71→71"):
        camera.grab(5)


def test_a_software_trigger_is_sent_once_per_grab() -> None:
    camera, stream = scripted(1, 2, trigger_mode="software")
    camera.grab(5)
    camera.grab(5)
    assert stream.fired == 2


def test_a_frame_given_up_that_comes_before_the_next_software_trigger_is_a_stray() -> None:
    camera, stream = scripted(1, trigger_mode="software")
    camera.grab(5)
    with pytest.raises(FrameTimeout):
        camera.grab(0.01)
    stream.waiting = [2, 2, 3]
    camera.look()
    stream.script = [4]
    assert camera.grab(5).frame_id == 4
    assert [stray.why.partition(":")[0] for stray in camera.take_strays()] == [
        "LATE",
        "OUT_OF_ORDER",
        "NO_TRIGGER",
    ]
    assert (stream.fired, stream.restarts, camera.lost_frames) == (3, 0, 0)


def test_a_frame_given_up_that_has_not_come_cannot_come_to_the_next_part() -> None:
    """The stream is stopped and started: only then is what comes next the next part's."""
    camera, stream = scripted(1, trigger_mode="software")
    camera.grab(5)
    with pytest.raises(FrameTimeout):
        camera.grab(0.01)
    stream.script = [1]  # the camera counts anew
    assert (camera.grab(5).frame_id, stream.restarts, stream.fired) == (1, 1, 3)
    stream.script = ["incomplete"]
    with pytest.raises(FrameIncomplete):
        camera.grab(5)
    stream.script = [3]
    assert (camera.grab(5).frame_id, stream.restarts) == (3, 1), "it came, if not whole"


def test_after_a_frame_that_comes_twice_the_software_trigger_still_owes_its_own() -> None:
    camera, stream = scripted(1, 1, trigger_mode="software")
    camera.grab(5)
    with pytest.raises(FrameOutOfOrder):
        camera.grab(5)
    stream.script = [1]
    assert (camera.grab(5).frame_id, stream.restarts) == (1, 1)


def test_frames_behind_a_line_are_stamped_when_they_come_not_when_they_are_asked_for() -> None:
    camera, stream = scripted(1, 2)
    before_s = time.monotonic()
    camera.look()
    after_s = time.monotonic()
    stream.script = [5]
    frames = [camera.next_frame(5) for _ in range(3)]
    assert [frame.frame_id for frame in frames] == [1, 2, 5]
    assert all(before_s <= frame.arrived_s <= after_s for frame in frames[:2])
    assert frames[2].arrived_s >= after_s
    assert [frame.lost_before for frame in frames] == [0, 0, 2]
    with pytest.raises(NoFrameYet):
        camera.next_frame(0.01)
    assert stream.fired == 0


def test_frames_behind_a_line_are_taken_in_and_stamped_however_many_they_are() -> None:
    camera, stream = scripted(*range(1, 30))
    for _ in range(4):
        camera.look()
    taken_in_s = time.monotonic()
    assert stream.script == []
    frames = [camera.next_frame(5) for _ in range(29)]
    assert [frame.frame_id for frame in frames] == list(range(1, 30))
    assert all(frame.arrived_s <= taken_in_s for frame in frames)


def test_a_frame_that_waited_in_the_device_for_room_has_no_part_that_is_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stamped when it is taken in, its part's deadline would count from then."""
    monkeypatch.setattr(_shelf, "MOST_BYTES", 24)  # of one frame
    camera, stream = scripted(*range(1, 11), 13, None, 14)
    camera.look()
    assert len(stream.script) == 13 - _shelf.LEAST
    assert [camera.next_frame(5).frame_id for _ in range(8)] == list(range(1, 9))
    errors: list[CameraError] = []
    for _ in range(3):
        with pytest.raises(CameraError, match="waited in the device: when it came is not known") as caught:
            camera.next_frame(5)
        errors.append(caught.value)
    assert all(error.arrived_s is not None for error in errors), "each stands for a part"
    assert [error.lost_before for error in errors] == [0, 0, 2]
    assert camera.next_frame(5).frame_id == 14, "the device was seen empty meanwhile"


def test_a_frame_of_a_device_that_was_not_looked_into_for_long_has_no_part_that_is_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when the camera's process was stopped, or waited for the device's answer."""
    monkeypatch.setattr(_genicam, "UNSEEN_S", 0.05)
    camera, stream = scripted()
    camera.look()
    time.sleep(0.06)
    stream.script = [1, 2, None, 3]
    for number in (1, 2):
        with pytest.raises(CameraError, match=f"frame {number} waited in the device"):
            camera.next_frame(5)
    assert camera.next_frame(5).frame_id == 3


def test_the_shelf_is_bounded_in_bytes_and_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = _shelf.Shelf(overflow="leave")
    large = scripted(1)[0].grab(5)
    monkeypatch.setattr(_shelf, "MOST_BYTES", 10 * large.image.nbytes)

    def filled(with_what: _shelf.Arrived) -> int:
        while shelf.has_room:
            shelf.put(with_what)
        return len(shelf)

    assert filled(large) == 10
    shelf.take()
    assert filled(large) == 10
    shelf.clear()
    assert filled(CameraError("top: incomplete")) == _shelf.MOST


def test_f01_a_pulled_cable_is_told_from_a_line_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    camera, stream = scripted()
    with pytest.raises(NoFrameYet):
        camera.next_frame(0.01)
    assert stream.asked == 0, "half a second without a frame says nothing"
    monkeypatch.setattr(_genicam, "SILENT_S", 0.02)
    stream.script = [1, *[None] * 5, 2]
    assert [camera.next_frame(5).frame_id for _ in range(2)] == [1, 2]
    with pytest.raises(NoFrameYet):
        camera.next_frame(0.1)
    answered = stream.asked
    assert 1 <= answered <= 5, "now and then, not with every look"
    stream.is_pulled = True
    with pytest.raises(CameraUnavailable, match="does not answer: check cable and power"):
        camera.next_frame(5)
    for look in (camera.look, lambda: camera.grab(5), camera.flush):
        with pytest.raises(CameraUnavailable, match="check cable"):
            look()
    assert stream.asked == answered + 1, "and not once for everybody who asks"
    stream.is_pulled = False
    camera.close()
    camera.open()
    stream.script = [1]
    assert camera.next_frame(5).frame_id == 1


@pytest.mark.parametrize("mode", ["off", "software"])
def test_a_camera_that_gives_nothing_by_itself_is_not_asked(
    mode: TriggerMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_genicam, "SILENT_S", 0.0)
    camera, stream = scripted(trigger_mode=mode)
    camera.look()
    with pytest.raises(FrameTimeout):
        camera.grab(0.02)
    assert stream.asked == 0


def test_the_simulator_answers_and_what_it_does_not_know_is_not_asked() -> None:
    camera = GenicamDevice(config())
    camera.open()
    stream = camera._stream
    assert isinstance(stream, GentlStream)
    LifeSigns(stream._acquirer, "camera top").ask()
    camera.close()


def device_that_answers(answers: dict[str, Any], asked: list[str]) -> Any:
    """Return as much of harvesters' acquirer as can be asked; what is not among the answers raises."""
    from genicam import gentl

    def answer(question: str) -> Any:
        asked.append(question)
        if question not in answers:
            raise gentl.IoException.__new__(gentl.IoException)
        return answers[question]

    class Device:
        access_status = property(lambda self: answer("access"))

    width = SimpleNamespace(get_value=lambda ignore_cache: answer("width") if ignore_cache else 0)
    remote = SimpleNamespace(
        port=SimpleNamespace(read=lambda address, size: answer("version")),
        node_map=SimpleNamespace(has_node=lambda name: True, Width=width),
    )
    return SimpleNamespace(remote_device=remote, device=Device())


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ({"version": (4, b"----"), "width": 640, "access": 1}, ["version", "access"]),
        ({"width": 640, "access": 5}, ["width", "access"]),
        ({"version": (4, b"----"), "access": NO_ACCESS}, ["version"]),
        ({"access": 1}, ["access"]),
        ({}, []),
    ],
)
def test_f01_only_what_a_device_answered_once_is_asked_and_has_to_be_answered(
    answers: dict[str, Any], asked: list[str]
) -> None:
    questions: list[str] = []
    life = LifeSigns(device_that_answers(answers, questions), "camera top")
    questions.clear()
    life.ask()
    assert questions == asked
    answers.clear()
    lost = pytest.raises(CameraUnavailable, match="does not answer") if asked else nullcontext()
    with lost, mapped("camera top"):
        life.ask()


def test_f01_a_producer_that_takes_its_access_back_has_lost_the_device() -> None:
    answers: dict[str, Any] = {"access": 5}
    life = LifeSigns(device_that_answers(answers, []), "camera top")
    answers["access"] = NO_ACCESS
    with pytest.raises(CameraUnavailable, match="camera top is not reachable any more: check cable"):
        life.ask()


def test_an_incomplete_frame_is_not_counted_as_lost_as_well() -> None:
    camera, _ = scripted(1, "incomplete", 3)
    camera.grab(5)
    with pytest.raises(FrameIncomplete) as caught:
        camera.next_frame(5)
    assert caught.value.arrived_s is not None
    assert camera.next_frame(5).lost_before == 0
    assert (camera.lost_frames, camera.incomplete_frames) == (0, 1)


def test_a_flush_leaves_nothing_of_before() -> None:
    camera, stream = scripted(7, 8)
    camera.look()
    stream.waiting = [9]
    camera.flush()
    assert [stray.frame_id for stray in camera.take_strays()] == [7, 8, 9]
    stream.script = [1]
    frame = camera.next_frame(5)
    assert (frame.frame_id, frame.lost_before, stream.restarts) == (1, 0, 1)


def test_a_frame_out_of_its_turn_is_not_counted_as_lost_twice() -> None:
    numbers = FrameNumbers()
    assert [numbers.follow(number) for number in (5, 8)] == [0, 2]
    for late in (6, 7, 8):
        with pytest.raises(NumberNotRisen, match=f"8→{late}"):
            numbers.follow(late)
    assert numbers.follow(9) == 0
    numbers.skip_to(65_535)
    assert numbers.follow(2) == 1
    with pytest.raises(NumberNotRisen):
        numbers.follow(65_535)
    assert numbers.follow(3) == 0


@pytest.mark.parametrize(
    ("settings", "features"),
    [
        ({}, FAST),
        ({"trigger": "free"}, FAST | {"TriggerMode": "Off"}),
        (
            {"trigger": "software"},
            {"TriggerSelector": "FrameStart"} | FAST | {"TriggerSource": "Software", "TriggerMode": "On"},
        ),
        (
            {"trigger": "line", "trigger_line": "Line2"},
            {"TriggerSelector": "FrameStart"} | FAST | {"TriggerSource": "Line2", "TriggerMode": "On"},
        ),
    ],
)
def test_the_trigger_setting_becomes_features_in_the_order_that_cameras_take(
    settings: dict[str, object], features: dict[str, object]
) -> None:
    assert list(with_trigger(config(**settings), lambda name: True).items()) == list(features.items())


AT_LINE_1 = {"TriggerMode": "On", "TriggerSource": "Line1"}


@pytest.mark.parametrize(
    ("settings", "waits", "words"),
    [
        ({}, False, None),
        ({"trigger": "line"}, True, None),
        ({"features": AT_LINE_1}, True, None),
        ({"trigger": "software"}, False, None),
        ({}, True, "write trigger = 'line' and trigger_line = 'Line7', or trigger = 'software' or 'free'"),
        ({"features": {"TriggerMode": "On"}}, True, "is set to wait for its input 'Line7'"),
        (
            {"trigger": "line", "trigger_line": "Software"},
            False,
            "wait for a line by the station file, and does not",
        ),
    ],
)
def test_a_trigger_that_is_stored_in_the_camera_and_not_in_the_file_is_refused(
    settings: dict[str, object], waits: bool, words: str | None
) -> None:
    refused = nullcontext() if words is None else pytest.raises(FeatureError, match=words)
    with refused:
        check_trigger(config(**settings), waits_for_line=waits, source="Line7")


def test_a_camera_at_a_line_of_its_own_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GentlStream, "_configured_trigger", lambda self: "hardware")
    with pytest.raises(FeatureError, match="camera top is set to wait for its input"):
        make_camera(config()).open()
    assert Producer._loaded == {}


def test_the_simulator_has_no_trigger_and_says_so() -> None:
    with pytest.raises(FeatureError, match="feature TriggerSource: the camera has none of that name"):
        make_camera(config(trigger="software")).open()
    camera = make_camera(config(trigger="free"))
    camera.open()
    assert camera.grab(5).image.shape == (240, 320)
    camera.close()


def test_the_simulator_counts_anew_after_a_flush() -> None:
    camera = GenicamDevice(config())
    camera.open()
    while camera.grab(5).frame_id < 30:
        pass
    camera.flush()
    again = camera.grab(5)  # most likely a number below 30, which would be refused without a new count
    camera.close()
    assert again.image.shape == (240, 320)
    assert camera.lost_frames == 0


def test_close_is_idempotent_and_grab_needs_open() -> None:
    camera, stream = scripted(1)
    camera.close()
    camera.close()
    assert stream.closed == 1
    with pytest.raises(CameraUnavailable, match="not open"):
        camera.grab(1)
