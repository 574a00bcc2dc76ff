"""The line's way to a recorder that is a process of its own.

    open_part --> journal thread: on disk --> verdict noted in the journal --> it may leave
                       '--> link thread --> process: row OPEN in the table
    close_part --------> link thread --> process: images on disk --> row closed, frames' rows --> slot free

A trigger is durable by what the line itself has written (`_journal.py`); the verdict waits neither for the
recorder's process nor for the database. docs/decisions/0013 has why, and the figures.
"""

import itertools
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import structlog

from partgate._recorder_start import StartedProcess
from partgate.records._commands import Command
from partgate.records._database import Database
from partgate.records._errors import (
    PartNotOpen,
    RecordingFailed,
    StoreBusy,
    StoreClosed,
    StoreError,
)
from partgate.records._image_counts import ImageCounts
from partgate.records._images import ImageStore
from partgate.records._journal import LOCK_TIMEOUT_S, Journal, Noted, fold, journal_lock, recorder_lock
from partgate.records._parts import ClosedPart, OpenPart, close_interrupted, highest_trigger_id
from partgate.records._queue import BoundedQueue, QueueClosed, QueueFull
from partgate.records._recorder_life import RecorderLife
from partgate.records._recorder_link import READY_S, RecorderLink
from partgate.records._registry import add_station
from partgate.records._writing import Keep, keeps

ROW_TIMEOUT_S = 60.0
QUEUE_TIMEOUT_S = 60.0
JOURNAL_BATCH = 16
LOOK_UP_S = 0.5
SLOW_WRITE_S = 0.1  # a hundred times what a disk takes that is fit for a station

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opening:
    """A trigger on its way to the disk."""

    part: OpenPart
    durable: Future[None] = field(default_factory=Future)


class RecorderProcess:
    """Opens and closes the parts of one station, in a process that is started again when it is lost.

    Args:
        database: of the line; left open by `close`.
        station_id: its row is made if it is not there.
        keep: `flagged` keeps no frames of accepted parts.
        room_share: of the images' disk, kept free by removing images of accepted parts; 0: none is removed.
        queue_parts: parts that may be on their way to the disk; when they are, `close_part` BLOCKS: none
            is dropped.
        process: started already, to be the first; ended by `close`, or by the caller if this raises.

    Raises:
        AlreadyRunning: another recorder of this station still writes.
        StoreError: the journal or the database cannot be written.
    """

    def __init__(
        self,
        database: Database,
        *,
        station_id: str,
        keep: Keep,
        room_share: float = 0.0,
        queue_parts: int = 64,
        process: StartedProcess | None = None,
    ) -> None:
        self._first = process
        self._database, self._station_id = database, station_id
        self._keep, self._room_share = keep, room_share
        self._stack = ExitStack()
        with ExitStack() as undo:
            undo.enter_context(self._stack)
            self._take_over()
            self._journal = Journal(database.home, station_id)
            self._stack.callback(self._journal.close)
            undo.pop_all()
        self._numbers = itertools.count(1)
        self._queue: BoundedQueue[_Opening] = BoundedQueue(queue_parts, overflow="block")
        self._queue_parts = queue_parts
        self._places = threading.BoundedSemaphore(queue_parts)
        self._open: dict[uuid.UUID, Future[None]] = {}
        self._closing: set[uuid.UUID] = set()
        self._highest = 0
        self._lock = threading.Lock()
        self._failures: list[str] = []
        self._closed = False
        self._give_up_at: float | None = None
        self._link = RecorderLink(self._start, self._done, name=f"partgate-recorder-{station_id}")
        self._thread = threading.Thread(target=self._run, name=f"partgate-journal-{station_id}", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The recorder's process of now."""
        return self._link.pid

    @property
    def restarts(self) -> int:
        """How often the recorder's process was started again."""
        return self._link.restarts

    @property
    def is_ready(self) -> bool:
        """Whether the process of now has shown that it can write. For any thread."""
        return self._link.is_ready

    @property
    def problem(self) -> str | None:
        """Why rows are not written at the moment; None while they are. For any thread."""
        return self._link.trouble if self._link.is_ready else "the recorder's process is away"

    @property
    def waiting(self) -> int:
        """How many parts are on their way to the disk, opened and not closed there. For any thread."""
        with self._lock:
            return len(self._open) + len(self._closing)

    @property
    def images(self) -> ImageCounts:
        """What became of images that are not kept, since this was made. For any thread."""
        return self._link.images

    @property
    def nothing_to_remove(self) -> bool:
        """Whether there is too little room for images, and none that may be removed. For any thread."""
        return self._link.nothing_to_remove

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        """Wait until the process has shown that it can write.

        Raises:
            StoreBusy: it could not in time; the log says why.
        """
        if not self._link.wait_ready(timeout_s):
            raise StoreBusy(f"the recorder of station {self._station_id} was not ready in {timeout_s:g} s")

    def recover(self) -> int:
        """Close the parts that a crash left open, as UNDECIDED; return how many there were."""
        ImageStore(self._database.home).sweep()
        with self._lock:
            own = frozenset(self._open) | self._closing
        interrupted = self._database.write(lambda session: close_interrupted(session, self._station_id, own))
        return interrupted.result(ROW_TIMEOUT_S)

    def next_trigger_id(self) -> int:
        """Return one more than the highest trigger id of the station, those not on disk yet included."""
        with self._database.read() as session:
            return 1 + max(self._highest, highest_trigger_id(session, self._station_id))

    def open_part(self, part: OpenPart) -> Future[None]:
        """Put a trigger on disk; the future resolves once it is there.

        Only then may the part's verdict leave the station. What the future carries otherwise is why there
        is no row. The row appears in the table a little later.

        Raises:
            StoreClosed: the recorder is closed.
            StoreBusy: the journal had no place for a minute.
        """
        opening = _Opening(part=part)
        with self._lock:
            self._open[part.part_id] = opening.durable
            self._highest = max(self._highest, part.trigger_id)
        try:
            self._queue.put(opening, timeout_s=QUEUE_TIMEOUT_S)
        except QueueClosed:
            self._forget(part.part_id)
            raise StoreClosed(f"the recorder of station {self._station_id} is closed") from None
        except QueueFull:
            self._forget(part.part_id)
            raise StoreBusy(f"{len(self._queue)} triggers have waited for {QUEUE_TIMEOUT_S:g} s") from None
        return opening.durable

    def note_verdict(self, part: ClosedPart) -> None:
        """Note a verdict that is about to leave in the journal; never waits for the disk.

        The row is closed a little later, by another process. Whatever is killed before, whoever opens the
        records next closes it by this.
        """
        self._journal.note(
            Noted(
                part_id=part.part_id,
                verdict=part.verdict,
                reason=part.reason,
                score=part.score,
                latency_ms=part.latency_ms,
            )
        )

    def close_part(self, part: ClosedPart) -> None:
        """Hand over a part's verdict and frames; waits while too many wait.

        The frames' pixels must not be changed any more. `close` raises if the row could not be closed.

        Raises:
            PartNotOpen: it was not opened here, or is closed already.
            StoreClosed: the recorder is closed.
            StoreBusy: too many parts have waited for a minute; the part is still open.
        """
        durable = self._taken(part.part_id)
        if not self._places.acquire(timeout=QUEUE_TIMEOUT_S):
            with self._lock:
                self._closing.discard(part.part_id)
                self._open[part.part_id] = durable
            raise StoreBusy(f"{self._queue_parts} parts have waited for {QUEUE_TIMEOUT_S:g} s for the disk")
        # A part that is closed before its row is durable (it came too late) follows its row.
        durable.add_done_callback(lambda done: self._close_opened(part, done))

    def close(self, timeout_s: float = 30.0) -> None:
        """Record what waits, then end the process; a second call does nothing.

        Raises:
            RecordingFailed: parts could not be recorded; the next start's `recover` declares them.
        """
        if not self._closed:
            self._closed = True
            self._end(timeout_s)
        failures, self._failures = self._failures, []
        if failures:
            raise RecordingFailed(f"{len(failures)} parts could not be recorded, the first: {failures[0]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _take_over(self) -> None:
        """Have the journal to oneself, and in the table what a killed station left in it."""
        home = self._database.home
        self._stack.enter_context(home.lock(journal_lock(self._station_id), timeout_s=LOCK_TIMEOUT_S))
        # What a killed line had handed over is still being written by its recorder.
        with home.lock(recorder_lock(self._station_id), timeout_s=LOCK_TIMEOUT_S):
            fold(self._database, self._station_id)
            self._database.write(lambda session: add_station(session, station_id=self._station_id)).result(
                ROW_TIMEOUT_S
            )

    def _start(self) -> RecorderLife:
        first, self._first = self._first, None
        return RecorderLife(
            self._database.home,
            station_id=self._station_id,
            keep=self._keep,
            room_share=self._room_share,
            process=first,
        )

    def _taken(self, part_id: uuid.UUID) -> Future[None]:
        with self._lock:
            if self._closed:
                raise StoreClosed(f"the recorder of station {self._station_id} is closed")
            durable = self._open.pop(part_id, None)
            if durable is None:
                raise PartNotOpen(f"part {part_id} is not open: it was never opened, or is closed already")
            self._closing.add(part_id)
            return durable

    def _close_opened(self, part: ClosedPart, opened: Future[None]) -> None:
        if (error := opened.exception()) is not None:
            self._places.release()
            self._fail(part.part_id, str(error))
            return
        kept = bool(part.frames) and keeps(self._keep, part)
        self._link.submit(Command(next(self._numbers), part, kept=kept))

    def _done(self, command: Command, failed: str | None) -> None:
        """Note that a command is finished; in the link's thread."""
        if command.closes:
            self._places.release()
        if failed is not None:  # its slot is all there is of the trigger, or of its verdict
            self._fail(command.part_id, failed)
        elif command.closes:
            self._journal.forget([command.part_id])
            self._forget(command.part_id)

    def _fail(self, part_id: uuid.UUID, why: str) -> None:
        log.error("part not recorded", part=str(part_id), error=why)
        self._failures.append(f"part {part_id}: {why}")
        self._forget(part_id)

    def _forget(self, part_id: uuid.UUID) -> None:
        with self._lock:
            self._open.pop(part_id, None)
            self._closing.discard(part_id)

    def _end(self, timeout_s: float) -> None:
        self._queue.close()
        self._give_up_at = time.monotonic() + timeout_s
        self._thread.join(timeout_s + 2 * LOOK_UP_S)
        unfinished = self._link.finish(timeout_s)
        for command in unfinished:
            if command.closes:
                self._fail(command.part_id, f"not recorded within {timeout_s:g} s")
        if not (unfinished or self._failures or self._thread.is_alive()):
            self._journal.wipe()  # otherwise the next to open the records puts into the table what is missing
        self._stack.close()

    def _gives_up(self) -> bool:
        return self._give_up_at is not None and time.monotonic() >= self._give_up_at

    # In the journal's thread.

    def _run(self) -> None:
        while openings := self._queue.take(self._room()):
            running = [one for one in openings if one.durable.set_running_or_notify_cancel()]
            self._write([one.part for one in running], [one.durable for one in running])

    def _room(self) -> int:
        """Return how many triggers may be written now: slots are freed as rows get into the table."""
        while (free := self._journal.wait_free(LOOK_UP_S)) == 0:
            if self._gives_up():
                break
        return max(1, min(free, JOURNAL_BATCH))

    def _write(self, parts: Sequence[OpenPart], durable: Sequence[Future[None]]) -> None:
        error: Exception | None = None
        started_s = time.monotonic()
        try:
            if self._gives_up():
                raise StoreBusy("the trigger was still waiting when the recorder closed")
            self._journal.write(parts)
        except StoreError as refused:
            error = refused
        for part, future in zip(parts, durable, strict=True):
            if error is None:
                self._link.submit(Command(next(self._numbers), part))
                future.set_result(None)
            else:
                self._fail(part.part_id, str(error))
                future.set_exception(error)
        if parts and (took_s := time.monotonic() - started_s) > SLOW_WRITE_S:
            log.warning("the disk kept triggers waiting, and their verdicts", took_ms=round(took_s * 1000),
                        first_trigger=parts[0].trigger_id, what_now="look at disk sync in partgate doctor",
                        )  # fmt: skip
