"""How soon a process that hangs is given up: by its constants, on a clock that the test turns."""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partgate.line._supervision import TURN_S as LOOK_EVERY_S
from partgate_cameras import _messages as wire
from partgate_cameras import _misses, _requests, _watch
from partgate_cameras._child_process import EXIT_WAIT_S
from partgate_cameras._patience import Patience
from partgate_cameras._process import DEVICE_PATIENCE, FILE_PATIENCE
from partgate_cameras._requests import Requests
from partgate_cameras._watch import Loss, Watch

SEEN_WITHIN_S = 1.0  # of the missed deadline; issue's bound
POLL_S = 0.002  # `poll` counts in milliseconds, and rounds up
FOR_THE_MACHINE_S = 0.2  # of that, for threads that are not run at once


@dataclass
class Clock:
    """Stands for the module `time`."""

    now_s: float = 100.0

    def monotonic(self) -> float:
        return self.now_s


@dataclass
class SilentProcess:
    """Opens its camera, then says nothing; time passes while it is waited for."""

    clock: Clock
    requests: Requests
    asks: dict[float, float] = field(default_factory=dict)
    """When the line asks for a frame, and for how long it waits: by seconds after the start."""

    turns: int = 0
    started_s: float = 100.0

    def receive(self, timeout_s: float) -> Sequence[tuple[wire.Message, None]]:
        self.turns += 1
        if self.turns == 1:
            return [(wire.Opened(exhausted=False), None)]
        until_s = self.clock.now_s + math.ceil(timeout_s * 1000) / 1000  # as `poll` does
        for after_s in [after_s for after_s in self.asks if self.started_s + after_s <= until_s]:
            asked_s = self.started_s + after_s
            self.requests._number += 1
            self.requests._deadlines_s[self.requests._number] = asked_s + self.asks.pop(after_s)
        self.clock.now_s = until_s
        return []

    def send(self, message: wire.Message) -> None:
        """Nobody reads."""


class NoEars:
    """Wants to know nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def given_up_after_s(asks: dict[float, float], patience: Patience) -> tuple[float, Loss, int]:
    """Return when a silent process is given up, why, and after how many looks."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patched:
        for module in (_watch, _requests):
            patched.setattr(module, "time", clock)
        requests = Requests("top")
        child: Any = SilentProcess(clock, requests, dict(asks))
        ears: Any = NoEars()
        loss = Watch(child, requests, ears, what="camera top", patience=patience).until(threading.Event())
    return clock.now_s - 100.0, loss, child.turns


@given(
    after_s=st.floats(0, 1.9),
    timeout_s=st.floats(0.001, 0.9),
    hang_s=st.floats(0.001, 1),
    turn_s=st.floats(0.01, 0.5),
)
def test_a_process_that_hangs_is_given_up_when_its_patience_is_over(
    after_s: float, timeout_s: float, hang_s: float, turn_s: float
) -> None:
    patience = Patience(hang_s=hang_s, turn_s=turn_s, silent_turns=1000)
    seen_s, loss, looks = given_up_after_s({after_s: timeout_s}, patience)
    late_s = seen_s - after_s - timeout_s
    assert "did not answer" in loss.why
    assert hang_s - 1e-6 <= late_s <= patience.lost_within_s + POLL_S
    assert looks <= (after_s + timeout_s + hang_s) / turn_s + 6, "it does not look without waiting"


def test_the_oldest_request_counts_and_an_idle_process_is_given_up_as_before() -> None:
    seen_s, loss, _ = given_up_after_s({0.1: 0.5, 0.2: 0.05}, DEVICE_PATIENCE)
    assert seen_s == pytest.approx(0.25 + 0.5, abs=POLL_S)
    assert "did not answer" in loss.why
    seen_s, loss, _ = given_up_after_s({}, DEVICE_PATIENCE)
    assert seen_s == pytest.approx(DEVICE_PATIENCE.silent_turns * DEVICE_PATIENCE.turn_s)
    assert "was silent for 2.0 s" in loss.why


@dataclass
class SometimesSilent:
    """Opens its camera, then beats in some turns and not in others."""

    beats: list[bool]
    doubts: list[bool] = field(default_factory=list)
    requests: Requests = field(default_factory=lambda: Requests("top"))
    stop: threading.Event = field(default_factory=threading.Event)

    def receive(self, timeout_s: float) -> Sequence[tuple[wire.Message, None]]:
        self.doubts.append(self.requests.problem is not None)
        if len(self.doubts) == 1:
            return [(wire.Opened(exhausted=False), None)]
        if len(self.doubts) - 1 > len(self.beats):
            self.stop.set()
            return []
        return [(wire.Beat(), None)] if self.beats[len(self.doubts) - 2] else []

    def send(self, message: wire.Message) -> None:
        """Nobody reads."""


def test_an_idle_process_is_doubted_while_it_is_silent_and_trusted_with_its_next_beat() -> None:
    process: Any = SometimesSilent([True, False, True, False, False, False, True, True])
    ears: Any = NoEars()
    watch = Watch(process, process.requests, ears, what="camera top", patience=DEVICE_PATIENCE)
    assert watch.until(process.stop).why == "told to close"
    # What was to be seen before each turn: nobody is open before the first, two silent turns are doubted.
    assert process.doubts == [True, *[False] * 5, True, True, False, False]


@dataclass
class Answering:
    """Opens its camera, then gives one answer after the other; each comes `every_s` after the last."""

    clock: Clock
    answers: list[wire.Message]
    every_s: float
    stop: threading.Event
    given: int = -1

    def receive(self, timeout_s: float) -> Sequence[tuple[wire.Message, None]]:
        self.given += 1
        if self.given == 0:
            return [(wire.Opened(exhausted=False), None)]
        self.clock.now_s += self.every_s
        if self.given > len(self.answers):
            self.stop.set()
            return []
        return [(self.answers[self.given - 1], None)]

    def send(self, message: wire.Message) -> None:
        """Nobody reads."""


def incomplete(arrived_s: float | None = 1.0) -> wire.Message:
    return wire.NotDelivered(
        number=1, error="FrameIncomplete", text="a part", exhausted=False, arrived_s=arrived_s
    )


WHOLE = wire.Delivered(
    number=1, slot=0, shape=(4, 6), frame_id=1, camera_timestamp_ns=None,
    received_at="2026-11-30T10:00:00+00:00", arrived_s=1.0, exhausted=False, new_ring=False,
)  # fmt: skip


def watched(answers: list[wire.Message], every_s: float) -> tuple[Loss, int]:
    """Return why a camera is given up that answers so, and after how many answers."""
    clock, stop = Clock(), threading.Event()
    with pytest.MonkeyPatch.context() as patched:
        for module in (_misses, _watch, _requests):
            patched.setattr(module, "time", clock)
        child: Any = Answering(clock, answers, every_s, stop)
        ears: Any = NoEars()
        watch = Watch(child, Requests("top"), ears, what="camera top", patience=DEVICE_PATIENCE)
        return watch.until(stop), child.given


@pytest.mark.parametrize(
    ("answers", "every_s", "why", "after"),
    [
        # Three in a row within a second: packets were lost, and the parts have their rows.
        ([incomplete()] * 3 + [WHOLE], 0.1, "told to close", 5),
        # So for five seconds: it is tried whether a camera opened anew does better.
        ([incomplete()] * 100, 0.125, "41 incomplete frames in 5.0 s and none that is whole", 41),
        # A slow line: two are no reason, however far apart.
        ([incomplete()] * 2 + [WHOLE] + [incomplete()] * 2, 60.0, "told to close", 6),
        ([incomplete()] * 3, 60.0, "3 incomplete frames in 120.0 s and none that is whole", 3),
        # Of a camera that is asked for each frame none came: it may not live.
        ([incomplete(None)] * 3, 0.1, "3 triggers in a row without a frame", 3),
    ],
)
def test_incomplete_frames_that_come_by_themselves_show_that_the_camera_lives(
    answers: list[wire.Message], every_s: float, why: str, after: int
) -> None:
    loss, given = watched(answers, every_s)
    assert (loss.why, given) == (why, after)


def test_a_process_with_a_request_in_work_is_not_doubted() -> None:
    process: Any = SometimesSilent([False] * 6)
    process.requests._deadlines_s[1] = math.inf
    ears: Any = NoEars()
    Watch(process, process.requests, ears, what="camera top", patience=DEVICE_PATIENCE).until(process.stop)
    assert process.doubts == [True, *[False] * 7]


def test_a_device_that_hangs_while_nobody_asks_is_seen_within_a_second() -> None:
    assert DEVICE_PATIENCE.doubted_within_s + LOOK_EVERY_S <= SEEN_WITHIN_S - FOR_THE_MACHINE_S
    assert DEVICE_PATIENCE.doubted_within_s >= 4 * DEVICE_PATIENCE.beat_every_s, "several beats are missed"
    assert FILE_PATIENCE.doubt_turns == FILE_PATIENCE.silent_turns  # reading ahead, it may hold Python's lock


def test_the_loss_of_a_device_is_seen_within_a_second_of_the_missed_deadline() -> None:
    """Given up, then noticed by the thread that watches the station: the longest ways."""
    hangs_s = DEVICE_PATIENCE.lost_within_s + LOOK_EVERY_S
    dies_s = EXIT_WAIT_S + LOOK_EVERY_S
    assert max(hangs_s, dies_s) <= SEEN_WITHIN_S - FOR_THE_MACHINE_S
    assert FILE_PATIENCE.lost_within_s == 5.0  # what is read from files may take so long
