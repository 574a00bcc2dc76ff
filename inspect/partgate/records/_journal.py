"""Triggers on disk before their rows: a file of fixed slots, written by the line itself.

    open_part --> slot written, fdatasync --> the verdict may leave
                                         '--> row committed by the recorder's process --> slot free again

    slot:  | magic | CRC-32 | length | the part, as JSON ... |   4 KiB each

The slots are there from the start, so that a write changes no metadata and waits for no other file's:
docs/decisions/0013 has what that brings beside a busy image store. What a station leaves behind when it is
killed is put into the table by whoever opens the records next.
"""

import json
import os
import struct
import threading
import uuid
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlmodel import Session

from partgate.records._durable import sync_folder
from partgate.records._errors import ConstraintViolated, StoreUnwritable
from partgate.records._home import Home
from partgate.records._parts import OpenPart, insert_open
from partgate.records._registry import add_station
from partgate_station import AlreadyRunning, PartgateError

if TYPE_CHECKING:
    from partgate.records._database import Database

SLOTS = 256
SLOT_BYTES = 4096
HEADER = struct.Struct("<4sII")
MAGIC = b"PGJ1"
# Of a longer serial number the recorder's row has the rest; the slot is for the day it never came to that.
SERIAL_CHARACTERS = 512
SUFFIX = ".journal"
FOLD_TIMEOUT_S = 60.0
LOCK_TIMEOUT_S = 30.0

log = structlog.get_logger(__name__)


class Journal:
    """The line's side: one thread writes, any forgets.

    Raises:
        StoreUnwritable: the file cannot be made.
    """

    def __init__(self, home: Home, station_id: str) -> None:
        self._path = journal_path(home, station_id)
        self._descriptor: int | None = None
        self._free: deque[int] = deque(range(SLOTS))
        self._slots: dict[uuid.UUID, int] = {}
        self._changed = threading.Condition()
        self._opened()

    def wait_free(self, timeout_s: float) -> int:
        """Return how many slots are free, waiting for the first."""
        with self._changed:
            self._changed.wait_for(lambda: self._free, timeout_s)
            return len(self._free)

    def write(self, parts: Sequence[OpenPart]) -> None:
        """Put parts into slots, durable when this returns; there must be as many free ones.

        Raises:
            StoreUnwritable: nothing is known of any of them.
        """
        with self._changed:
            slots = {part.part_id: self._free.popleft() for part in parts}
            self._slots |= slots
        try:
            descriptor = self._opened()
            for part in parts:
                os.pwrite(descriptor, _encoded(part), slots[part.part_id] * SLOT_BYTES)
            os.fdatasync(descriptor)
        except OSError as error:
            # After a failed fsync the kernel forgets what it could not write: never asked twice.
            self.close()
            self.forget(slots)
            raise StoreUnwritable(
                f"{self._path}: a trigger cannot be written ({error.strerror}); check the disk"
            ) from error

    def forget(self, part_ids: Sequence[uuid.UUID] | dict[uuid.UUID, int]) -> None:
        """Free the slots of parts whose rows are in the table."""
        with self._changed:
            self._free.extend(self._slots.pop(part_id) for part_id in part_ids if part_id in self._slots)
            self._changed.notify_all()

    def wipe(self) -> None:
        """Leave nothing to be put into the table; all rows are there."""
        _wipe(self._path)

    def close(self) -> None:
        """Let go of the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _opened(self) -> int:
        if self._descriptor is None:
            try:
                if not self._path.exists() or self._path.stat().st_size != SLOTS * SLOT_BYTES:
                    _wipe(self._path)
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            except OSError as error:
                raise StoreUnwritable(f"{self._path}: cannot be written ({error.strerror})") from error
        return self._descriptor


def journal_path(home: Home, station_id: str) -> Path:
    """Return where a station's triggers lie."""
    return home.path / "journal" / f"{station_id}{SUFFIX}"


def journal_lock(station_id: str) -> str:
    """Return the lock that says whose journal it is at the moment."""
    return f"journal-{station_id}"


def recorder_lock(station_id: str) -> str:
    """Return the lock that a recorder's process holds for as long as it lives."""
    return f"recorder-{station_id}"


def fold(database: "Database", station_id: str) -> int:
    """Put what a killed station left in its journal into the table; return how many rows that made.

    The caller holds the journal's lock. Rows that are there already stay as they are.

    Raises:
        StoreError: they cannot be written; the journal is left as it is.
    """
    path = journal_path(database.home, station_id)
    parts = list(_left_in(path))
    if not parts:
        return 0

    def act(session: Session) -> int:
        add_station(session, station_id=station_id)
        return insert_open(session, station_id, parts)

    try:
        rows = database.write(act).result(FOLD_TIMEOUT_S)
    except ConstraintViolated:
        rows = sum(_folded_alone(database, station_id, part) for part in parts)
    _wipe(path)
    if rows:
        log.warning("triggers of a killed station were put into the ledger", station=station_id, parts=rows)
    return rows


def fold_left_behind(database: "Database") -> None:
    """Fold the journals of all stations that do not run; one that cannot be folded is logged."""
    for path in database.home.path.glob(f"journal/*{SUFFIX}"):
        station_id = path.name.removesuffix(SUFFIX)
        try:
            with database.home.lock(journal_lock(station_id), timeout_s=0):
                fold(database, station_id)
        except AlreadyRunning:
            continue
        except (PartgateError, TimeoutError) as error:
            log.error("triggers of a killed station wait in its journal", path=str(path), error=str(error))


def _folded_alone(database: "Database", station_id: str, part: OpenPart) -> int:
    try:
        return database.write(lambda session: insert_open(session, station_id, [part])).result(FOLD_TIMEOUT_S)
    except ConstraintViolated as error:
        log.error("a trigger of a killed station contradicts the ledger", station=station_id,
                  trigger=part.trigger_id, part=str(part.part_id), error=str(error))  # fmt: skip
        return 0


def _encoded(part: OpenPart) -> bytes:
    serial = None if part.serial_number is None else part.serial_number[:SERIAL_CHARACTERS]
    fields = [part.part_id.hex, part.trigger_id, part.triggered_at.isoformat(), serial, part.product]
    fields += [part.recipe_id, part.model_id, part.runtime]
    text = json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace")
    return (HEADER.pack(MAGIC, zlib.crc32(text), len(text)) + text).ljust(SLOT_BYTES, b"\0")


def _left_in(path: Path) -> Iterator[OpenPart]:
    """Give the parts of all whole slots; one that was being written when the power went is not whole."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    for start in range(0, len(content) - HEADER.size, SLOT_BYTES):
        magic, checksum, length = HEADER.unpack_from(content, start)
        text = content[start + HEADER.size : start + min(SLOT_BYTES, HEADER.size + length)]
        if magic == MAGIC and zlib.crc32(text) == checksum:
            yield _decoded(text)


def _decoded(text: bytes) -> OpenPart:
    part_id, trigger_id, triggered_at, serial, product, recipe_id, model_id, runtime = json.loads(text)
    return OpenPart(
        part_id=uuid.UUID(hex=part_id),
        trigger_id=trigger_id,
        triggered_at=datetime.fromisoformat(triggered_at),
        serial_number=serial,
        product=product,
        recipe_id=recipe_id,
        model_id=model_id,
        runtime=runtime,
    )


def _wipe(path: Path) -> None:
    """Fill a journal with zeros, durable: blocks that were written once need no metadata the next time."""
    try:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.ftruncate(descriptor, SLOTS * SLOT_BYTES)
            os.pwrite(descriptor, bytes(SLOTS * SLOT_BYTES), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreUnwritable(f"{path}: cannot be written ({error.strerror}); check the disk") from error
