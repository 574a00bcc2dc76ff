"""Parts that move are found again, laid over the reference, or refused by name."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from one_by_one import OneByOne
from partgate_engines import (
    AnomalyResult,
    FrameRefused,
    PartNotLocated,
    PoseLimits,
    PoseReference,
)
from partgate_engines._aligned_runtime import AlignedRuntime, unaligned
from partgate_engines._parity import answer
from partgate_engines._pose import Locator
from partgate_station import Region

WIDTH, HEIGHT = 240, 160
Frame = NDArray[np.uint8]


def a_part(
    *, right: float = 0, down: float = 0, turn_deg: float = 0, scale: float = 1, light: float = 1
) -> Frame:
    """Draw a plate with a notch and two bores on a conveyor, by vertices, so that nothing is resampled."""
    turn, middle = np.radians(turn_deg), np.array([(WIDTH - 1) / 2 + right, (HEIGHT - 1) / 2 + down])
    about = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])

    def placed(points: list[tuple[float, float]]) -> NDArray[np.int32]:
        return np.asarray(np.round((np.array(points) @ about.T + middle) * 16), dtype=np.int32)

    frame = np.full((HEIGHT, WIDTH), 30, dtype=np.uint8)
    plate = placed([(-60, -35), (60, -35), (60, 20), (40, 35), (-60, 35)])
    cv2.fillPoly(frame, [plate], 160, cv2.LINE_AA, 4)
    for bore in placed([(-35, 5), (30, -15)]):
        cv2.circle(frame, [int(v) for v in bore], round(8 * scale * 16), 60, -1, cv2.LINE_AA, 4)
    noise = np.random.default_rng(round(abs(right) * 7 + abs(turn_deg))).normal(0, 3, frame.shape)
    return np.clip(frame * light + noise, 0, 255).astype(np.uint8)


def locator(limits: PoseLimits | None = None, *, least_likeness: float = 0.4) -> Locator:
    return Locator(PoseReference.of(a_part(), limits or PoseLimits(), least_likeness=least_likeness))


MOVES = {
    "not at all": {},
    "right and down": {"right": 21.5, "down": -13},
    "turned": {"turn_deg": 11},
    "turned back": {"turn_deg": -14},
    "nearer": {"scale": 1.08},
    "farther": {"scale": 0.93},
    "all at once": {"right": -17, "down": 9, "turn_deg": -9, "scale": 1.06},
    "in other light": {"right": 12, "turn_deg": 6, "light": 0.6},
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES.keys())
def test_a_part_is_found_where_it_lies(move: dict[str, float]) -> None:
    pose = locator().locate(a_part(**move))
    assert pose.right_px == pytest.approx(move.get("right", 0), abs=1)
    assert pose.down_px == pytest.approx(move.get("down", 0), abs=1)
    assert pose.turn_deg == pytest.approx(move.get("turn_deg", 0), abs=0.7)
    assert pose.scale == pytest.approx(move.get("scale", 1), abs=0.012)
    assert pose.likeness > 0.8


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES.keys())
def test_an_aligned_frame_shows_the_part_where_it_was_taught(move: dict[str, float]) -> None:
    finder, frame = locator(), a_part(**move)
    laid = finder.aligned(frame, finder.locate(frame))
    light = move.get("light", 1)
    plate = a_part() > 100
    assert laid.shape == frame.shape
    assert laid.dtype == np.uint8
    assert float(((laid > 100 * light) == plate).mean()) > 0.985


def test_colours_are_aligned_as_greys_are() -> None:
    finder, grey = locator(), a_part(right=9, turn_deg=5)
    colour = np.repeat(grey[:, :, None], 3, axis=2)
    assert finder.locate(colour).right_px == pytest.approx(finder.locate(grey).right_px, abs=0.1)
    assert finder.aligned(colour, finder.locate(colour)).shape == (HEIGHT, WIDTH, 3)


NOISE = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH), dtype=np.uint8)
REFUSED = {
    "no light": (np.zeros((HEIGHT, WIDTH), dtype=np.uint8), "nothing but one grey"),
    "something else": (NOISE, "no part like the reference is seen: likeness"),
    "too far to the right": (a_part(right=45), r"\+4[456] px to the right; allowed are 15% of the frame"),
    "turned too far": (a_part(turn_deg=18), r"turned \+1[78]\.\d degrees; allowed .* 15 degrees"),
    "too large": (a_part(scale=1.18), r"1\.1\d+ times as large"),
    "another size": (np.zeros((10, 20), dtype=np.uint8), "a frame of 20×10 px; the reference .* 240×160 px"),
}


@pytest.mark.parametrize(("frame", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_a_part_that_is_not_there_or_too_far_off_is_refused(frame: Frame, says: str) -> None:
    with pytest.raises(PartNotLocated, match=says):
        locator().locate(frame)


def test_limits_that_are_wider_let_it_pass() -> None:
    assert locator(PoseLimits(turn_deg=40)).locate(a_part(turn_deg=33)).turn_deg == pytest.approx(33, abs=0.7)


class Sees(OneByOne):
    """Remembers what it is given; its map is what it sees, small."""

    name = "sees"

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.is_closed = False

    def judge(self, frame: Frame, regions: tuple[Region, ...] = ()) -> AnomalyResult:
        self.frames.append(frame)
        small = cv2.resize(frame[:, :, 0], (48, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
        return AnomalyResult(score=float(frame.mean()), anomaly_map=small)

    def close(self) -> None:
        self.is_closed = True


def aligned_runtime() -> tuple[AlignedRuntime, Sees]:
    inner = Sees()
    reference = PoseReference.of(a_part(), PoseLimits(), least_likeness=0.4)
    return AlignedRuntime(inner, reference), inner


def test_a_runtime_judges_the_part_where_it_was_taught() -> None:
    runtime, inner = aligned_runtime()
    moved = a_part(right=20, turn_deg=8)
    ok, lost, odd = runtime.scores([moved, NOISE, np.zeros((4, 4), dtype=np.float32)], [(), (), ()])
    assert isinstance(ok, float)
    assert isinstance(lost, PartNotLocated)
    assert isinstance(odd, FrameRefused)
    (judged,) = inner.frames
    assert float(((judged[:, :, 0] > 100) == (a_part() > 100)).mean()) > 0.985
    runtime.close()
    assert inner.is_closed


def test_its_map_lies_over_the_part_where_the_frame_shows_it() -> None:
    runtime, _ = aligned_runtime()
    moved = a_part(right=20, down=-10, turn_deg=8)
    result = runtime.judge(moved)
    assert result.box is not None
    left, top, right, bottom = result.box
    seen = cv2.resize(moved[top:bottom, left:right], (48, 32), interpolation=cv2.INTER_AREA)
    inside = result.anomaly_map > 0
    assert inside.mean() > 0.6
    assert float(((result.anomaly_map > 100) == (seen > 100))[inside].mean()) > 0.97
    assert not result.anomaly_map.flags.writeable


def test_golden_frames_are_judged_as_they_are() -> None:
    """They may show no part: black and white ones do not."""
    runtime, inner = aligned_runtime()
    assert unaligned(runtime) is inner
    assert unaligned(inner) is inner
    assert answer(runtime, np.zeros((HEIGHT, WIDTH, 1), dtype=np.uint8), ()).score == 0
