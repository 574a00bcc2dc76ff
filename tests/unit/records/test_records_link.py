"""The line's thread that keeps the recorder's process, with processes that are only played."""

import errno
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from partgate.records import ClosedPart, ImageCounts, OpenPart, RecordedFrame, new_id, utc_now
from partgate.records import _recorder_link as link_module
from partgate.records._commands import Command
from partgate.records._frame_memory import FrameMemory, FrameMemoryReader, Place, bytes_of
from partgate.records._recorder_life import LifeEnded, RecorderLife
from partgate.records._recorder_link import RecorderLink
from partgate_station import Verdict

TIMEOUT_S = 10
BLOCK_BYTES = 512  # what st_blocks counts


class PlayedLife(RecorderLife):
    """A recorder's process that is only played: takes messages, and answers as a test tells it to."""

    def __init__(self, answer: Callable[["PlayedLife", dict[str, Any]], None]) -> None:
        self.pid, self.ended = 1, False
        self.sent: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        self.dead = False
        self._answer = answer

    def wait(self, wake: int, *, timeout_s: float, to_send: bool) -> None:
        time.sleep(0.001)

    def send(self, datagram: bytes, descriptors: Sequence[int] = ()) -> bool:
        if self.dead:
            raise LifeEnded("it has gone")
        message = json.loads(datagram)
        self.sent.append(message)
        self._answer(self, message)
        return True

    def receive(self) -> list[dict[str, Any]]:
        taken, self.answers = self.answers, []
        if self.dead and not taken:
            raise LifeEnded("its process ended with -9")
        return taken

    def end(self, grace_s: float) -> int | None:
        self.ended = True
        return 0


def _does(life: PlayedLife, message: dict[str, Any]) -> None:
    """Do what is asked."""
    if message["kind"] in ("open", "close"):
        life.answers.append({"kind": "done", "numbers": [message["number"]], "failed": []})


class _Played:
    """Lives, one after the other, and what they were said to have done."""

    def __init__(self, *answers: Callable[[PlayedLife, dict[str, Any]], None]) -> None:
        self._answers = list(answers)
        self.lives: list[PlayedLife] = []
        self.done: list[tuple[int, str | None]] = []
        self.changed = threading.Condition()

    def start(self) -> RecorderLife:
        self.lives.append(PlayedLife(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]))
        return self.lives[-1]

    def note(self, command: Command, failed: str | None) -> None:
        with self.changed:
            self.done.append((command.number, failed))
            self.changed.notify_all()

    def wait_done(self, count: int) -> list[int]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.done) >= count, TIMEOUT_S)
        return [number for number, _ in self.done]


@contextmanager
def _linked(played: _Played) -> Iterator[RecorderLink]:
    link = RecorderLink(played.start, played.note, name="link")
    try:
        yield link
    finally:
        link.finish(1.0)


def _open(number: int) -> Command:
    return Command(number, OpenPart(trigger_id=number, triggered_at=utc_now()))


def _frame(value: int = 0, size_px: int = 8) -> RecordedFrame:
    return RecordedFrame(
        camera_id="top",
        frame_id=value,
        received_at=utc_now(),
        image=np.full((size_px, size_px, 3), value, np.uint8),
        anomaly_map=np.full((2, 3), value, np.float32),
    )


def _close(number: int, *frames: RecordedFrame) -> Command:
    part = ClosedPart(part_id=new_id(), verdict=Verdict.REJECT, frames=frames)
    return Command(number, part, kept=True)


def _commands(life: PlayedLife) -> list[int]:
    return [message["number"] for message in life.sent if "number" in message]


def test_commands_go_out_in_order_and_are_done_once() -> None:
    played = _Played(_does)
    with _linked(played) as link:
        for number in range(0, 40, 2):
            link.submit(_open(number))
            link.submit(_close(number + 1, _frame(number)))
        assert played.wait_done(40) == list(range(40))
    assert _commands(played.lives[0]) == list(range(40))
    assert played.lives[0].sent[-1]["kind"] == "end"
    assert played.lives[0].ended


def test_what_a_lost_process_had_not_done_is_sent_again_in_order() -> None:
    def dies_at_three(life: PlayedLife, message: dict[str, Any]) -> None:
        if message.get("number") == 3:
            life.dead = True
        elif message.get("number") == 0:
            _does(life, message)

    played = _Played(dies_at_three, _does)
    with _linked(played) as link:
        for number in range(6):
            link.submit(_close(number, _frame(number)))
        played.wait_done(6)
    first, second = played.lives
    assert _commands(first) == [0, 1, 2, 3]
    again = [message for message in second.sent if "number" in message]
    assert [(message["number"], message["again"]) for message in again] == [
        (1, True), (2, True), (3, True), (4, False), (5, False)
    ]  # fmt: skip
    assert second.sent[0]["kind"] == "memory"  # the same one: the frames lie in it still
    assert sorted(number for number, _ in played.done) == list(range(6))
    assert link.restarts == 1


def test_a_process_that_is_lost_for_days_is_started_again_every_ten_seconds() -> None:
    with _linked(_Played(lambda life, message: None)) as link:
        link._losses = 5000
        assert link._lost("it cannot start") == link_module.LONGEST_WAIT_S


def test_what_keeps_rows_from_being_written_is_known_until_they_are() -> None:
    def troubled(life: PlayedLife, message: dict[str, Any]) -> None:
        if message.get("number") == 0:
            life.answers.append({"kind": "trouble", "why": "database: it is damaged"})
        elif message.get("number") == 1:
            life.answers.append({"kind": "trouble", "why": None})
        _does(life, message)

    played = _Played(troubled)
    with _linked(played) as link:
        told = []
        for number in (0, 1):
            link.submit(_close(number))
            played.wait_done(number + 1)
            told.append(link.trouble)
    assert told == ["database: it is damaged", None]


def test_the_trouble_of_a_lost_process_is_not_the_next_ones() -> None:
    def dies_in_trouble(life: PlayedLife, message: dict[str, Any]) -> None:
        life.answers.append({"kind": "trouble", "why": "database: it is damaged"})
        life.dead = True

    played = _Played(dies_in_trouble, _does)
    with _linked(played) as link:
        link.submit(_close(0))
        played.wait_done(1)
        assert link.trouble is None


def test_a_frame_over_which_the_process_is_lost_again_and_again_is_given_up() -> None:
    def dies_of_it(life: PlayedLife, message: dict[str, Any]) -> None:
        if message.get("number") == 1 and not message["images_lost"]:
            life.dead = True
        else:
            _does(life, message)

    played = _Played(dies_of_it)
    with _linked(played) as link:
        for number in range(3):
            link.submit(_close(number, _frame(number)))
        played.wait_done(3)
    assert sorted(number for number, _ in played.done) == [0, 1, 2]
    lost = [m for life in played.lives for m in life.sent if m.get("images_lost")]
    assert {message["number"] for message in lost} == {1}


def test_what_became_of_images_is_counted_over_all_processes() -> None:
    def tells(life: PlayedLife, message: dict[str, Any]) -> None:
        _does(life, message)
        if message.get("number") in {0, 2}:
            counts = {"removed": 3, "removed_bytes": 30, "no_room": 2, "lost": 1}
            life.answers.insert(0, {"kind": "images", "nothing_to_remove": True, **counts})
        if message.get("number") == 1:
            life.answers.clear()
            life.dead = True

    played = _Played(tells, _does)
    with _linked(played) as link:
        link.submit(_close(0, _frame()))
        played.wait_done(1)
        assert link.images == ImageCounts(removed=3, removed_bytes=30, no_room=2, lost=1)
        found = [link.nothing_to_remove]
        link.submit(_close(1, _frame()))
        played.wait_done(2)
        found.append(link.nothing_to_remove)  # the new process has not found so
        assert found == [True, False]
        assert link.images.removed == 3
        played.lives[-1]._answer = tells
        link.submit(_close(2, _frame()))
        played.wait_done(3)
        assert link.images == ImageCounts(removed=6, removed_bytes=60, no_room=4, lost=2)


def test_what_failed_is_told_with_its_reason() -> None:
    def refuses(life: PlayedLife, message: dict[str, Any]) -> None:
        if "number" in message:
            number = message["number"]
            life.answers.append({"kind": "done", "numbers": [number], "failed": [[number, "not open"]]})

    played = _Played(refuses)
    with _linked(played) as link:
        link.submit(_close(5))
        played.wait_done(1)
    assert played.done == [(5, "not open")]


def test_a_process_that_falls_silent_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "SILENT_TURNS", 3)
    played = _Played(lambda life, message: None, _does)
    with _linked(played) as link:
        link.submit(_close(1))
        assert played.wait_done(1) == [1]
    assert played.lives[0].ended


def test_more_frames_than_slots_wait_for_their_turn() -> None:
    held: list[tuple[PlayedLife, dict[str, Any]]] = []

    def holds(life: PlayedLife, message: dict[str, Any]) -> None:
        held.append((life, message))

    played = _Played(holds)
    with _linked(played) as link:
        for number in range(link_module_slots() + 5):
            link.submit(_close(number, _frame(number)))
        deadline = time.monotonic() + TIMEOUT_S
        while len(_commands(played.lives[0])) < link_module_slots() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(_commands(played.lives[0])) == link_module_slots()
        for life, message in held:
            _does(life, message)
        while len(_commands(played.lives[0])) < link_module_slots() + 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        for life, message in held[link_module_slots() + 1 :]:
            _does(life, message)
        played.wait_done(link_module_slots() + 5)


def link_module_slots() -> int:
    """Return how many slots a memory for the tests' frames has."""
    memory = FrameMemory(slot_bytes=bytes_of(_frame()), frames=1)
    memory.close()
    return memory.slots


def test_a_larger_frame_gets_a_larger_memory() -> None:
    played = _Played(_does)
    with _linked(played) as link:
        link.submit(_close(0, _frame(0)))
        played.wait_done(1)
        link.submit(_close(1, _frame(1, size_px=200), _frame(2, size_px=8)))
        played.wait_done(2)
    memories = [message["slot_bytes"] for message in played.lives[0].sent if message["kind"] == "memory"]
    assert len(memories) == 2
    assert memories[0] < 200 * 200 * 3 <= memories[1]


def test_what_was_not_done_in_time_is_returned() -> None:
    played = _Played(lambda life, message: None)
    link = RecorderLink(played.start, played.note, name="link")
    link.submit(_close(1, _frame()))
    link.submit(_open(2))
    assert sorted(command.number for command in link.finish(0.2)) == [1, 2]


def test_frames_cross_to_the_last_bit_and_cannot_be_written() -> None:
    rng = np.random.default_rng(3)
    frame = RecordedFrame(
        camera_id="top",
        frame_id=1,
        received_at=utc_now(),
        image=rng.integers(0, 256, (7, 5, 3), dtype=np.uint8),
        anomaly_map=rng.normal(size=(3, 4)).astype(np.float32),
    )
    grey = RecordedFrame(camera_id="top", frame_id=2, received_at=utc_now(), image=np.eye(9, dtype=np.uint8))
    memory = FrameMemory(slot_bytes=max(bytes_of(frame), bytes_of(grey)), frames=2)
    places = memory.place((frame, grey))
    assert places is not None
    reader = FrameMemoryReader(memory.descriptor, slot_bytes=memory.slot_bytes)
    image, anomaly_map = reader.views(places[0])
    np.testing.assert_array_equal(image, frame.image)
    np.testing.assert_array_equal(anomaly_map, frame.anomaly_map)
    assert not image.flags.writeable
    image, anomaly_map = reader.views(Place(slot=places[1].slot, image_shape=(9, 9), map_shape=None))
    np.testing.assert_array_equal(image, grey.image)
    assert anomaly_map is None
    memory.give_back(places)
    assert memory.idle


def test_the_memory_for_frames_is_taken_at_once() -> None:
    memory = FrameMemory(slot_bytes=300_000, frames=2)
    taken = os.fstat(memory.descriptor)
    assert taken.st_size == memory.slots * memory.slot_bytes
    assert taken.st_blocks * BLOCK_BYTES >= taken.st_size
    memory.close()


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_where_there_is_no_room_for_frames_it_says_so_and_keeps_nothing() -> None:
    open_before = _descriptors()
    with (
        mock.patch("os.posix_fallocate", side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
        pytest.raises(MemoryError, match=r"9 MB for frames on their way to the disk: No space left"),
    ):
        FrameMemory(slot_bytes=300_000, frames=2)
    assert _descriptors() == open_before


def test_a_line_without_room_for_frames_records_once_there_is() -> None:
    played, refusals = _Played(_does), iter([OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))])
    take = os.posix_fallocate

    def taken(*arguments: int) -> None:
        for refusal in refusals:
            raise refusal
        take(*arguments)

    with mock.patch("os.posix_fallocate", taken), _linked(played) as link:
        link.submit(_close(7, _frame()))
        assert played.wait_done(1) == [7]
        assert link.restarts == 1
