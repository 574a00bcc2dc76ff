"""What the log says of a camera that gives no frames: when it begins, when it is over."""

import pytest
import structlog

from partgate.line._outages import Outages
from partgate_cameras import CameraUnavailable, FrameTimeout

LATE, AWAY = FrameTimeout("camera top: none"), CameraUnavailable("camera top: lost")


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def said(steps: str, *, finish: bool = True) -> list[tuple[str, ...]]:
    """Return the log of parts of camera top, one each 0.5 s: `L`ate, `A`way or `.` with a frame."""
    clock = Clock()
    outages = Outages(clock=clock)
    with structlog.testing.capture_logs() as logged:
        for step in steps:
            if step == ".":
                outages.arrived("top")
            else:
                outages.missed("top", LATE if step == "L" else AWAY)
            clock.now_s += 0.5
        if finish:
            outages.finish()
            outages.finish()
    return [
        tuple(str(line[name]) for name in ("event", "error", "parts", "for_s") if name in line)
        for line in logged
    ]


FIRST = ("no frame", str(LATE))
CASES = {
    "never away": ("....", []),
    "one part": (".L...", [FIRST]),
    "an outage": ("." + "L" * 500 + "..", [FIRST, ("frames come again", "500", "250.0")]),
    "another reason is said": ("LLAA.", [FIRST, ("no frame", str(AWAY)), ("frames come again", "4", "2.0")]),
    "twice": ("LL.LL.", [FIRST, ("frames come again", "2", "1.0")] * 2),
    "to the end": (".LLL", [FIRST, ("no frames to the end", "3", "1.5")]),
}


@pytest.mark.parametrize("name", CASES)
def test_an_outage_is_said_when_it_begins_and_when_it_is_over(name: str) -> None:
    steps, expected = CASES[name]
    assert said(steps) == expected


def test_each_camera_has_its_own() -> None:
    outages = Outages()
    with structlog.testing.capture_logs() as logged:
        outages.missed("top", LATE)
        outages.missed("side", LATE)
        outages.missed("top", LATE)
        outages.arrived("side")
        outages.arrived("top")
    assert [(line["event"], line["camera"]) for line in logged] == [
        ("no frame", "top"),
        ("no frame", "side"),
        ("frames come again", "top"),
    ]
