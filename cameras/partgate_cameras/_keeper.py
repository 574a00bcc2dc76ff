"""The thread that keeps a camera's process alive.

               opened              lost: ended, hung, silent, device gone
    STARTING ──────────> READY ─────────────────────────────────────────> LOST
       │  ^                │                                              │  │
       │  └────────────────┼───────────────── after a pause ──────────────┘  │
       │ not opened,       │ stop                                            │ stop
       │ the first time    v                                                 │
       └───────────────> CLOSED <────────────────────────────────────────────┘

Deadlines are held here, outside the process: nothing that a driver does there, not even holding Python's
lock for ever, makes a caller wait longer than it said. A process that is lost is killed and started
again; that is normal recovery, not an incident.
"""

import logging
import threading
import time
from typing import Protocol

from partgate_cameras import _messages as wire
from partgate_cameras._child_process import KILL_WAIT_S, ChildProcess
from partgate_cameras._errors import CameraUnavailable
from partgate_cameras._patience import Patience
from partgate_cameras._requests import Answer, Requests
from partgate_cameras._respawn import Respawns
from partgate_cameras._watch import Loss, Watch

_logger = logging.getLogger(__name__)

MARGIN_S = 0.5


class Owner(Protocol):
    """Who knows which frame is next; called in the keeper's thread."""

    def spawn(self, *, again: bool) -> ChildProcess:
        """Start a process; one after a loss keeps trying to open the camera."""

    def opened(self, message: wire.Opened) -> None:
        """The camera is open, for the first time or again."""

    def answered(self, message: wire.Delivered | wire.NotDelivered) -> None:
        """There is an answer, perhaps one that came too late."""

    def died_grabbing(self) -> None:
        """A process was lost with a request in work."""

    def late(self, answer: Answer) -> None:
        """There is an answer that nobody waits for any more; its slot is valid until this returns."""

    def stray(self, message: wire.Stray) -> None:
        """A frame was dropped in the process."""


class Keeper:
    """Starts, watches, kills and starts again.

    The caller's thread uses `start`, `wait_opened` and `stop`; the rest belongs to the keeper's own.
    """

    def __init__(self, camera_id: str, requests: Requests, owner: Owner, *, patience: Patience) -> None:
        """Prepare.

        Args:
            camera_id: for texts and the thread's name.
            requests: shared with the caller.
            owner: who starts processes and is told of answers.
            patience: how long to wait for what.
        """
        self._camera_id, self._what = camera_id, f"camera {camera_id}"
        self._requests, self._owner, self._patience = requests, owner, patience
        self._respawns = Respawns(patience.pace)
        self._thread = threading.Thread(target=self._run, name=f"camera-{camera_id}", daemon=True)
        self._stop = threading.Event()
        self._was_ready = False
        self.child: ChildProcess | None = None
        """The process of now."""
        self.restarts = 0
        """How often a process was started again."""

    def start(self) -> None:
        """Start the process, without waiting for it."""
        self._thread.start()

    def wait_opened(self) -> None:
        """Wait until the camera is open.

        Raises:
            PartgateError: it cannot be opened: the camera's own error.
        """
        self._requests.wait_opened(self._patience.open_s + self._longest_end_s)

    def stop(self) -> None:
        """Close the camera and end its process, within `close_s` and a little."""
        self._stop.set()
        if (child := self.child) is not None:
            child.send(wire.Close())
        self._thread.join(self._longest_end_s)
        if self._thread.is_alive():
            _logger.error("%s: its thread does not end", self._what)

    @property
    def _longest_end_s(self) -> float:
        return self._patience.turn_s + self._patience.close_s + KILL_WAIT_S + MARGIN_S

    # In the thread.

    def opened(self, message: wire.Opened) -> None:
        """Note that the camera is open, also after a loss."""
        self._owner.opened(message)
        if self._was_ready:
            _logger.warning("%s: back", self._what)
            self._respawns.back(time.monotonic())
        self._was_ready = True

    def not_opened(self, message: wire.NotOpened) -> Loss | None:
        """Give up the first time; after a loss the process tries again."""
        if not self._was_ready:
            self._requests.failed(wire.error_of(message, camera_id=self._camera_id))
            return Loss(why=message.text, grace_s=self._patience.close_s)
        missed = self._respawns.not_opened()
        self._requests.lost(message.text, attempt=missed.attempt)
        self._tell(message.text, attempt=missed.attempt, alarm=missed.alarm)
        return None

    def answered(self, message: wire.Delivered | wire.NotDelivered) -> None:
        """Pass it on."""
        self._owner.answered(message)

    def late(self, answer: Answer) -> None:
        """Pass it on."""
        self._owner.late(answer)

    def stray(self, message: wire.Stray) -> None:
        """Pass it on."""
        self._owner.stray(message)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._stop.wait(self._one_life())
                if not self._was_ready:
                    break
        finally:
            self._requests.closed()

    def _one_life(self) -> float:
        """Start a process, watch it, end it; return how long to wait before the next one."""
        self.restarts += self._was_ready
        try:
            child = self.child = self._owner.spawn(again=self._was_ready)
        except CameraUnavailable as error:
            return self._lose(str(error))
        loss = self._watched(child)
        stopped = self._stop.is_set()
        pause_s = 0.0 if stopped else self._lose(loss.why)  # before it ends: nobody shall wait for that
        self.child = None
        code = child.end(loss.grace_s)
        if not stopped:
            _logger.warning("%s: lost: %s; process %d ended with %s", self._what, loss.why, child.pid, code)
        return pause_s

    def _watched(self, child: ChildProcess) -> Loss:
        """Watch a process until it is lost or to be closed; return why."""
        try:
            watch = Watch(child, self._requests, self, what=self._what, patience=self._patience)
            return watch.until(self._stop)
        except Exception as error:
            # The top of this thread: a fault here costs the process, as any other loss does.
            _logger.exception("%s: watching its process failed", self._what)
            return Loss(why=f"watching its process failed: {error}")

    def _lose(self, why: str) -> float:
        """Let nobody wait for the camera; return how long to wait before it is started again."""
        if not self._was_ready:
            self._requests.failed(CameraUnavailable(f"{self._what}: {why}"))
            return 0.0
        wait = self._respawns.lost(time.monotonic())
        if self._requests.lost(why, attempt=wait.attempt):
            self._owner.died_grabbing()
        self._tell(why, attempt=wait.attempt, alarm=wait.alarm)
        return wait.wait_s

    def _tell(self, why: str, *, attempt: int, alarm: bool) -> None:
        if alarm:
            _logger.critical(
                "%s: still away at attempt %d (%s): a person has to look after it; it is tried on, slowly",
                self._what,
                attempt,
                why,
            )
