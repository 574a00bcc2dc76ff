"""Watching a station while it runs: ready or not, alive or not, and telling who wants to know.

    STARTING --watch--> WATCHING --every proof stands--> READY <--lost, back--> NOT READY --close--> STOPPING

The loop only says that it turns; everything else is asked by a thread beside it.
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Self

import structlog

from partgate.line._free_memory import give_back_free_memory
from partgate.line._notify import Notify
from partgate.line._outputs import Confirmation
from partgate.line._part import Outcome
from partgate.line._pulse import Pulse
from partgate.line._readiness import NOT_YET, Readiness
from partgate.line._stages import Stage
from partgate.line._watched import Watched
from partgate_cameras import StrayFrame

if TYPE_CHECKING:
    from partgate.line._metrics import StationMetrics

TURN_S = 0.25
STATUS_EVERY_TURNS = 8
LIVE_MARGIN_S = 15.0  # beyond a part's deadline: maps and a slow disk come after its verdict
WITHOUT_RECIPE_S = 5.0
JOIN_S = 5.0

log = structlog.get_logger(__name__)


class Supervision:
    """Knows how a station is, from its start to its end.

    `turned` and `done` are the loop's, `staged` and `strayed` also those of the thread that takes parts in
    for it; the rest may be called by any thread.

    Args:
        station_id: for the log.
        notify: told of start, state and end; closed with this.
        metrics: counted into; None: nobody asks.
    """

    def __init__(self, station_id: str, *, notify: Notify, metrics: "StationMetrics | None" = None) -> None:
        self._station_id, self._notify, self.metrics = station_id, notify, metrics
        self._pulse = Pulse(notify)
        self._watched: Watched | None = None
        self._readiness: Readiness | None = None
        self._told_to_stop: threading.Event | None = None
        self._parts = 0
        self._told: str | None = None
        self._is_ready = self._told_ready = False
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"supervision-{station_id}", daemon=True)
        self._notify.status("starting: cameras, recorder and model")

    def watch(self, watched: Watched, told_to_stop: threading.Event | None = None) -> None:
        """Begin to watch a station that is assembled; its first look is over when this returns.

        Once it is told to stop it is not ready: the part in work is finished, and none may come after it.
        """
        self._watched, self._told_to_stop = watched, told_to_stop
        checks = watched.checks() | {"loop": self._loop_problem}
        self._readiness = Readiness(checks, station_id=self._station_id)
        if self.metrics is not None:
            self.metrics.watch(watched, self._readiness)
        self._look()
        self._thread.start()

    def stopping(self) -> None:
        """Stop watching, before what is watched ends: parts may not come any more."""
        if self._stop.is_set():
            return
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)
        if self._readiness is not None:
            self._readiness.withdraw("the station is stopping")
            self._show(is_ready=False)
        self._notify.stopping()
        self._notify.status(f"stopping: {self._parts} parts")

    def close(self) -> None:
        """Stop watching, and let go of the service manager."""
        self.stopping()
        self._notify.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # What the loop says.

    def turned(self) -> None:
        """Note that the loop turns; with its first turn a station may be ready."""
        begins = not self._pulse.has_begun
        self._pulse.beat()
        if begins:
            self._look()

    def done(self, outcome: Outcome) -> None:
        """Count a part."""
        self._parts += 1
        if self.metrics is not None:
            self.metrics.done(outcome)

    def staged(self, stage: Stage, took_s: float) -> None:
        """Count a stage's time."""
        if self.metrics is not None:
            self.metrics.staged(stage, took_s)

    def confirmed(self, confirmation: Confirmation) -> None:
        """Count a signal; by the thread that waits for it."""
        if self.metrics is not None:
            self.metrics.confirmed(confirmation)

    def strayed(self, stray: StrayFrame) -> None:
        """Count a frame that was given to no part."""
        if self.metrics is not None:
            self.metrics.strayed(stray)

    # What others ask.

    def live(self) -> tuple[bool, str]:
        """Return whether the loop turns, and a sentence; a station that starts or stops is alive."""
        if self._readiness is None or not self._pulse.has_begun:
            return True, "starting"
        if self._stop.is_set():
            return True, "stopping"
        problem = self._pulse.problem(self._within_s())
        return problem is None, problem or "the loop turns"

    def ready(self) -> tuple[bool, str]:
        """Return whether parts may come, and the proofs as JSON."""
        readiness = self._readiness
        if readiness is None:
            return False, json.dumps({"ready": False, "why": "starting", "proofs": []})
        # Looked at once: the two answers must not contradict each other.
        proofs = readiness.proofs
        missing = [f"{proof.name}: {proof.why_not}" for proof in proofs if proof.why_not is not None]
        shown: list[Mapping[str, object]] = [
            {
                "name": proof.name,
                "proven": proof.why_not is None,
                "since": proof.since.isoformat(timespec="milliseconds"),
                "why": proof.why_not,
            }
            for proof in proofs
        ]
        said = {"ready": not missing, "why": "; ".join(missing) or None, "proofs": shown}
        return not missing, json.dumps(said | _figures(self._watched))

    def _within_s(self) -> float:
        deadline_s = WITHOUT_RECIPE_S if self._watched is None else self._watched.deadline_s(WITHOUT_RECIPE_S)
        return deadline_s + LIVE_MARGIN_S

    def _loop_problem(self) -> str | None:
        if not self._pulse.has_begun:
            return NOT_YET
        return self._pulse.problem(self._within_s())

    def _look(self) -> None:
        """Ask for every proof; say READY, once, when all of them stand."""
        with self._looking:
            if self._readiness is None:
                return
            is_ready = self._readiness_of_now(self._readiness)
            if is_ready and not self._is_ready:
                give_back_free_memory()
            self._is_ready = is_ready
            self._show(is_ready=is_ready)
            if is_ready and not self._pulse.is_started:
                self._pulse.is_started = self._notify.ready()

    def _readiness_of_now(self, readiness: Readiness) -> bool:
        if self._told_to_stop is None or not self._told_to_stop.is_set():
            return readiness.look()
        readiness.withdraw("the station was told to stop")
        return False

    def _show(self, *, is_ready: bool) -> None:
        """Have the gate's controller know whether parts may come, and that somebody looks after that."""
        if self._watched is not None:
            self._watched.output.ready(parts_may_come=is_ready)

    # In the thread.

    def _run(self) -> None:
        turns = 0
        while not self._stop.wait(TURN_S):
            self._safely(self._look)
            # An outage may be over before the next regular sentence: a change is told at once.
            if turns % STATUS_EVERY_TURNS == 0 or self._told_ready != self._is_ready:
                self._safely(self._tell_status)
            turns += 1

    def _safely(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            # The top of this thread: the station judges on, and is not ready while nobody looks after it.
            log.exception("the station's supervision failed", station=self._station_id)
            if self._readiness is not None:
                self._readiness.withdraw(f"the supervision failed: {error}")

    def _tell_status(self) -> None:
        if self._readiness is None or self._watched is None or self._stop.is_set():
            return
        self._told_ready = self._is_ready
        why_not = self._readiness.why_not
        alarms = "".join(f", ALARM: {alarm}" for alarm in self._watched.alarms)
        state = ("ready" if why_not is None else f"NOT READY: {why_not}") + alarms
        sentence = f"{self._watched.product or 'collecting images'}, {self._parts} parts, {state}"
        if sentence != self._told:
            self._told = sentence
            self._notify.status(sentence)


def _figures(watched: Watched | None) -> dict[str, object]:
    """Return what a person has to put right, the room there is, and what became of images."""
    if watched is None:
        return {"alarms": (), "disks": {}, "images": {}}
    rooms = watched.disks.rooms()
    return {
        "alarms": watched.alarms,
        "disks": {
            place: {"free_bytes": room.free_bytes, "total_bytes": room.total_bytes,
                    "free_files": room.free_files if room.total_files else None}
            for place, room in rooms.items()
        },
        "images": asdict(watched.recorder.images),
    }  # fmt: skip
