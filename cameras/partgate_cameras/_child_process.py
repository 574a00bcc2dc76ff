"""Starting a camera's process, talking to it, and ending it for certain.

`subprocess` rather than `multiprocessing`: its "spawn" runs the program's main module again in every
child (for `partgate run` the whole command line, with SQLModel and the web application), and starts a
resource tracker beside it. docs/decisions/0008 has what that costs.
"""

import logging
import pickle
import select
import socket
import subprocess
import sys
from collections.abc import Sequence

from partgate_cameras import _messages as wire
from partgate_cameras._errors import CameraError, CameraUnavailable
from partgate_cameras._order import Order
from partgate_cameras._ring import RingReader

# -P: a file of the working directory must not stand in for a module.
COMMAND = (sys.executable, "-P", "-c")
# Modules are made to stay: looking for garbage among them is a fifth of the time that importing takes.
PROGRAM = """\
import gc, sys
gc.disable()
from partgate_cameras._child import main
gc.freeze()
gc.enable()
main(int(sys.argv[1]))
"""
STDERR = 2
KILL_WAIT_S = 2.0
EXIT_WAIT_S = 0.25
AT_ONCE = 64  # messages

_logger = logging.getLogger(__name__)


class ProcessEnded(Exception):
    """The process has closed its end, or what it sends makes no sense. Stays in this package."""


class ChildProcess:
    """One life of a camera's process.

    `receive` and `end` belong to the thread that made it, which must outlive it: the kernel kills the
    child when that thread ends. `send` may be called by any thread.
    """

    def __init__(self, order: Order) -> None:
        """Start the process; it says later whether the camera opened.

        Raises:
            CameraUnavailable: no process can be started.
        """
        self._what = f"camera {order.config.camera_id}"
        try:
            self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = _started(theirs)
        except OSError as error:
            raise CameraUnavailable(f"{self._what}: its process cannot be started ({error})") from error
        self.pid = self._process.pid
        self._connection.settimeout(0)  # never wait for a process that may be stopped
        self._poll = select.poll()
        self._poll.register(self._connection, select.POLLIN)
        self._send(pickle.dumps(sys.path))
        self._send(pickle.dumps(order))

    def send(self, message: wire.Message) -> None:
        """Send a message; one that cannot be sent is lost, which its missing answer will show."""
        self._send(wire.encode(message))

    def receive(self, timeout_s: float) -> Sequence[tuple[wire.Message, RingReader | None]]:
        """Return what has come, with the ring that came with it; wait for the first one only.

        Raises:
            ProcessEnded: the process has closed its end, or sent what is no message.
        """
        received: list[tuple[wire.Message, RingReader | None]] = []
        while len(received) < AT_ONCE and self._poll.poll(0 if received else timeout_s * 1000):
            try:
                message = self._receive_one()
            except ProcessEnded:
                if not received:
                    raise
                break  # said again by the next call, after what came before it is dealt with
            received.append(message)
        return received

    def end(self, grace_s: float) -> int | None:
        """End the process: ask, wait, kill; return its exit code, None if even SIGKILL did not end it."""
        if grace_s:
            self.send(wire.Close())
        code = self._wait(grace_s)
        if code is None:
            self._process.kill()
            code = self._wait(KILL_WAIT_S)
        if code is None:
            _logger.error("%s: process %d does not end, even killed", self._what, self.pid)
        self._connection.close()
        return code

    def _send(self, datagram: bytes) -> None:
        try:
            self._connection.send(datagram)
        except OSError as error:  # it has ended, or has not read for long: `receive` and the clock tell
            _logger.debug("%s: %d bytes not sent (%s)", self._what, len(datagram), error)

    def _receive_one(self) -> tuple[wire.Message, RingReader | None]:
        try:
            datagram, descriptors, _, _ = socket.recv_fds(self._connection, wire.MAX_BYTES, 1)
        except ConnectionResetError:  # it closed with requests unread
            datagram, descriptors = b"", []
        except OSError as error:
            raise ProcessEnded(str(error)) from error
        if not datagram:
            raise ProcessEnded(f"its process ended with exit code {self._wait(EXIT_WAIT_S)}")
        try:
            return wire.decode(datagram), RingReader(descriptors[0]) if descriptors else None
        except (wire.Garbled, CameraError) as error:
            raise ProcessEnded(str(error)) from error

    def _wait(self, timeout_s: float) -> int | None:
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None


def _started(connection: socket.socket) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - our own module by our own interpreter
        [*COMMAND, PROGRAM, str(connection.fileno())],
        pass_fds=[connection.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=STDERR,  # some producers print; standard output is the program's
        process_group=0,  # a terminal's Ctrl-C goes to the station alone
    )
