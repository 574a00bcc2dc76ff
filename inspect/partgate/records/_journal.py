"""Triggers on disk before their rows: a file of fixed slots, written by the line itself.

    open_part --> slot written, fdatasync --> verdict noted in it --> the verdict leaves
                                         '--> row closed by the recorder's process --> slot free again

    slot:  | magic | CRC-32 | length | the part, as JSON ... | magic | CRC-32 | length | its verdict ... |
           0                                                 3584                                     4096

The verdict waits for no disk: noted before it leaves it outlives every process, and the next trigger's sync
takes it to the disk. It has a sector of its own, so that noting it cannot spoil the trigger.

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
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlmodel import Session

from partgate.records._durable import sync_folder
from partgate.records._errors import ConstraintViolated, StoreUnwritable
from partgate.records._home import Home
from partgate.records._parts import ClosedPart, OpenPart, StoredPart, close_open, insert_open
from partgate.records._registry import add_station
from partgate_station import AlreadyRunning, PartgateError, Verdict

if TYPE_CHECKING:
    from partgate.records._database import Database

SLOTS = 256
SLOT_BYTES = 4096
NOTE_AT = 3584  # bytes into a slot; the rest is one sector
HEADER = struct.Struct("<4sII")
MAGIC, NOTE_MAGIC = b"PGJ1", b"PGV1"
# Of a longer serial number the recorder's row has the rest; the slot is for the day it never came to that.
SERIAL_CHARACTERS = 512
REASON_CHARACTERS = 60  # six bytes each at worst, and 120 for the rest, fit into a sector
SUFFIX = ".journal"
FOLD_TIMEOUT_S = 60.0
LOCK_TIMEOUT_S = 30.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A verdict that may have left, of a part whose row may not say so yet."""

    part_id: uuid.UUID
    verdict: Verdict
    reason: str | None
    """Cut, if it was long."""
    score: float | None
    latency_ms: float | None


class Journal:
    """The line's side: one thread writes, any notes and forgets.

    Raises:
        StoreUnwritable: the file cannot be made.
    """

    def __init__(self, home: Home, station_id: str) -> None:
        self._path = journal_path(home, station_id)
        self._descriptor: int | None = None
        self._free: deque[int] = deque(range(SLOTS))
        self._slots: dict[uuid.UUID, int] = {}
        self._changed = threading.Condition()
        self._using = threading.Lock()  # so that nobody notes by a descriptor that was just closed
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
            # After a failed fsync the kernel forgets what it could not write: never asked twice. Their slots
            # are not used again: what lies there now may be whole, and the next start has to see it.
            self.close()
            raise StoreUnwritable(
                f"{self._path}: a trigger cannot be written ({error.strerror}); check the disk"
            ) from error

    def note(self, noted: Noted) -> None:
        """Note a verdict beside its trigger, before it leaves; never waits for the disk.

        A kill of every process leaves it here. One that cannot be noted is logged: its row follows.
        """
        with self._changed:
            slot = self._slots.get(noted.part_id)
        try:
            with self._using:
                if slot is not None and self._descriptor is not None:
                    os.pwrite(self._descriptor, _encoded_note(noted), slot * SLOT_BYTES + NOTE_AT)
        except OSError as error:
            log.warning("a verdict was not noted in the journal", path=str(self._path), error=str(error))

    def forget(self, part_ids: Sequence[uuid.UUID] | dict[uuid.UUID, int]) -> None:
        """Free the slots of parts whose rows are in the table, closed."""
        with self._changed:
            self._free.extend(self._slots.pop(part_id) for part_id in part_ids if part_id in self._slots)
            self._changed.notify_all()

    def wipe(self) -> None:
        """Leave nothing to be put into the table; all rows are there."""
        _wipe(self._path)

    def close(self) -> None:
        """Let go of the file."""
        with self._using:
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
    left = list(_left_in(path))
    if not left:
        return 0

    def act(session: Session) -> int:
        add_station(session, station_id=station_id)
        return insert_open(session, station_id, [part for part, _ in left])

    try:
        rows = database.write(act).result(FOLD_TIMEOUT_S)
    except ConstraintViolated:
        rows = sum(_folded_alone(database, station_id, part) for part, _ in left)
    noted = [note for _, note in left if note is not None]
    verdicts = database.write(lambda session: _closed(session, noted)).result(FOLD_TIMEOUT_S)
    _wipe(path)
    if rows or verdicts:
        log.warning("what a killed station left was put into the ledger", station=station_id, parts=rows,
                    verdicts=verdicts)  # fmt: skip
    return rows


def _closed(session: Session, noted: Sequence[Noted]) -> int:
    """Close parts by the verdicts that had left for them, without their images; return how many were open."""
    parts = [
        StoredPart(
            part=ClosedPart(
                part_id=one.part_id,
                verdict=one.verdict,
                reason=one.reason,
                score=one.score,
                latency_ms=one.latency_ms,
            )
        )
        for one in noted
    ]
    return len(parts) - len(close_open(session, parts))


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
    return _packed(MAGIC, _text(fields)).ljust(SLOT_BYTES, b"\0")


def _encoded_note(noted: Noted) -> bytes:
    reason = None if noted.reason is None else noted.reason[:REASON_CHARACTERS]
    fields = [noted.part_id.hex, noted.verdict.value, reason, noted.score, noted.latency_ms]
    return _packed(NOTE_MAGIC, _text(fields)).ljust(SLOT_BYTES - NOTE_AT, b"\0")


def _text(fields: Sequence[object]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace")


def _packed(magic: bytes, text: bytes) -> bytes:
    return HEADER.pack(magic, zlib.crc32(text), len(text)) + text


def _left_in(path: Path) -> Iterator[tuple[OpenPart, Noted | None]]:
    """Give the parts of all whole slots, and the verdicts noted beside them.

    A slot that was being written when the power went is not whole.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    for start in range(0, len(content) - HEADER.size, SLOT_BYTES):
        slot = content[start : start + SLOT_BYTES]
        if (text := _whole(slot, MAGIC)) is not None:
            part = _decoded(text)
            yield part, _noted(slot[NOTE_AT:], part.part_id)


def _whole(content: bytes, magic: bytes) -> bytes | None:
    """Return the text behind a header, None if it is not the one that was written."""
    if len(content) < HEADER.size:
        return None
    found, checksum, length = HEADER.unpack_from(content)
    text = content[HEADER.size : HEADER.size + length]
    # Nothing has a checksum of 0: where the magic alone came to the disk, a text of nothing would be whole.
    return text if text and found == magic and zlib.crc32(text) == checksum else None


def _noted(content: bytes, part_id: uuid.UUID) -> Noted | None:
    """Return the verdict noted for a part, None if there is none, or one of a part before it."""
    text = _whole(content, NOTE_MAGIC)
    if text is None:
        return None
    noted_id, verdict, reason, score, latency_ms = json.loads(text)
    if uuid.UUID(hex=noted_id) != part_id:
        return None
    return Noted(part_id=part_id, verdict=Verdict(verdict), reason=reason, score=score, latency_ms=latency_ms)


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
