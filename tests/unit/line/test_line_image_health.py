"""Frames that do not look as learned are an alarm, which comes and goes with a distance in between."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from one_by_one import OneByOne
from partgate.line._image_health import Hysteresis, ImageHealthWatch
from partgate.line._judge import Judge
from partgate.line._metrics import StationMetrics
from partgate.line._notify import Notify
from partgate.line._readiness import Readiness
from partgate.line._supervision import Supervision
from partgate.records import SuspectParts
from partgate_cameras import Frame, ImageMeasures
from partgate_station import ImageHealth, ImageReference, Recipe, Span, Thresholds
from watched_station import FakeStation

BRIGHT = Span(low=90.0, high=110.0)  # with a margin of 1: 70 to 130 is allowed
FOCUS = Span(low=1.0, high=2.0)


@dataclass
class Silent(OneByOne):
    name: str = "silent"

    def close(self) -> None: ...


def reference(camera_id: str | None = None, brightness: Span = BRIGHT) -> ImageReference:
    return ImageReference(camera_id=camera_id, images=40, brightness=brightness, focus=FOCUS)


def judge(*references: ImageReference) -> Judge:
    recipe = Recipe(
        product="tile", thresholds=Thresholds(review=1.0, reject=2.0), image_references=references
    )
    return Judge(activation_id=1, recipe_id=1, model_id="m", recipe=recipe, runtime=Silent())


def frame(
    brightness: float,
    camera_id: str = "top",
    focus: float = 1.5,
    *,
    size_px: tuple[int, int] = (8, 8),
    colour: float = 0.0,
) -> Frame:
    return Frame(
        image=np.zeros((8, 8), np.uint8),
        camera_id=camera_id,
        frame_id=1,
        camera_timestamp_ns=None,
        received_at=datetime.now(UTC),
        measures=ImageMeasures(
            brightness=brightness,
            focus=focus,
            width_px=size_px[0],
            height_px=size_px[1],
            colour=colour,
            sketch=None,
        ),
    )


@dataclass
class Watching:
    """A watch, and what came of it."""

    limits: ImageHealth = field(default_factory=ImageHealth)
    flagged: list[SuspectParts] = field(default_factory=list)
    triggers: int = 0

    def __post_init__(self) -> None:
        self.watch = ImageHealthWatch(self.limits, station_id="one", flag=self.flagged.append)
        self.judge: Judge | None = judge(reference())

    def see(self, *frames: Frame) -> str | None:
        self.triggers += 1
        return self.watch.observe(self.judge, frames, self.triggers)


@pytest.mark.parametrize(
    ("outside", "tripped"),
    [
        ("", ""),
        ("..x..x..x..", "..........."),  # a stained part now and then
        ("xxx", "..T"),
        ("x.x.x", "....T"),
        ("xx...xx", "......."),
        ("xxx....x.....", "..TTTTTTTTTT."),
        ("xxx.....", "..TTTTT."),
        ("xxx.....xx.x", "..TTTTT....T"),
    ],
)
def test_three_of_five_trip_and_five_in_a_row_resume(outside: str, tripped: str) -> None:
    hysteresis = Hysteresis(ImageHealth())
    found = ""
    for number, mark in enumerate(outside):
        hysteresis.take(number, outside=mark == "x")
        found += "T" if hysteresis.is_tripped else "."
    assert found == tripped


@given(
    frames=st.lists(st.booleans(), max_size=60),
    trip=st.integers(1, 5),
    more=st.integers(0, 5),
    resume=st.integers(1, 6),
)
def test_it_trips_and_resumes_as_it_says(frames: list[bool], trip: int, more: int, resume: int) -> None:
    hysteresis = Hysteresis(ImageHealth(trip_frames=trip, of_frames=trip + more, resume_frames=resume))
    counted_from = 0
    for number, outside in enumerate(frames):
        was_tripped = hysteresis.is_tripped
        changed = hysteresis.take(number, outside=outside)
        assert changed == (hysteresis.is_tripped != was_tripped)
        window = frames[max(counted_from, number + 1 - trip - more) : number + 1]
        if was_tripped:
            assert hysteresis.is_tripped == (any(frames[max(0, number + 1 - resume) : number + 1]))
        else:
            assert hysteresis.is_tripped == (sum(window) >= trip)
        if changed and was_tripped:
            counted_from = number + 1


def test_b21_a_frame_of_another_size_is_undecided_at_once_and_alone() -> None:
    station = Watching()
    shaped = reference().model_copy(update={"size_px": (8, 8), "colour": Span(low=0, high=0.1)})
    station.judge = judge(shaped)
    assert station.see(frame(100.0)) is None
    with capture_logs() as logs:
        why = station.see(frame(100.0, size_px=(4, 8)))
        assert why == "camera top: the frame is 4×8, the product was learned from 8×8"
        assert station.see(frame(100.0, size_px=(4, 8))) == why
    assert [entry["log_level"] for entry in logs] == ["error"], "once, not with every part"
    assert list(station.watch.alarms) == [why]
    assert station.see(frame(100.0)) is None
    assert station.watch.alarms == ()
    why = station.see(frame(100.0, colour=20.0))
    assert why == "camera top: the frame is in colour, the product was learned from grey"
    assert station.flagged == []
    station = Watching(limits=ImageHealth(watch=("brightness",)))
    station.judge = judge(shaped)
    assert station.see(frame(100.0, size_px=(4, 8))) is None


def test_f10_a_light_that_fails_is_an_alarm_that_names_measure_value_and_range() -> None:
    station = Watching()
    assert station.see(frame(100.0)) is None
    assert [station.see(frame(3.1)) for _ in range(2)] == [None, None]
    with capture_logs() as logs:
        why = station.see(frame(3.2))
    assert why == "camera top: brightness is 3.2, 70 to 130 is allowed"
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert list(station.watch.alarms) == [why]
    back = [station.see(frame(100.0)) for _ in range(5)]
    assert back[1] == f"{why}; since then 2 of 5 frames inside"
    assert back[4] is None
    assert not station.watch.alarms


def test_the_parts_that_were_decided_on_meanwhile_are_flagged_once() -> None:
    station = Watching()
    for brightness in (100, 3, 100, 3, 3, 3, 3):
        station.see(frame(brightness))
    (flagged,) = station.flagged
    assert (flagged.first_trigger_id, flagged.last_trigger_id) == (2, 4)
    assert flagged.why == "IMAGE_HEALTH: camera top: brightness is 3, 70 to 130 is allowed"
    assert (flagged.station_id, flagged.model_id, flagged.runtime) == ("one", "m", "silent")


def test_an_alarm_at_the_first_frame_has_no_part_to_flag() -> None:
    station = Watching(ImageHealth(trip_frames=1))
    assert station.see(frame(3)) is not None
    assert station.flagged == []


def test_focus_counts_as_well_and_both_are_named() -> None:
    station = Watching(ImageHealth(trip_frames=1))
    assert station.see(frame(10.0, focus=0.1)) == (
        "camera top: brightness is 10, 70 to 130 is allowed; focus is 0.1, 0.5 to 4 is allowed"
    )


def test_every_camera_has_an_alarm_of_its_own() -> None:
    station = Watching(ImageHealth(trip_frames=1, resume_frames=1))
    dark = Span(low=20.0, high=24.0)
    station.judge = judge(reference(), reference("side", dark))
    assert station.see(frame(100), frame(22, "side")) is None
    assert (
        station.see(frame(100), frame(100, "side")) == "camera side: brightness is 100, 15 to 29 is allowed"
    )
    assert station.see(frame(3), frame(22, "side")) == "camera top: brightness is 3, 70 to 130 is allowed"


def test_an_alarm_outlasts_a_part_without_a_frame() -> None:
    station = Watching(ImageHealth(trip_frames=1))
    why = station.see(frame(3))
    assert station.see() == why


@pytest.mark.parametrize("nobody", [None, judge()], ids=["no recipe", "a recipe without a reference"])
def test_without_a_reference_frames_are_measured_and_nothing_is_said(nobody: Judge | None) -> None:
    station = Watching(ImageHealth(trip_frames=1))
    station.judge = nobody
    assert station.see(frame(3)) is None
    (camera,) = station.watch.cameras
    assert (camera.brightness, camera.focus, camera.alarm, camera.readings) == (3, 1.5, None, ())


def test_a_measure_that_is_not_watched_raises_nothing() -> None:
    station = Watching(ImageHealth(trip_frames=1, watch=("focus",)))
    assert station.see(frame(3)) is None


def test_a_frame_that_nobody_measured_is_measured_here() -> None:
    station = Watching(ImageHealth(trip_frames=1))
    bare = Frame(
        image=np.full((80, 80), 12, np.uint8),
        camera_id="top",
        frame_id=1,
        camera_timestamp_ns=None,
        received_at=datetime.now(UTC),
    )
    assert (station.see(bare) or "").startswith("camera top: brightness is 12")


def test_a_changeover_to_a_product_that_looks_different_begins_anew() -> None:
    station = Watching()
    for _ in range(3):
        why = station.see(frame(3))
    assert why is not None
    station.judge = judge(reference(brightness=Span(low=2.0, high=4.0)))
    assert station.see(frame(3)) is None


def test_new_thresholds_do_not_end_an_alarm() -> None:
    station = Watching()
    for _ in range(3):
        station.see(frame(3))
    station.judge = judge(reference())  # another recipe, with the same images
    assert station.see(frame(3)) is not None


def sampled(metrics: StationMetrics) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "station")): (
            sample.value
        )
        for family in families
        for sample in family.samples
    }


def test_the_ready_page_names_an_alarm_and_the_station_stays_ready(tmp_path: Path) -> None:
    station = Watching(ImageHealth(trip_frames=1))
    watched = replace(FakeStation(tmp_path).watched(), image_health=station.watch)
    with Supervision("one", notify=Notify(None)) as supervision:
        supervision.watch(watched)
        supervision.turned()
        station.see(frame(100.0))
        assert json.loads(supervision.ready()[1])["alarms"] == []
        why = station.see(frame(1.0))
        ready, page = supervision.ready()
    assert ready
    assert json.loads(page)["alarms"] == [why]


def test_figures_show_it(tmp_path: Path) -> None:
    station, metrics = Watching(ImageHealth(trip_frames=1)), StationMetrics("one")
    watched = replace(FakeStation(tmp_path).watched(), image_health=station.watch)
    metrics.watch(watched, Readiness(watched.checks(), station_id="one"))
    assert not any(name[0].startswith("partgate_image_") for name in sampled(metrics))
    station.see(frame(100.0))
    found = sampled(metrics)
    assert found["partgate_image_brightness", "top"] == 100
    assert found["partgate_image_focus", "top"] == 1.5
    assert found["partgate_image_alarm", "top"] == 0
    assert found["partgate_image_allowed", "low", "top", "brightness"] == 70
    assert found["partgate_image_allowed", "high", "top", "brightness"] == 130
    assert ("partgate_image_position_px", "top") not in found
    why = station.see(frame(1.0))
    assert sampled(metrics)["partgate_image_alarm", "top"] == 1
    assert watched.alarms == (why,)
