"""The recorder's process: encodes images, writes rows, says when they are on disk.

    received --> up to 32 commands --> images on disk --> rows in one transaction --> done --> room made

It is niced, and idle for as long as it keeps up (`_recorder_priority.py`): the line's core is not its own.
It ends when it is told to, or when the line's end of the connection closes: what it has received by then is
written first, also when the line was killed. Ctrl-C and SIGTERM, which a terminal or systemd send to every
process of a station, are for the line alone.
"""

import contextlib
import faulthandler
import os
import select
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import structlog

from partgate.records import _recorder_messages as wire
from partgate.records._database import Database
from partgate.records._errors import StoreError
from partgate.records._frame_memory import FrameMemoryReader
from partgate.records._home import Home
from partgate.records._image_counts import ImageCounts
from partgate.records._images import ImageStore
from partgate.records._journal import recorder_lock
from partgate.records._making_room import RoomMaker
from partgate.records._recorder_messages import Received
from partgate.records._recorder_priority import NICENESS, hurry
from partgate.records._room import ImageRoom, room_of
from partgate.records._writing import Keep, PartWriter

EXPENDABLE = 200  # of 1,000: when memory runs out, before the line, which starts this process again
BATCH = 32  # commands: the opening and closing of 16 parts
# Nobody waits for these rows: the journal has made the triggers durable. Gathered, 100 parts/s cost the
# processor a third of what they cost one by one (docs/decisions/0013).
GATHER_S = 0.1
BEAT_S = 0.5
SEND_TIMEOUT_S = 5.0
LOOK_UP_S = 1.0
BREATH_S = 0.05  # between two steps of making room, while nothing comes
LOCK_TIMEOUT_S = 30.0
LAST_WORDS_S = 30.0  # for a disk that is full, after the line has gone
LAST_ROOM_S = 2.0

log = structlog.get_logger(__name__)


def main(descriptor: int) -> None:
    """Record for one station over an inherited SOCK_SEQPACKET connection, once told for which."""
    for interruption in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interruption, signal.SIG_IGN)
    faulthandler.enable()
    os.nice(NICENESS)
    _be_expendable()
    with socket.socket(fileno=descriptor) as connection:
        link = Link(connection)
        if (order := _order(link)) is not None:
            link.start_beating()
            structlog.configure(processors=[link.log], wrapper_class=structlog.BoundLogger)
            _record(link, **order)


def _order(link: "Link") -> dict[str, Any] | None:
    """Wait for what to do; None if the line goes without having said."""
    while (received := link.receive(LOOK_UP_S)) is None:
        pass
    message, _ = received
    return None if message.pop("kind") != "begin" else message


def _record(link: "Link", *, home: str, station_id: str, keep: str, room_share: float) -> None:
    place = Home(path=Path(os.fsdecode(bytes.fromhex(home))))  # its name need not be text
    with place.lock(recorder_lock(station_id), timeout_s=LOCK_TIMEOUT_S), Database(place) as database:
        images, room = ImageStore(place), ImageRoom(place, ask=room_of)
        writer = PartWriter(
            database,
            images,
            station_id=station_id,
            keep=cast("Keep", keep),
            room=room,
            on_trouble=lambda why: link.send("trouble", why=why and why[: wire.MAX_TEXT]),
        )
        maker = RoomMaker(database, images, station_id=station_id, share=room_share, ask=room_of)
        database.write(lambda _session: None).result(LOCK_TIMEOUT_S)  # a transaction: it can write
        link.send("ready")
        Desk(writer, link, maker).serve()


def _be_expendable() -> None:
    score = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError):  # a hardened container may forbid it; then all are equal
        if int(score.read_text(encoding="ascii")) < EXPENDABLE:
            score.write_text(str(EXPENDABLE), encoding="ascii")


class Link:
    """This process's end of the connection. `send` may be called by any thread."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(SEND_TIMEOUT_S)
        self._connection = connection
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def send(self, kind: str, **fields: Any) -> None:
        """Send a message, waiting while the line does not read: it may be stopped, and comes back.

        One to a line that has gone is not missed: `receive` sees that.
        """
        with contextlib.suppress(OSError):
            while not self._sent(wire.encode(kind, **fields)):
                pass

    def _sent(self, datagram: bytes) -> bool:
        try:
            self._connection.send(datagram)
        except TimeoutError:
            return False
        return True

    def receive(self, timeout_s: float) -> tuple[dict[str, Any], list[int]] | None:
        """Return the next message and its descriptors, None if there is none in time; `end` at its end."""
        if not self._poll.poll(timeout_s * 1000):
            return None
        try:
            datagram, descriptors, _, _ = socket.recv_fds(self._connection, wire.MAX_BYTES, 1)
        except ConnectionResetError:  # the line was killed before it read all of this process's messages
            datagram, descriptors = b"", []
        return (wire.decode(datagram), descriptors) if datagram else ({"kind": "end", "within_s": None}, [])

    def log(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        """Have the line log what is logged here; the last of structlog's processors."""
        fields = {name: str(value)[: wire.MAX_TEXT] for name, value in event.items() if name != "event"}
        self.send("logged", level=method, event=str(event.get("event"))[: wire.MAX_TEXT], fields=fields)
        raise structlog.DropEvent

    def start_beating(self) -> None:
        """Say that this process lives, from a thread of its own: also while it waits for a slow disk."""
        threading.Thread(target=self._beat, name="beat", daemon=True).start()

    def _beat(self) -> None:
        beat = wire.encode("beat")
        while True:
            with contextlib.suppress(OSError):  # one that finds no room proves nothing that is asked
                self._connection.send(beat, socket.MSG_DONTWAIT)
            time.sleep(BEAT_S)


class Desk:
    """Takes commands and writes them in batches, and makes room in between. Used by the main thread."""

    def __init__(self, writer: PartWriter, link: Link, maker: RoomMaker) -> None:
        self._writer, self._link, self._maker = writer, link, maker
        self._memory: FrameMemoryReader | None = None
        self._ended = False
        self._nothing_told = False

    def serve(self) -> None:
        """Write until the line ends or has gone."""
        wait_s = LOOK_UP_S
        while not self._ended:
            if batch := self._batch(wait_s):
                self._write(batch)
            wait_s = BREATH_S if self._makes_room(self._maker.step) else LOOK_UP_S
            self._tell()
        self._makes_room(lambda: self._maker.finish(LAST_ROOM_S))

    def _makes_room(self, act: Callable[[], bool | None]) -> bool:
        """Have room made; return whether there is more to do at once."""
        try:
            return bool(act())
        except Exception as error:  # noqa: BLE001 - whatever befalls old images, rows are written on
            log.error("no room can be made for images", error=str(error) or type(error).__name__)
            return False

    def _tell(self) -> None:
        """Tell the line what became of images, if there is news."""
        counts = self._writer.take_counts() + self._maker.take_counts()
        nothing = self._maker.nothing_to_remove
        if (counts, nothing) != (ImageCounts(), self._nothing_told):
            self._nothing_told = nothing
            self._link.send("images", nothing_to_remove=nothing, **asdict(counts))

    def _batch(self, wait_s: float) -> list[Received]:
        """Return what has come, waiting for the first, and a little for more.

        What a lost process left is written one by one: so that it is known over which part one is lost.
        """
        batch: list[Received] = []
        until_s = time.monotonic() + wait_s
        while len(batch) < BATCH and not self._ended and not any(command.again for command in batch):
            received = self._link.receive(max(0.0, until_s - time.monotonic()))
            if received is None:
                break
            if not batch:
                until_s = time.monotonic() + GATHER_S
            self._take(*received, batch)
        return batch

    def _take(self, message: dict[str, Any], descriptors: Sequence[int], batch: list[Received]) -> None:
        match message["kind"]:
            case "open" | "close":
                batch.append(wire.command_of(message, self._memory))
            case "memory":
                self._memory = FrameMemoryReader(descriptors[0], slot_bytes=message["slot_bytes"])
            case _:
                hurry()
                self._ended = True
                within_s = message["within_s"]
                self._writer.give_up_after(LAST_WORDS_S if within_s is None else within_s)

    def _write(self, batch: Sequence[Received]) -> None:
        closed = [command for command in batch if command.closed is not None]
        try:
            errors = self._writer.write(
                [command.opened for command in batch if command.opened is not None],
                [command.closed for command in closed if command.closed is not None],
                again=_part_ids(command for command in closed if command.again),
                images_lost=_part_ids(command for command in closed if command.images_lost),
            )
        except StoreError as error:  # after giving up alone
            errors = {_part_id(command): error for command in batch}
        failed = {command.number: str(errors[_part_id(command)]) for command in batch
                  if _part_id(command) in errors}  # fmt: skip
        self._link.send(
            "done",
            numbers=[command.number for command in batch],
            failed=[[number, text[: wire.MAX_TEXT]] for number, text in failed.items()],
        )


def _part_id(command: Received) -> uuid.UUID:
    part = command.opened or command.closed
    if part is None:
        raise ValueError(f"command {command.number} names no part")
    return part.part_id


def _part_ids(commands: Iterable[Received]) -> frozenset[uuid.UUID]:
    return frozenset(_part_id(command) for command in commands)
