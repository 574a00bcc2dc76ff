"""The process that a camera lives in: opens it, serves one request after the other, and ends.

It ends when it is told to, when the station's end of the connection closes, and by the kernel's hand
when the station's process is killed (PR_SET_PDEATHSIG), even while native code holds Python's lock.
Ctrl-C and SIGTERM, which a terminal or systemd send to every process of a station, are for the station
alone: it finishes the part in work, for which it may need this camera, and then ends this process.
"""

import contextlib
import ctypes
import faulthandler
import logging
import os
import pickle
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from partgate_cameras import _messages as wire
from partgate_cameras._desk import Desk
from partgate_cameras._frame import Camera, Numbered
from partgate_cameras._order import Order

PR_SET_PDEATHSIG = 1
EXPENDABLE = 300  # of 1,000: when memory runs out, before the station, which starts this process again
SEND_TIMEOUT_S = 5.0


def main(descriptor: int) -> None:
    """Serve one camera over an inherited SOCK_SEQPACKET connection until told to close."""
    for interruption in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interruption, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    faulthandler.enable()
    _be_expendable()
    with socket.socket(fileno=descriptor) as connection:
        connection.settimeout(SEND_TIMEOUT_S)
        link = Link(connection)
        order = _receive_order(connection)
        if os.getppid() != order.parent_pid:  # it was killed before PR_SET_PDEATHSIG
            return
        link.start_beating(order.beat_every_s)
        logging.basicConfig(level=order.log_level, handlers=[Forwarder(link)], force=True)
        _serve(order, link)
    # Past the finalizers of native libraries: some crash there, after all is said (harvesters issue 47).
    os._exit(0)


def _be_expendable() -> None:
    score = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError):  # a hardened container may forbid it; then all are equal
        if int(score.read_text(encoding="ascii")) < EXPENDABLE:
            score.write_text(str(EXPENDABLE), encoding="ascii")


def _receive_order(connection: socket.socket) -> Order:
    """Return the order; where to find the modules it names comes first."""
    sys.path[:] = pickle.loads(connection.recv(wire.MAX_BYTES))  # noqa: S301 - from the process that made this one
    order = pickle.loads(connection.recv(wire.MAX_BYTES))  # noqa: S301 - as above
    if not isinstance(order, Order):
        raise TypeError(f"expected an Order, got {type(order).__name__}")
    return order


class Link:
    """This process's end of the connection. `send` may be called by any thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def send(self, message: wire.Message, *descriptors: int) -> None:
        """Send a message, waiting while the station does not read; end this process if it never does."""
        try:
            socket.send_fds(self._connection, [wire.encode(message)], descriptors)
        except OSError:  # closed, or nobody has read for SEND_TIMEOUT_S: nobody is left to serve
            os._exit(1)

    def receive(self, timeout_s: float) -> wire.Message | None:
        """Return the next message, None if there is none in time; Close when the station has gone."""
        if not self._poll.poll(timeout_s * 1000):
            return None
        datagram = self._connection.recv(wire.MAX_BYTES)
        return wire.decode(datagram) if datagram else wire.Close()

    def start_beating(self, every_s: float) -> None:
        """Say that this process lives, from a thread of its own, for as long as it does."""
        threading.Thread(target=self._beat, args=(every_s,), name="beat", daemon=True).start()

    def _beat(self, every_s: float) -> None:
        beat = wire.encode(wire.Beat())
        while True:
            try:
                self._connection.send(beat)
            except TimeoutError:
                pass  # the station has many unread: it is stopped, and asks for no proof of life
            except OSError:
                return
            time.sleep(every_s)


class Forwarder(logging.Handler):
    """Has the station log what is logged here: this process has no log of its own."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))  # the station's adds the rest
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record's text."""
        text = self.format(record)
        self._link.send(wire.Logged(level=record.levelno, logger=record.name, text=text))


def _serve(order: Order, link: Link) -> None:
    camera = _open(order, link)
    if camera is None:
        return
    serial_number = camera.serial_number if isinstance(camera, Numbered) else None
    link.send(wire.Opened(exhausted=camera.exhausted, serial_number=serial_number))
    desk = Desk(camera, order, link)
    desk.prepare()
    while not isinstance(message := link.receive(desk.look_every_s), wire.Close):
        if isinstance(message, wire.Grab):
            desk.answer(message)
            desk.prepare()
        else:
            desk.look()
    camera.close()


def _open(order: Order, link: Link) -> Camera | None:
    """Return the open camera, None if it cannot be opened or the station has no more use for it."""
    give_up_s = time.monotonic() + order.retry_for_s
    while True:
        try:
            camera = order.make(order.config, order.next_frame)
            camera.open()
        except Exception as error:  # noqa: BLE001 - the top of this process: it becomes a message
            link.send(wire.NotOpened(error=type(error).__name__, text=str(error)))
        else:
            return camera
        if order.retry_every_s is None or time.monotonic() > give_up_s:
            return None
        if isinstance(link.receive(order.retry_every_s), wire.Close):
            return None
