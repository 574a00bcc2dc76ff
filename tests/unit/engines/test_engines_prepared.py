from weakref import ref

import numpy as np
from numpy.typing import NDArray

from partgate_engines._prepared import PreparedFrames


class Made:
    """What a reference can be made to."""


def still() -> NDArray[np.uint8]:
    frame = np.zeros((4, 4), np.uint8)
    frame.flags.writeable = False
    return frame


def test_what_was_made_is_taken_once() -> None:
    prepared = PreparedFrames[str]()
    frame, other = still(), still()
    prepared.keep(frame, "made")
    assert prepared.take(other) is None
    assert prepared.take(frame) == "made"
    assert prepared.take(frame) is None


def test_of_a_frame_that_may_change_nothing_is_kept() -> None:
    prepared = PreparedFrames[str]()
    frame = np.zeros((4, 4), np.uint8)
    prepared.keep(frame, "made")
    assert prepared.take(frame) is None


def test_what_was_made_of_frames_that_are_gone_is_let_go_of() -> None:
    prepared = PreparedFrames[object]()
    made: list[ref[Made]] = []
    for _ in range(100):
        one = Made()
        made.append(ref(one))
        prepared.keep(still(), one)
    del one
    prepared.keep(still(), Made())
    assert [known() for known in made] == [None] * 100


def test_no_more_is_kept_than_so_many_frames() -> None:
    prepared = PreparedFrames[int]()
    kept = [still() for _ in range(70)]
    for number, frame in enumerate(kept):
        prepared.keep(frame, number)
    assert [prepared.take(frame) for frame in kept] == [None] * 6 + list(range(6, 70))
