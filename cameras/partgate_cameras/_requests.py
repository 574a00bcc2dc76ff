"""What the caller's thread and the keeper's thread of one camera share: requests, answers, the state."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from partgate_cameras import _messages as wire
from partgate_cameras._errors import CameraUnavailable, FrameTimeout
from partgate_cameras._ring import RingReader
from partgate_station import PartgateError

# A part whose deadline is over when its turn comes asks a file, or a camera behind a trigger line, all the
# same, so that it has its own frame. That none came in such a time says nothing about the camera.
HOPELESS_S = 0.002

State = Literal["starting", "ready", "lost", "closed"]


class Sender(Protocol):
    """The way to a camera's process."""

    def send(self, message: wire.Message) -> None:
        """Send a message without waiting for anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a request; a frame's pixels lie in `ring`."""

    message: wire.Delivered | wire.NotDelivered
    ring: RingReader | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """That the camera is away."""

    since_s: float
    """On the monotonic clock."""

    why: str
    attempt: int
    """To start it again, from 1."""


class Requests:
    """Every wait of the caller's is here, and every one ends in time, whatever the process does."""

    def __init__(self, camera_id: str) -> None:
        self._what = f"camera {camera_id}"
        self._changed = threading.Condition()
        self._state: State = "starting"
        self._sender: Sender | None = None
        self._failure: PartgateError | None = None
        self._outage: Outage | None = None
        self._doubt: str | None = None
        self._deadlines_s: dict[int, float] = {}  # by number of the request, of those in work
        self._answers: dict[int, Answer] = {}  # at most one: a late one is not kept
        self._waiting_for: int | None = None
        self._hopeless: set[int] = set()
        self._number = 0
        self._released = 0
        self.exhausted = False
        """What the camera last said of itself."""

    # The caller's side.

    @property
    def problem(self) -> str | None:
        """Why a request would not be taken now, or hardly be answered; None if it would."""
        with self._changed:
            if self._state != "ready":
                return str(self._away())
            return None if self._doubt is None else f"{self._what}: {self._doubt}"

    def wait_opened(self, timeout_s: float) -> None:
        """Wait for the first process to have opened the camera.

        Raises:
            PartgateError: why it has not.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._state != "starting", timeout_s)
            if self._state != "ready":
                raise self._failure or CameraUnavailable(f"{self._what}: did not open in {timeout_s:g} s")

    def ask(self, timeout_s: float, *, answer_s: float, kind: str = "grab") -> Answer:
        """Ask for the frame of the trigger that has just come; wait for the answer.

        Args:
            timeout_s: for the camera.
            answer_s: beyond it, for the answer on its way.
            kind: of the request, as in `_messages.Grab`.

        Raises:
            FrameTimeout: there is none within `timeout_s` and `answer_s`.
            CameraUnavailable: the camera is away, or was lost meanwhile.
        """
        with self._changed:
            if self._state != "ready" or self._sender is None:
                raise self._away()
            self._number += 1
            number = self._waiting_for = self._number
            self._deadlines_s[number] = deadline_s = time.monotonic() + timeout_s
            if timeout_s <= HOPELESS_S:
                self._hopeless.add(number)
            # Within the lock, so that the request cannot go to a process that is already given up.
            request = wire.Grab(number=number, deadline_s=deadline_s, released=self._released, kind=kind)
            self._sender.send(request)
            self._changed.wait_for(lambda: number not in self._deadlines_s, timeout_s + answer_s)
            self._waiting_for = None
            answer = self._answers.pop(number, None)
            if answer is None and number not in self._deadlines_s:
                raise self._away()
        if answer is None:
            raise FrameTimeout(f"{self._what}: its process has not answered in {timeout_s:g} s")
        return answer

    def release(self, number: int) -> None:
        """Give back the slots of the requests up to this one."""
        self._released = number

    def _away(self) -> CameraUnavailable:
        outage = self._outage
        if self._state == "closed" or outage is None:
            return CameraUnavailable(f"{self._what}: not open")
        away_s = time.monotonic() - outage.since_s
        return CameraUnavailable(
            f"{self._what}: lost {away_s:.1f} s ago ({outage.why}), coming back, attempt {outage.attempt}"
        )

    # The keeper's side.

    def opened(self, sender: Sender, *, exhausted: bool) -> None:
        """Let requests go to a process that has opened the camera."""
        with self._changed:
            self._sender, self._state, self._outage, self._doubt = sender, "ready", None, None
            self.exhausted = exhausted
            self._changed.notify_all()

    def answered(self, answer: Answer, *, late: Callable[[Answer], None] = lambda answer: None) -> bool:
        """Hand an answer to who waits for it; return whether anybody did.

        Args:
            answer: of any request.
            late: given one that nobody waits for any more, before its slot may be written again.
        """
        with self._changed:
            number = answer.message.number
            self.exhausted = answer.message.exhausted
            in_time = self._deadlines_s.pop(number, None) is not None and number == self._waiting_for
            if in_time:
                self._answers[number] = answer
                self._changed.notify_all()
            else:
                late(answer)
                self._released = max(self._released, number)
            return in_time

    def was_hopeless(self, number: int) -> bool:
        """Return, once, whether a request had no time in which a frame could have come."""
        with self._changed:
            hopeless = number in self._hopeless
            self._hopeless.discard(number)
            return hopeless

    def late_by_s(self) -> float:
        """Return by how much the oldest request in work is over its deadline; below 0 while it is not."""
        with self._changed:
            return time.monotonic() - min(self._deadlines_s.values(), default=float("inf"))

    @property
    def idle(self) -> bool:
        """Whether no request is in work."""
        return not self._deadlines_s

    def doubt(self, why: str | None) -> None:
        """Note why the process, which is ready, may not live any more; None: it does. Requests are taken."""
        with self._changed:
            self._doubt = why

    def lost(self, why: str, *, attempt: int) -> bool:
        """Let nobody wait any longer; return whether a request was in work."""
        with self._changed:
            since_s = time.monotonic() if self._outage is None else self._outage.since_s
            self._outage = Outage(since_s=since_s, why=why, attempt=attempt)
            self._state, self._sender = "lost", None
            in_work = bool(self._deadlines_s)
            self._deadlines_s.clear()
            self._hopeless.clear()
            self._released = self._number  # the next process has a ring of its own
            self._changed.notify_all()
            return in_work

    def failed(self, error: PartgateError) -> None:
        """Note why the camera cannot be opened the first time."""
        with self._changed:
            self._failure = self._failure or error

    def closed(self) -> None:
        """Let nobody wait any longer; nothing comes any more."""
        with self._changed:
            self._state, self._sender = "closed", None
            self._deadlines_s.clear()
            self._changed.notify_all()
