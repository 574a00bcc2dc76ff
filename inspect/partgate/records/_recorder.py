"""A way to the records within one process: a part's row is opened, and closed with its images.

For programs that record without a line. A station's recorder is a process: `_recorder_process.py`.
"""

import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

import structlog
from sqlmodel import Session

from partgate.records._database import Database
from partgate.records._errors import (
    PartNotOpen,
    RecordingFailed,
    StoreBusy,
    StoreClosed,
    StoreError,
)
from partgate.records._images import ImageStore
from partgate.records._parts import ClosedPart, OpenPart, close_interrupted, highest_trigger_id, insert_open
from partgate.records._queue import BoundedQueue, QueueClosed, QueueFull
from partgate.records._recorder_priority import NICENESS
from partgate.records._registry import add_station
from partgate.records._writing import RETRY_S, Keep, PartWriter

ROW_TIMEOUT_S = 60.0
QUEUE_TIMEOUT_S = 60.0
BATCH_PARTS = 16  # whose images and rows wait for the disk together

log = structlog.get_logger(__name__)


class Recorder:
    """Opens and closes the parts of one station.

        open_part --> writing thread: row OPEN, durable
        close_part -> image thread: images on disk -> writing thread: frames' rows, row closed

    Args:
        database: left open by `close`.
        images: where frames and maps are kept.
        station_id: its row is made if it is not there.
        keep: `flagged` keeps no frames of accepted parts.
        queue_parts: parts whose images may wait; when they do, `close_part` BLOCKS: none is dropped.
    """

    def __init__(
        self,
        database: Database,
        images: ImageStore,
        *,
        station_id: str,
        keep: Keep,
        queue_parts: int = 64,
    ) -> None:
        self._database = database
        self._images = images
        self._station_id = station_id
        self._writer = PartWriter(database, images, station_id=station_id, keep=keep)
        self._queue: BoundedQueue[ClosedPart] = BoundedQueue(queue_parts, overflow="block")
        self._open: set[uuid.UUID] = set()
        self._closing: set[uuid.UUID] = set()
        self._highest = 0
        self._lock = threading.Lock()
        self._failures: list[str] = []
        database.write(lambda session: add_station(session, station_id=station_id)).result(ROW_TIMEOUT_S)
        self._thread = threading.Thread(target=self._run, name=f"partgate-images-{station_id}", daemon=True)
        self._thread.start()

    def recover(self) -> int:
        """Close the parts that a crash left open, as UNDECIDED; return how many there were."""
        self._images.sweep()
        with self._lock:
            own = frozenset(self._open | self._closing)
        interrupted = self._database.write(lambda session: close_interrupted(session, self._station_id, own))
        return interrupted.result(ROW_TIMEOUT_S)

    def next_trigger_id(self) -> int:
        """Return one more than the highest trigger id of the station, those not on disk yet included."""
        with self._database.read() as session:
            return 1 + max(self._highest, highest_trigger_id(session, self._station_id))

    def open_part(self, part: OpenPart) -> Future[None]:
        """Write a part's row; the future resolves once it is on disk.

        Only then may its verdict leave the station. What the future carries otherwise is why there
        is no row.

        Raises:
            StoreClosed: the recorder's database is closed.
            StoreBusy: the database's queue had no place for half a minute.
        """
        with self._lock:
            self._open.add(part.part_id)
            self._highest = max(self._highest, part.trigger_id)
        try:
            opened = self._database.write(lambda session: self._insert(session, part))
        except StoreError:
            self._forget(part.part_id)
            raise
        opened.add_done_callback(lambda done: self._opened(part.part_id, done))
        return opened

    def note_verdict(self, part: ClosedPart) -> None:
        """Do nothing: only a station has a journal, whose recorder is a process."""

    def close_part(self, part: ClosedPart) -> None:
        """Hand over a part's verdict and frames; waits while too many wait.

        The frames' pixels must not be changed any more. The row is closed by a thread in here,
        together with its frames' rows; `close` raises if that failed for good.

        Raises:
            PartNotOpen: it was not opened here, or is closed already.
            StoreClosed: the recorder is closed.
            StoreBusy: the images' queue had no place for a minute; the part is still open.
        """
        with self._lock:
            if part.part_id not in self._open:
                raise PartNotOpen(
                    f"part {part.part_id} is not open: it was never opened, or is closed already"
                )
            self._open.discard(part.part_id)
            self._closing.add(part.part_id)
        try:
            self._queue.put(part, timeout_s=QUEUE_TIMEOUT_S)
        except QueueClosed:
            self._forget(part.part_id)
            raise StoreClosed(f"the recorder of station {self._station_id} is closed") from None
        except QueueFull:
            with self._lock:
                self._closing.discard(part.part_id)
                self._open.add(part.part_id)
            raise StoreBusy(
                f"{len(self._queue)} parts have waited for {QUEUE_TIMEOUT_S:g} s for the disk"
            ) from None

    def close(self, timeout_s: float = 30.0) -> None:
        """Record what waits, then end; a second call does nothing.

        Raises:
            RecordingFailed: parts could not be recorded; the next start's `recover` declares them.
        """
        self._writer.give_up_after(timeout_s)
        self._queue.close()
        self._thread.join(timeout_s + RETRY_S)
        failures, self._failures = self._failures, []
        if self._thread.is_alive():
            failures.append(f"{len(self._queue)} parts were not recorded within {timeout_s:g} s")
        if failures:
            raise RecordingFailed(f"{len(failures)} parts could not be recorded, the first: {failures[0]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _insert(self, session: Session, part: OpenPart) -> None:
        insert_open(session, self._station_id, [part])

    def _opened(self, part_id: uuid.UUID, done: Future[None]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._forget(part_id)

    def _forget(self, part_id: uuid.UUID) -> None:
        with self._lock:
            self._open.discard(part_id)
            self._closing.discard(part_id)

    def _run(self) -> None:
        # Linux has a niceness per thread: encoding must not take the line's core.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while parts := self._queue.take(BATCH_PARTS):
            self._record(parts)

    def _record(self, parts: Sequence[ClosedPart]) -> None:
        try:
            errors: Mapping[uuid.UUID, Exception] = self._writer.write([], parts)
        except Exception as error:  # noqa: BLE001 - the top of the thread: becomes what `close` raises
            errors = {part.part_id: error for part in parts}
        for part in parts:
            if (failed := errors.get(part.part_id)) is not None:
                log.error("part not recorded", part=str(part.part_id), error=str(failed))
                self._failures.append(f"part {part.part_id}: {failed}")
            self._forget(part.part_id)
