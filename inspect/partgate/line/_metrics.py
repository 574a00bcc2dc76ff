"""The station's figures, for Prometheus: counted by the loop, or asked for when somebody reads them."""

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from partgate.line._outputs import Confirmation
from partgate.line._part import Outcome
from partgate.line._readiness import Readiness
from partgate.line._stages import Stage
from partgate.line._watched import Watched
from partgate.records import SignalState
from partgate_cameras import StrayFrame
from partgate_station import Verdict

if TYPE_CHECKING:
    from prometheus_client.core import Metric

# A part every 10 ms to one every few seconds; 20, 30 and 60 ms are the deadlines that are asked for most.
BUCKETS_S = (0.005, 0.01, 0.015, 0.02, 0.03, 0.045, 0.06, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)
STAGE_BUCKETS_S = (0.0001, 0.0005, 0.001, 0.0025, *BUCKETS_S)


class StationMetrics:
    """What is counted of one station, in a registry of its own.

    `done`, `staged` and `strayed` are the loop's and take microseconds; `confirmed` and `text` may be called
    by any thread.
    """

    def __init__(self, station_id: str) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self._registry = CollectorRegistry()
        self._text_lock = threading.Lock()
        station = {"station": station_id}
        self._parts = Counter(
            "partgate_parts_total",
            "Parts, by verdict and, where UNDECIDED, the reason's code.",
            ("station", "verdict", "reason"),
            registry=self._registry,
        )
        self._latency = Histogram(
            "partgate_trigger_to_verdict_seconds",
            "From a part's trigger to its verdict leaving the station.",
            tuple(station),
            buckets=BUCKETS_S,
            registry=self._registry,
        ).labels(**station)
        stages = Histogram(
            "partgate_stage_seconds",
            "What of that each stage took.",
            ("station", "stage"),
            buckets=STAGE_BUCKETS_S,
            registry=self._registry,
        )
        self._orphans = Counter(
            "partgate_orphan_frames_total",
            "Frames that were given to no part.",
            ("station", "camera", "reason"),
            registry=self._registry,
        )
        signals = Counter(
            "partgate_signals_total",
            "Verdicts sent to the gate, by whether it confirmed them in time.",
            ("station", "state"),
            registry=self._registry,
        )
        self._confirmed = Histogram(
            "partgate_signal_confirmed_seconds",
            "From a verdict leaving the station to its confirmation.",
            tuple(station),
            buckets=STAGE_BUCKETS_S,
            registry=self._registry,
        ).labels(**station)
        self._station_id = station_id
        # From the start all are there at 0: a rate needs a first value.
        self._stages = {stage: stages.labels(**station, stage=stage.value) for stage in Stage}
        self._signals = {state: signals.labels(**station, state=state.value) for state in SignalState}
        for verdict in (Verdict.ACCEPT, Verdict.REVIEW, Verdict.REJECT):
            self._parts.labels(**station, verdict=verdict.value, reason="")

    def watch(self, watched: Watched, readiness: Readiness) -> None:
        """Have what is not counted asked of the station, each time that somebody reads."""
        self._registry.register(_Asked(self._station_id, watched, readiness))

    def done(self, outcome: Outcome) -> None:
        """Count a part."""
        decision = outcome.decision
        reason = "" if decision.reason is None else code_of(decision.reason)
        self._parts.labels(station=self._station_id, verdict=decision.verdict.value, reason=reason).inc()
        self._latency.observe(outcome.latency_ms / 1000)

    def staged(self, stage: Stage, took_s: float) -> None:
        """Count a stage."""
        self._stages[stage].observe(took_s)

    def confirmed(self, confirmation: Confirmation) -> None:
        """Count what became of a signal."""
        self._signals[confirmation.state].inc()
        if confirmation.state is SignalState.CONFIRMED:
            self._confirmed.observe(confirmation.took_ms / 1000)

    def strayed(self, stray: StrayFrame) -> None:
        """Count a frame that was given to no part."""
        reason = code_of(stray.why)
        self._orphans.labels(station=self._station_id, camera=stray.camera_id, reason=reason).inc()

    def text(self) -> bytes:
        """Return everything, in the text format that Prometheus reads."""
        from prometheus_client import generate_latest

        with self._text_lock:  # one reader at a time: several must not take the loop's turns
            return generate_latest(self._registry)


def code_of(reason: str) -> str:
    """Return the code of a `CODE: sentence`: a label must not have as many values as there are parts."""
    return reason.partition(":")[0]


class _Asked:
    """What is asked of the station's parts when somebody reads."""

    def __init__(self, station_id: str, watched: Watched, readiness: Readiness) -> None:
        self._station_id, self._watched, self._readiness = station_id, watched, readiness

    def collect(self) -> "Iterator[Metric]":
        """Yield the figures of this moment."""
        yield from self._states()
        yield from self._cameras()
        yield from self._images()
        yield from self._records()
        yield self._model()

    def describe(self) -> "Iterator[Metric]":
        """Yield nothing: the names are fixed, and nothing is to be asked before the station runs."""
        return iter(())

    def _states(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        proofs = self._readiness.proofs
        ready = all(proof.why_not is None for proof in proofs)
        yield self._one("partgate_ready", "1 while parts may come.", float(ready))
        proven = GaugeMetricFamily(
            "partgate_proof", "1 while the thing has proven itself.", labels=("station", "proof")
        )
        for proof in proofs:
            proven.add_metric((self._station_id, proof.name), float(proof.why_not is None))
        yield proven

    def _cameras(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily

        labels = ("station", "camera")
        restarts = CounterMetricFamily(
            "partgate_camera_restarts", "How often a camera's process was started again.", labels=labels
        )
        lost = CounterMetricFamily(
            "partgate_lost_frames", "Frames that a camera numbered and that never came.", labels=labels
        )
        for camera in self._watched.cameras:
            restarts.add_metric((self._station_id, camera.camera_id), camera.restarts)
            lost.add_metric((self._station_id, camera.camera_id), camera.lost_frames)
        yield restarts
        yield lost

    def _images(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        labels = ("station", "camera")
        said = {
            "brightness": "Mean grey level of the last frame, 0 to 255.",
            "focus": "Sharpness of the last frame: compare only on the same product.",
            "position_px": "How far the last frame had moved, where that is known.",
            "alarm": "1 while frames do not look as learned: parts are UNDECIDED.",
        }
        families = {
            name: GaugeMetricFamily(f"partgate_image_{name}", says, labels=labels)
            for name, says in said.items()
        }
        allowed = GaugeMetricFamily(
            "partgate_image_allowed", "What a measure may be.", labels=(*labels, "measure", "bound")
        )
        for health in self._watched.camera_health:
            names = (self._station_id, health.camera_id)
            families["brightness"].add_metric(names, health.brightness)
            families["focus"].add_metric(names, health.focus)
            families["alarm"].add_metric(names, float(health.alarm is not None))
            if health.position_px is not None:
                families["position_px"].add_metric(names, health.position_px)
            for reading in health.readings:
                allowed.add_metric((*names, reading.name, "low"), reading.low)
                allowed.add_metric((*names, reading.name, "high"), reading.high)
        yield from (*families.values(), allowed)

    def _records(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily

        recorder = self._watched.recorder
        yield self._one(
            "partgate_recorder_waiting_parts", "Parts on their way to the disk.", float(recorder.waiting)
        )
        restarts = CounterMetricFamily(
            "partgate_recorder_restarts",
            "How often the recorder's process was started again.",
            labels=("station",),
        )
        restarts.add_metric((self._station_id,), recorder.restarts)
        yield restarts
        yield from self._kept_images()
        yield from self._disks()

    def _kept_images(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily

        counts = self._watched.recorder.images
        said = {
            "removed": ("Images of accepted parts that made room for newer ones.", counts.removed),
            "no_room": ("Images that were never kept, for want of room.", counts.no_room),
            "lost": ("Images that could not be written.", counts.lost),
        }
        for name, (says, count) in said.items():
            family = CounterMetricFamily(f"partgate_images_{name}", says, labels=("station",))
            family.add_metric((self._station_id,), count)
            yield family

    def _disks(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        labels = ("station", "place")
        says = "Room on the disk of the home, its images and its maps: "
        free_bytes = GaugeMetricFamily("partgate_disk_free_bytes", f"{says}bytes.", labels=labels)
        free_files = GaugeMetricFamily("partgate_disk_free_files", f"{says}files (inodes).", labels=labels)
        for place, room in self._watched.disks.rooms().items():
            free_bytes.add_metric((self._station_id, place), room.free_bytes)
            if room.total_files:
                free_files.add_metric((self._station_id, place), room.free_files)
        yield free_bytes
        yield free_files

    def _model(self) -> "Metric":
        from prometheus_client.core import GaugeMetricFamily

        labels = ("station", "product", "recipe_id", "model", "runtime")
        info = GaugeMetricFamily("partgate_model_info", "What the next part is judged by.", labels=labels)
        judge = self._watched.judges.coming
        if judge is not None:
            product = self._watched.product or ""
            names = (self._station_id, product, str(judge.recipe_id), judge.model_id, judge.runtime.name)
            info.add_metric(names, 1.0)
        return info

    def _one(self, name: str, says: str, value: float) -> "Metric":
        from prometheus_client.core import GaugeMetricFamily

        family = GaugeMetricFamily(name, says, labels=("station",))
        family.add_metric((self._station_id,), value)
        return family
