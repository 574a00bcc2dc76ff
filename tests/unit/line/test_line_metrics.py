"""The figures that Prometheus reads: right, in its format, and of few enough series."""

import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from disks import GIB, disk_of
from partgate.line._metrics import StationMetrics
from partgate.line._outputs import Confirmation
from partgate.line._part import Decision, Outcome, Reason
from partgate.line._readiness import Readiness
from partgate.line._stages import Stage, StageClock
from partgate.records import ImageCounts, SignalState
from partgate_cameras import StrayFrame
from partgate_station import Verdict
from watched_station import FakeStation


def outcome(decision: Decision, latency_ms: float = 12.0) -> Outcome:
    return Outcome(
        part_id=uuid.uuid4(), trigger_id=1, decision=decision, gate_open=False, latency_ms=latency_ms
    )


def read(metrics: StationMetrics) -> dict[tuple[str, ...], float]:
    """Return every sample by its name and labels, without the station's."""
    samples = [
        sample
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    ]
    assert {sample.labels.get("station") for sample in samples} == {"one"}
    return {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "station")): (
            sample.value
        )
        for sample in samples
    }


def test_parts_are_counted_by_verdict_and_by_the_reasons_code_alone() -> None:
    metrics = StationMetrics("one")
    assert read(metrics)["partgate_parts_total", "", "ACCEPT"] == 0  # a rate needs a first value
    metrics.done(outcome(Decision(verdict=Verdict.ACCEPT, score=0.1)))
    for lost_s in range(3):
        metrics.done(outcome(Decision.undecided(Reason.CAMERA_FAULT, f"lost {lost_s} s ago")))
    found = read(metrics)
    assert found["partgate_parts_total", "", "ACCEPT"] == 1
    assert found["partgate_parts_total", "CAMERA_FAULT", "UNDECIDED"] == 3
    assert sum(name[0] == "partgate_parts_total" for name in found) == 4


def test_latency_is_in_seconds_and_in_its_bucket() -> None:
    metrics = StationMetrics("one")
    for latency_ms in (4.0, 18.0, 19.0, 700.0, 9000.0):
        metrics.done(outcome(Decision(verdict=Verdict.ACCEPT), latency_ms))
    found = read(metrics)
    name = "partgate_trigger_to_verdict_seconds"
    assert found[f"{name}_count",] == 5
    assert found[f"{name}_sum",] == pytest.approx(9.741)
    assert [found[f"{name}_bucket", le] for le in ("0.005", "0.015", "0.02", "1.0", "+Inf")] == [
        1,
        1,
        3,
        4,
        5,
    ]


def test_signals_are_counted_by_what_became_of_them() -> None:
    metrics = StationMetrics("one")
    for state, took_ms in ((SignalState.CONFIRMED, 2.0), (SignalState.UNCONFIRMED, 100.0)):
        metrics.confirmed(Confirmation(state=state, took_ms=took_ms, sends=1))
    found = read(metrics)
    assert found["partgate_signals_total", "CONFIRMED"] == 1
    assert found["partgate_signals_total", "UNCONFIRMED"] == 1
    assert found["partgate_signal_confirmed_seconds_count",] == 1
    assert found["partgate_signal_confirmed_seconds_sum",] == pytest.approx(0.002)


def test_stages_add_up_to_the_whole() -> None:
    metrics = StationMetrics("one")
    told: list[float] = []

    def tell(stage: Stage, took_s: float) -> None:
        metrics.staged(stage, took_s)
        told.append(took_s)

    clock = StageClock(0.0, tell)
    for stage in Stage:
        clock.passed(stage)
    found = read(metrics)
    sums = [found["partgate_stage_seconds_sum", stage.value] for stage in Stage]
    assert sums == pytest.approx(told)
    assert sum(sums) == pytest.approx(clock._last_s)
    assert {found["partgate_stage_seconds_count", stage.value] for stage in Stage} == {1}


def test_what_is_asked_when_somebody_reads(tmp_path: Path) -> None:
    images = {"images": disk_of(7 * GIB, device=2)}
    station = FakeStation(tmp_path, ask=lambda path: images.get(path.name, disk_of(5 * GIB)))
    readiness = Readiness(station.watched().checks(), station_id="one")
    metrics = StationMetrics("one")
    metrics.watch(station.watched(), readiness)
    assert read(metrics)["partgate_ready",] == 0
    readiness.look()
    station.cameras[1].restarts, station.cameras[1].lost_frames = 3, 5
    station.recorder.waiting, station.recorder.restarts = 17, 2
    station.recorder.images = ImageCounts(removed=40, removed_bytes=4000, no_room=3, lost=1)
    found = read(metrics)
    assert found["partgate_ready",] == 1
    assert found["partgate_proof", "parity"] == 1
    assert found["partgate_camera_restarts_total", "side"] == 3
    assert found["partgate_camera_restarts_total", "top"] == 0
    assert found["partgate_lost_frames_total", "side"] == 5
    assert found["partgate_recorder_waiting_parts",] == 17
    assert found["partgate_recorder_restarts_total",] == 2
    assert found["partgate_disk_free_bytes", "home"] == 5 * GIB
    assert found["partgate_disk_free_bytes", "images"] == 7 * GIB
    assert found["partgate_disk_free_files", "images"] == 10**7
    assert found["partgate_images_removed_total",] == 40
    assert found["partgate_images_no_room_total",] == 3
    assert found["partgate_images_lost_total",] == 1
    assert found["partgate_model_info", "0123456789abcdef", "tile", "7", "openvino"] == 1
    station.judges.coming = None
    readiness.look()
    assert not any(name[0] == "partgate_model_info" for name in read(metrics))


def test_no_figure_of_a_disk_that_cannot_be_asked(tmp_path: Path) -> None:
    station = FakeStation(tmp_path / "gone")
    metrics = StationMetrics("one")
    metrics.watch(station.watched(), Readiness(station.watched().checks(), station_id="one"))
    assert not any(name[0] == "partgate_disk_free_bytes" for name in read(metrics))


def test_orphan_frames_are_counted_by_camera_and_code() -> None:
    metrics = StationMetrics("one")
    for trigger_id in range(2):
        metrics.strayed(
            StrayFrame(
                camera_id="top",
                frame_id=1,
                camera_timestamp_ns=None,
                received_at=datetime.now(UTC),
                why=f"LATE: it came when trigger {trigger_id}'s window was over",
            )
        )
    assert read(metrics)["partgate_orphan_frames_total", "top", "LATE"] == 2
