"""Frames that belong to no part: counted, named, and kept where there is room."""

import threading
import uuid
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
import structlog
from sqlalchemy import func, insert, select
from sqlmodel import Session, col

from partgate.records._database import Database
from partgate.records._errors import StoreError
from partgate.records._images import ImageStore
from partgate.records._parts import storable
from partgate.records._registry import add_station
from partgate.records._room import ImageRoom, Keeping
from partgate.records._tables import ImageState, OrphanFrame, new_id

ROW_TIMEOUT_S = 60.0
WAKE_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedOrphan:
    """A frame that was given to no part. Its pixels must not be changed any more."""

    camera_id: str
    frame_id: int | None
    camera_timestamp_ns: int | None
    received_at: datetime
    reason: str
    """As `CODE: sentence`."""

    image: npt.NDArray[np.uint8] | None = None
    """(h, w) or (h, w, 3) uint8; None where the pixels are gone."""

    orphan_id: uuid.UUID = field(default_factory=new_id)


def insert_orphan(session: Session, station_id: str, orphan: RecordedOrphan, sha256: str | None) -> None:
    """Write an orphan's row; `sha256` names its image, None where none is kept."""
    shape = None if orphan.image is None else orphan.image.shape
    session.connection().execute(
        insert(OrphanFrame),
        {
            "id": orphan.orphan_id,
            "station_id": station_id,
            "camera_id": orphan.camera_id,
            "frame_id": orphan.frame_id,
            "camera_timestamp_ns": storable(orphan.camera_timestamp_ns),
            "received_at": orphan.received_at,
            "reason": orphan.reason,
            "height_px": None if shape is None else shape[0],
            "width_px": None if shape is None else shape[1],
            "image_state": ImageState.NOT_KEPT if sha256 is None else ImageState.KEPT,
            "image_sha256": sha256,
        },
    )


def count_orphans(session: Session, station_id: str | None = None) -> int:
    """Return how many frames of a station, or of all, were given to no part."""
    statement = select(func.count()).select_from(OrphanFrame)
    if station_id is not None:
        statement = statement.where(col(OrphanFrame.station_id) == station_id)
    return session.connection().scalar(statement) or 0


class OrphanRecorder:
    """Records the orphans of one station. `record` never waits and never fails: parts come first.

    Args:
        database: left open by `close`.
        images: where the frames are kept.
        station_id: its row is made if it is not there.
        room: asked whether there is room for images; theirs are the first that are not kept. None: there is.
        queue_images: images that may wait; one more is DROPPED, its row says NOT_KEPT.
        queue_rows: rows that may wait; one more is COUNTED in the log only, as an error.
    """

    def __init__(
        self,
        database: Database,
        images: ImageStore,
        *,
        station_id: str,
        room: ImageRoom | None = None,
        queue_images: int = 16,
        queue_rows: int = 4096,
    ) -> None:
        self._database, self._images, self._station_id = database, images, station_id
        self._room = room
        self._queue_images, self._queue_rows = queue_images, queue_rows
        self._waiting: deque[RecordedOrphan] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.unrecorded = 0
        """Orphans without a row, because too many waited or the disk refused them."""
        database.write(lambda session: add_station(session, station_id=station_id)).result(ROW_TIMEOUT_S)
        self._thread = threading.Thread(target=self._run, name=f"partgate-orphans-{station_id}", daemon=True)
        self._thread.start()

    def record(self, orphan: RecordedOrphan) -> None:
        """Hand an orphan over; its row is written by a thread in here."""
        with self._changed:
            images = sum(waiting.image is not None for waiting in self._waiting)
            if len(self._waiting) >= self._queue_rows or self._closed:
                self._lose(orphan, "too many wait" if not self._closed else "the station has stopped")
                return
            self._waiting.append(orphan if images < self._queue_images else replace(orphan, image=None))
            self._changed.notify()

    def close(self, timeout_s: float = 10.0) -> None:
        """Record what waits, then end; a second call does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("orphan frames were not recorded in time", waiting=len(self._waiting))

    def _run(self) -> None:
        while (orphan := self._next()) is not None:
            try:
                sha256 = None if orphan.image is None else self._kept(orphan.image)
                self._write(orphan, sha256)
            except Exception as error:  # noqa: BLE001 - the top of the thread: counted, and said in the log
                self._lose(orphan, str(error))

    def _next(self) -> RecordedOrphan | None:
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait(WAKE_S)
            return self._waiting.popleft() if self._waiting else None

    def _kept(self, image: npt.NDArray[np.uint8]) -> str | None:
        if self._room is not None and self._room.look() is not Keeping.ALL:
            return None
        try:
            return self._images.put(image)
        except StoreError as error:  # no room: the row is worth more than the picture
            log.warning("an orphan frame's image is not kept", error=str(error))
            return None

    def _write(self, orphan: RecordedOrphan, sha256: str | None) -> None:
        written = self._database.write(
            lambda session: insert_orphan(session, self._station_id, orphan, sha256)
        )
        written.result(ROW_TIMEOUT_S)

    def _lose(self, orphan: RecordedOrphan, why: str) -> None:
        self.unrecorded += 1
        log.error("orphan frame not recorded", camera=orphan.camera_id, frame=orphan.frame_id,
                  reason=orphan.reason, why=why)  # fmt: skip
