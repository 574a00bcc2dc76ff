"""One life of a camera's process, as it looks from outside."""

import logging
import threading
import time
from dataclasses import dataclass
from typing import Protocol

from partgate_cameras import _messages as wire
from partgate_cameras._child_process import ChildProcess, ProcessEnded
from partgate_cameras._misses import Misses
from partgate_cameras._patience import Patience
from partgate_cameras._requests import Answer, Requests
from partgate_cameras._ring import RingReader

_logger = logging.getLogger(__name__)

GONE = "CameraUnavailable"  # from a grab: the device does not come back to this process
LEVELS = range(logging.DEBUG, logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Why a process is given up."""

    why: str
    grace_s: float = 0.0
    """For it to close the camera, so that the next one finds it free."""


class Ears(Protocol):
    """Who wants to know; called in the keeper's thread."""

    def opened(self, message: wire.Opened) -> None:
        """The camera is open."""

    def not_opened(self, message: wire.NotOpened) -> Loss | None:
        """The camera cannot be opened; return a loss not to wait for the next attempt."""

    def answered(self, message: wire.Delivered | wire.NotDelivered) -> None:
        """There is an answer, perhaps too late."""

    def late(self, answer: Answer) -> None:
        """There is an answer that nobody waits for any more; its slot is valid until this returns."""

    def stray(self, message: wire.Stray) -> None:
        """A frame was dropped in the process."""


class Watch:
    """Deals with what a process says, and notices when it says nothing. Used by one thread."""

    def __init__(
        self, child: ChildProcess, requests: Requests, ears: Ears, *, what: str, patience: Patience
    ) -> None:
        """Begin with a process that was just started.

        Args:
            child: the process.
            requests: where answers go, and what is in work.
            ears: who is told.
            what: "camera top", for the log.
            patience: how long to wait for what.
        """
        self._child, self._requests, self._ears = child, requests, ears
        self._what, self._patience = what, patience
        self._ring: RingReader | None = None
        self._is_open = self._is_doubted = False
        self._heard_s = time.monotonic()
        self._silent = 0
        self._misses = Misses(patience)

    def until(self, stop: threading.Event) -> Loss:
        """Watch until the process is lost or `stop` is set; return why."""
        try:
            while not stop.is_set():
                if (loss := self._turn()) is not None:
                    return loss
        except ProcessEnded as ended:
            return Loss(why=str(ended))
        return Loss(why="told to close", grace_s=self._patience.close_s)

    def _turn(self) -> Loss | None:
        wait_s = self._wait_s()
        received = self._child.receive(wait_s)
        self._silent = 0 if received else self._silent + (wait_s >= self._patience.turn_s)
        self._look_at_silence()
        for message, ring in received:
            self._ring = ring or self._ring
            if (loss := self._take(message)) is not None:
                return loss
        return self._overdue()

    def _look_at_silence(self) -> None:
        """Have an idle process that says nothing doubted, and one that speaks again trusted."""
        doubted = self._silent >= self._patience.doubt_turns and self._requests.idle
        if doubted != self._is_doubted:
            self._is_doubted = doubted
            silent_s = self._silent * self._patience.turn_s
            self._requests.doubt(f"its process has been silent for {silent_s:.1f} s" if doubted else None)

    def _wait_s(self) -> float:
        """Return how long to wait for a message: not beyond the moment at which the process hangs.

        A look every `turn_s` alone would see that up to a turn later.
        """
        return min(self._patience.turn_s, max(0.0, self._patience.hang_s - self._requests.late_by_s()))

    def _take(self, message: wire.Message) -> Loss | None:
        match message:
            case wire.Opened():
                self._is_open = True
                self._ears.opened(message)
                self._requests.opened(self._child, exhausted=message.exhausted)
            case wire.NotOpened():
                self._heard_s = time.monotonic()
                return self._ears.not_opened(message)
            case wire.Delivered() | wire.NotDelivered():
                return self._answer(message)
            case wire.Stray():
                self._ears.stray(message)
            case wire.Logged():
                level = message.level if message.level in LEVELS else logging.WARNING
                logging.getLogger(message.logger).log(level, "%s", message.text)
            case _:
                pass
        return None

    def _answer(self, message: wire.Delivered | wire.NotDelivered) -> Loss | None:
        self._ears.answered(message)
        hopeless = self._requests.was_hopeless(message.number)
        in_time = self._requests.answered(Answer(message=message, ring=self._ring), late=self._ears.late)
        if isinstance(message, wire.NotDelivered):
            return self._not_delivered(message, hopeless=hopeless)
        self._misses.gave()
        if not in_time:
            _logger.warning("%s: frame %d came too late for its part", self._what, message.frame_id)
        return None

    def _not_delivered(self, message: wire.NotDelivered, *, hopeless: bool) -> Loss | None:
        why: str | None
        if message.error == GONE:
            why = message.text
        elif not wire.is_known(message.error):  # nobody foresaw it, or knows what state it left behind
            why = f"{message.error}: {message.text}"
        else:
            why = self._misses.refused(message, hopeless=hopeless)
        return None if why is None else Loss(why=why, grace_s=self._patience.turn_s)

    def _overdue(self) -> Loss | None:
        if not self._is_open:
            waited_s = time.monotonic() - self._heard_s
            return Loss(why=f"did not open in {waited_s:.1f} s") if waited_s > self._patience.open_s else None
        late_s = self._requests.late_by_s()
        if late_s >= self._patience.hang_s:
            return Loss(why=f"its process did not answer, {late_s:.1f} s after the deadline")
        if self._silent >= self._patience.silent_turns and self._requests.idle:
            return Loss(why=f"its process was silent for {self._silent * self._patience.turn_s:.1f} s")
        return None
