"""What a camera's process is made of, each without one: pace, messages, requests, checks."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest

from partgate_cameras import (
    CameraError,
    CameraUnavailable,
    FeatureError,
    Frame,
    FrameBlank,
    FrameFrozen,
    FrameTimeout,
)
from partgate_cameras import _messages as wire
from partgate_cameras._frame_checks import FrameChecks
from partgate_cameras._requests import Answer, Requests
from partgate_cameras._respawn import Pace, Respawns
from partgate_cameras._ring import Image
from partgate_station import GenicamCamera, PartgateError

PACE = Pace(first_s=0.5, longest_s=10, quick=5, window_s=60, jitter=0.2)


def test_waits_double_then_stay_long_and_a_person_is_told_once() -> None:
    respawns = Respawns(PACE, chance=lambda: 0.0)
    now_s, waits = 0.0, []
    for _ in range(9):
        waits.append(wait := respawns.lost(now_s))
        now_s += wait.wait_s + 20  # each takes long to fail: the outage is one, however long
    assert [wait.wait_s for wait in waits] == [0.5, 1, 2, 4, 8, 10, 10, 10, 10]
    assert [wait.attempt for wait in waits] == list(range(1, 10))
    assert [wait.alarm for wait in waits] == [False] * 5 + [True] + [False] * 3


def test_no_more_than_five_quick_starts_within_a_minute() -> None:
    respawns = Respawns(PACE, chance=lambda: 0.0)
    now_s, waits = 0.0, []
    for _ in range(50):  # back each time, lost again two seconds later
        waits.append(wait := respawns.lost(now_s))
        now_s += wait.wait_s
        respawns.back(now_s)
        now_s += 2
    assert [wait.wait_s for wait in waits] == [0.5, 1, 2, 4, 8] + [10] * 45
    assert {wait.attempt for wait in waits} == {1}
    assert sum(wait.alarm for wait in waits) == 1


def test_a_camera_that_was_well_for_a_while_starts_afresh() -> None:
    respawns = Respawns(PACE, chance=lambda: 0.0)
    for now_s in range(7):
        respawns.lost(float(now_s))
    respawns.back(30)
    again = respawns.lost(200)
    assert (again.wait_s, again.attempt, again.alarm) == (0.5, 1, False)


def test_jitter_lengthens_and_never_shortens() -> None:
    chances: Iterator[float] = iter([0.0, 1.0])
    one = Respawns(PACE, chance=lambda: next(chances))
    assert one.lost(0).wait_s == 0.5
    assert one.lost(1).wait_s == pytest.approx(1.2)


def test_a_process_that_keeps_asking_raises_the_alarm_too() -> None:
    respawns = Respawns(PACE, chance=lambda: 0.0)
    respawns.lost(0)
    told = [respawns.not_opened() for _ in range(10)]
    assert [wait.attempt for wait in told] == list(range(2, 12))
    assert sum(wait.alarm for wait in told) == 1
    assert not respawns.lost(60).alarm


DELIVERED = wire.Delivered(
    number=7, slot=1, shape=(3, 4, 3), frame_id=12, camera_timestamp_ns=None,
    received_at="2026-11-22T16:00:00+00:00", arrived_s=3.5, exhausted=False, new_ring=True, lost_before=2,
)  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [
        wire.Grab(number=1, deadline_s=12.5, released=0, kind="next"),
        wire.Close(),
        wire.Beat(),
        wire.Opened(exhausted=True),
        wire.NotOpened(error="FeatureError", text="Größe: 5 × 6\n"),
        DELIVERED,
        wire.NotDelivered(number=2, error="ImageError", text="", exhausted=False, arrived_s=1.5),
        wire.Stray(frame_id=None, camera_timestamp_ns=9, received_at="2026-11-22", why="LATE: gone"),
        wire.Logged(level=30, logger="driver", text="lost"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_messages_arrive_as_they_were_sent(message: wire.Message) -> None:
    assert wire.decode(wire.encode(message)) == message


@pytest.mark.parametrize(
    "datagram",
    [b"", b"\xff\xfe", b"{}", b"[]", b'["Grab"]', b'["Grab",1,2,3]', b'["Path","/"]', b"3", b"\x80\x04."],
)
def test_what_is_no_message_is_refused(datagram: bytes) -> None:
    with pytest.raises(wire.Garbled, match="is no message"):
        wire.decode(datagram)


def test_a_long_text_fits_a_datagram() -> None:
    long = wire.NotDelivered(number=1, error="CameraError", text="ü" * 10_000_000, exhausted=False)
    assert len(wire.encode(long)) < wire.MAX_BYTES
    assert json.loads(wire.encode(long))[0] == "NotDelivered"


def test_errors_of_ours_cross_by_name_and_others_say_what_they_were() -> None:
    ours = wire.error_of(wire.NotOpened(error="FeatureError", text="camera top: no"), camera_id="top")
    other = wire.error_of(wire.NotOpened(error="SystemExit", text="3"), camera_id="top")
    assert (type(ours), str(ours)) == (FeatureError, "camera top: no")
    assert (type(other), str(other)) == (CameraError, "camera top: SystemExit: 3")
    of_a_frame = wire.NotDelivered(
        number=1, error="FrameIncomplete", text="half", exhausted=False, arrived_s=4.5, lost_before=2
    )
    incomplete = wire.error_of(of_a_frame, camera_id="top")
    assert isinstance(incomplete, CameraError)
    assert (incomplete.arrived_s, incomplete.lost_before) == (4.5, 2)
    assert all(issubclass(kind, PartgateError) for kind in wire._ERRORS.values())
    assert {"CameraUnavailable", "EndOfImages", "FrameFrozen", "ImageError", "MissingInput"} <= set(
        wire._ERRORS
    )


class Sent:
    """A process that answers nothing by itself."""

    def __init__(self) -> None:
        self.messages: list[wire.Message] = []

    def send(self, message: wire.Message) -> None:
        self.messages.append(message)


def refusal(number: int) -> Answer:
    message = wire.NotDelivered(number=number, error="FrameTimeout", text="none", exhausted=False)
    return Answer(message=message, ring=None)


def test_an_answer_that_comes_too_late_is_nobodys() -> None:
    requests, process = Requests("top"), Sent()
    requests.opened(process, exhausted=False)
    with pytest.raises(FrameTimeout, match=r"camera top: its process has not answered in 0\.01 s"):
        requests.ask(0.01, answer_s=0.01)
    assert requests.late_by_s() > 0
    idle = [requests.idle]
    late: list[Answer] = []
    assert not requests.answered(refusal(1), late=late.append)
    assert [answer.message.number for answer in late] == [1]
    assert [*idle, requests.idle] == [False, True]
    with pytest.raises(FrameTimeout):
        requests.ask(0.01, answer_s=0.01)
    grabs = [message for message in process.messages if isinstance(message, wire.Grab)]
    assert [(grab.number, grab.released) for grab in grabs] == [(1, 0), (2, 1)]


def test_who_waits_is_told_of_a_loss_at_once() -> None:
    requests = Requests("top")
    requests.opened(Sent(), exhausted=False)
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            requests.ask(50, answer_s=0)
        except CameraUnavailable as error:
            raised.append(error)

    caller = threading.Thread(target=ask, name="caller")
    caller.start()
    give_up_s = time.monotonic() + 20
    while requests.idle and time.monotonic() < give_up_s:
        time.sleep(0.001)
    assert requests.lost("it burns", attempt=3)
    caller.join(20)
    assert "(it burns), coming back, attempt 3" in str(raised[0])
    with pytest.raises(CameraUnavailable, match="it burns"):
        requests.ask(50, answer_s=0)
    requests.closed()
    with pytest.raises(CameraUnavailable, match="camera top: not open"):
        requests.ask(50, answer_s=0)


def frame(number: int, image: Image) -> Frame:
    return Frame(
        image=image.copy(),
        camera_id="top",
        frame_id=number,
        camera_timestamp_ns=None,
        received_at=datetime.now(UTC),
    )


def test_one_pixel_that_differs_is_another_frame() -> None:
    checks = FrameChecks("top", frozen_after=2, shape=None, one_size=False)
    image = np.random.default_rng(0).integers(0, 200, (50, 70), np.uint8)
    other = image.copy()
    other[20, 31] += 1  # between the samples
    checks.check(frame(1, image), None)
    checks.check(frame(2, other), image)
    with pytest.raises(FrameFrozen, match=r"frame 3 is the 2\. in a row"):
        checks.check(frame(3, other), other)


@pytest.mark.parametrize("frozen_after", [2, 3, 5])
def test_so_many_equal_frames_are_frozen_until_one_differs(frozen_after: int) -> None:
    checks = FrameChecks("top", frozen_after=frozen_after, shape=None, one_size=False)
    dark = np.zeros((8, 8), np.uint8)
    checks.check(frame(0, dark), None)
    for number in range(1, frozen_after - 1):
        checks.check(frame(number, dark), dark)
    for number in range(frozen_after, frozen_after + 3):
        with pytest.raises(FrameFrozen):
            checks.check(frame(number, dark), dark)
    checks.check(frame(99, dark + 1), dark)


@pytest.mark.parametrize("level", [0, 17, 255])
@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3)])
def test_b21_a_frame_of_one_level_shows_nothing(level: int, shape: tuple[int, ...]) -> None:
    checks = FrameChecks("top", frozen_after=3, shape=None, one_size=True, refuse_blank=True)
    blank = np.full(shape, level, np.uint8)
    with pytest.raises(FrameBlank, match=f"camera top: frame 7: every pixel is {level}[ ,]"):
        checks.check(frame(7, blank), None)
    seen = blank.copy()
    seen[20, 31] ^= 1  # between the samples
    checks.check(frame(8, seen), blank)


def test_a_drawn_or_stored_picture_may_be_of_one_level() -> None:
    checks = FrameChecks("top", frozen_after=0, shape=None, one_size=False)
    checks.check(frame(1, np.zeros((8, 8), np.uint8)), None)


def test_never_is_never() -> None:
    checks = FrameChecks("top", frozen_after=0, shape=None, one_size=False)
    dark = np.zeros((8, 8), np.uint8)
    for number in range(20):
        checks.check(frame(number, dark), dark)


def test_one_frame_in_a_row_is_refused_in_the_station_file() -> None:
    with pytest.raises(ValueError, match="a single frame repeats nothing"):
        GenicamCamera(kind="genicam", camera_id="top", producer="viky.cti", frozen_after=1)
