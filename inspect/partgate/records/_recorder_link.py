"""The line's thread that owns the recorder's process: commands go out, what is done comes back.

    WAITING --sent--> SENT --done--> forgotten
       ^               |
       '--process lost-'   sent again, in order; nothing is written twice (`_writing.py`)

A process that is lost is started again at once, then after 0.1 s, doubling to 10 s. What it had not finished
lies in the shared memory still, which the line keeps.
"""

import contextlib
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import structlog

from partgate.records import _recorder_messages as wire
from partgate.records._commands import Command
from partgate.records._frame_memory import FrameMemory, bytes_of
from partgate.records._image_counts import ImageCounts
from partgate.records._recorder_life import LifeEnded, RecorderLife
from partgate.records._recorder_priority import RecorderPriority

TURN_S = 0.5
SILENT_TURNS = 20  # counted, not timed: a line that was itself stopped must not blame its recorder
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 10.0
MOST_DOUBLINGS = 7  # beyond LONGEST_WAIT_S already
ALARM_AT = 5
READY_S = 30.0
END_GRACE_S = 10.0  # niced, on a machine that is busy with other work

COUNTED = tuple(field.name for field in fields(ImageCounts))

log = structlog.get_logger(__name__)


class RecorderLink:
    """Keeps a recorder's process, and has it write. `submit` may be called by any thread.

    Args:
        start: starts a process.
        done: told of every command that is finished, with what failed or None; in this thread.
        name: of the thread.
    """

    def __init__(
        self, start: Callable[[], RecorderLife], done: Callable[[Command, str | None], None], *, name: str
    ) -> None:
        self._start, self._done = start, done
        self._incoming: deque[Command] = deque()
        self._waiting: deque[Command] = deque()
        self._sent: OrderedDict[int, Command] = OrderedDict()
        self._memory: FrameMemory | None = None
        self._memory_is_known = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ready = threading.Event()
        self._end_at: float | None = None
        self._end_is_sent = False
        self._losses = 0
        self._silent = 0
        self.restarts = 0
        """How often a process was started again."""
        self.pid: int | None = None
        """The process of now."""
        self.trouble: str | None = None
        """Why it writes no rows at the moment; None while it does."""
        self.images = ImageCounts()
        """What became of images that are not kept; replaced, never changed."""
        self.nothing_to_remove = False
        """Whether the process of now finds too little room, and no image that may be removed."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_ready(self) -> bool:
        """Whether the process of now can write."""
        return self._ready.is_set()

    def submit(self, command: Command) -> None:
        """Have a command sent after those before it; never waits. The caller bounds how many there are."""
        self._incoming.append(command)
        if command.closes:  # an opening goes with the closing that follows, and saves a change of threads
            self._nudge()

    def wait_ready(self, timeout_s: float = READY_S) -> bool:
        """Wait until the process of now can write; return whether it can."""
        return self._ready.wait(timeout_s)

    def finish(self, timeout_s: float) -> list[Command]:
        """Have everything written, end the process and the thread; return what was not written in time."""
        self._end_at = time.monotonic() + timeout_s
        self._nudge()
        self._thread.join(timeout_s + END_GRACE_S + LONGEST_WAIT_S)
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        if not self._thread.is_alive():
            os.close(self._wake)
        return [*self._sent.values(), *self._waiting, *self._incoming]

    def _nudge(self) -> None:
        os.eventfd_write(self._wake, 1)

    # In the thread.

    def _run(self) -> None:
        while not self._is_over():
            wait_s = self._one_life()
            self._rest(wait_s)

    def _is_over(self) -> bool:
        if self._end_at is None:
            return False
        return self._all_done() or time.monotonic() >= self._end_at

    def _all_done(self) -> bool:
        return not (self._incoming or self._waiting or self._sent)

    def _rest(self, wait_s: float) -> None:
        until_s = time.monotonic() + wait_s
        while (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, FIRST_WAIT_S))
            if self._end_at is not None:
                break  # what waits has little time left

    def _one_life(self) -> float:
        """Start a process, work with it, end it; return how long to wait before the next one."""
        life: RecorderLife | None = None
        try:
            life = self._start()
            self.pid, self._memory_is_known, self._silent = life.pid, False, 0
            self.nothing_to_remove = False
            priority = RecorderPriority(life.pid)
            while not self._is_over():
                self._turn(life)
                if self._ready.is_set():
                    priority.follow(len(self._sent) + len(self._waiting) + len(self._incoming))
            self._say_end(life)
        except LifeEnded as ended:
            why = str(ended)
        except Exception as error:
            # The top of this thread: a fault here costs the process, as any other loss does.
            log.exception("the recorder's messages failed")
            why = f"its messages failed: {error}"
        else:
            self._ended(life)
            return 0.0
        self._ready.clear()
        self.trouble = None
        if life is not None:
            self._hear_last_words(life)
            life.end(grace_s=0.0)
        return self._lost(why)

    def _hear_last_words(self, life: RecorderLife) -> None:
        """Take note of what a process did before it was lost: it is not what it was lost over."""
        with contextlib.suppress(LifeEnded):
            while messages := life.receive():
                for message in messages:
                    self._hear(message)

    def _turn(self, life: RecorderLife) -> None:
        blocked = self._send_all(life)
        life.wait(self._wake, timeout_s=TURN_S, to_send=blocked)
        self._drain_wake()
        messages = life.receive()
        self._silent = 0 if messages else self._silent + 1
        for message in messages:
            self._hear(message)
        if self._silent >= SILENT_TURNS * (1 if self._ready.is_set() else 3):
            raise LifeEnded(f"it was silent for {SILENT_TURNS} looks in a row")

    def _drain_wake(self) -> None:
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return
        self._silent -= 1  # woken by the line, not by the clock: says nothing about the process

    def _send_all(self, life: RecorderLife) -> bool:
        """Send what can be sent; return whether the process has no room at the moment."""
        while self._incoming:
            self._waiting.append(self._incoming.popleft())
        while self._waiting:
            command = self._waiting[0]
            if not self._placed(command):
                return False  # every slot is taken: what is done next frees some
            if not self._memory_sent(life) or not life.send(command.datagram()):
                return True
            self._sent[command.number] = self._waiting.popleft()
        return False

    def _placed(self, command: Command) -> bool:
        """Return whether a command's frames are in the shared memory, or need not be."""
        if not command.frames:
            return True
        memory = self._memory
        if memory is None or not memory.fits(command.frames):
            if memory is not None and not memory.idle:
                return False
            self._renew_memory(command)
            memory = self._memory
        places = None if memory is None else memory.place(command.frames)
        if places is None:
            return False
        command.place(places)
        return True

    def _renew_memory(self, command: Command) -> None:
        old, largest = self._memory, max(bytes_of(frame) for frame in command.frames)
        slot_bytes = largest if old is None else max(largest, old.slot_bytes)
        self._memory = FrameMemory(slot_bytes=slot_bytes, frames=len(command.frames))
        self._memory_is_known = False
        if old is not None:
            old.close()

    def _memory_sent(self, life: RecorderLife) -> bool:
        memory = self._memory
        if self._memory_is_known or memory is None:
            return True
        self._memory_is_known = life.send(
            wire.encode("memory", slot_bytes=memory.slot_bytes), [memory.descriptor]
        )
        return self._memory_is_known

    def _hear(self, message: dict[str, Any]) -> None:
        match message["kind"]:
            case "ready":
                self._ready.set()
            case "trouble":
                self.trouble = message["why"]
            case "done":
                failed = dict(message["failed"])
                for number in message["numbers"]:
                    self._finish(number, failed.get(number))
            case "logged":
                log.log(_level(message["level"]), message["event"], **message["fields"])
            case "images":
                self.nothing_to_remove = message["nothing_to_remove"]
                self.images += ImageCounts(**{name: message[name] for name in COUNTED})
            case _:
                pass

    def _finish(self, number: int, failed: str | None) -> None:
        command = self._sent.pop(number, None)
        if command is None:
            return
        self._losses = 0
        if command.places is not None and self._memory is not None:
            self._memory.give_back(command.places)
        self._done(command, failed)

    def _say_end(self, life: RecorderLife) -> None:
        within_s = 0.0 if self._end_at is None else max(0.0, self._end_at - time.monotonic())
        life.send(wire.encode("end", within_s=within_s))

    def _ended(self, life: RecorderLife) -> None:
        unfinished = bool(self._sent)
        code = life.end(grace_s=0.0 if unfinished else END_GRACE_S)
        if code and not unfinished:
            log.warning("the recorder's process did not end well; all it had to write is written", code=code)

    def _lost(self, why: str) -> float:
        """Have everything that was not finished sent again; return how long to wait before that."""
        self._losses += 1
        self.restarts += 1
        for first, command in enumerate(self._sent.values()):
            command.lost_with_its_process(first=first == 0)
        self._waiting.extendleft(reversed(self._sent.values()))
        unfinished = len(self._sent)
        self._sent.clear()
        # The exponent is bounded too: lost through a weekend, 2.0 ** 1024 ended this thread for good.
        doublings = min(self._losses - 2, MOST_DOUBLINGS)
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**doublings) if self._losses > 1 else 0.0
        log.warning("the recorder's process was lost; it is started again", why=why, unfinished=unfinished,
                    wait_s=wait_s)  # fmt: skip
        if self._losses == ALARM_AT:
            log.critical(
                "the recorder's process is lost again and again: a person has to look after it", why=why
            )
        return wait_s


def _level(name: str) -> int:
    return {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}.get(name, 30)
