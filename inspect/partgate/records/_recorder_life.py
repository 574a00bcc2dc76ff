"""One life of the recorder's process, as the line sees it: started, spoken to, ended for certain."""

import json
import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from partgate.records import _recorder_messages as wire
from partgate.records._home import Home

# -P: a file of the working directory must not stand in for a module.
COMMAND = (sys.executable, "-P", "-c")
PROGRAM = """\
import json, sys
path, *arguments = json.loads(sys.argv[1])
sys.path[:] = path
from partgate.records._recorder_child import main
main(*arguments)
"""
STDERR = 2
KILL_WAIT_S = 5.0
EXIT_WAIT_S = 0.25
AT_ONCE = 64  # messages


class LifeEnded(Exception):
    """The process has closed its end, or what it sends makes no sense. Stays in this package."""


class RecorderLife:
    """A process that records for one station. Used by one thread.

    Raises:
        LifeEnded: no process can be started.
    """

    def __init__(self, home: Home, *, station_id: str, keep: str) -> None:
        try:
            self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                order = [sys.path, theirs.fileno(), str(home.path), station_id, keep]
                self._process = subprocess.Popen(  # noqa: S603 - our own module by our own interpreter
                    [*COMMAND, PROGRAM, json.dumps(order)],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=STDERR,  # standard output is the program's
                    process_group=0,  # a terminal's Ctrl-C goes to the line alone
                )
        except OSError as error:
            raise LifeEnded(f"it cannot be started ({error})") from error
        self._connection.settimeout(0)  # never wait for a process that may be stopped
        self._poll = select.poll()
        self.pid = self._process.pid

    def wait(self, wake: int, *, timeout_s: float, to_send: bool) -> None:
        """Wait until there is something to receive, room to send, or `wake` is readable."""
        self._poll.register(self._connection, select.POLLIN | (select.POLLOUT if to_send else 0))
        self._poll.register(wake, select.POLLIN)
        self._poll.poll(timeout_s * 1000)

    def send(self, datagram: bytes, descriptors: Sequence[int] = ()) -> bool:
        """Send a message; return False if there is no room for it at the moment.

        Raises:
            LifeEnded: the process has gone.
        """
        try:
            socket.send_fds(self._connection, [datagram], descriptors)
        except BlockingIOError:
            return False
        except OSError as error:
            raise LifeEnded(f"it has gone ({error.strerror})") from error
        return True

    def receive(self) -> list[dict[str, Any]]:
        """Return what has come, without waiting.

        Raises:
            LifeEnded: the process has closed its end, or sent what is no message.
        """
        messages: list[dict[str, Any]] = []
        while len(messages) < AT_ONCE:
            try:
                datagram = self._connection.recv(wire.MAX_BYTES)
            except BlockingIOError:
                break
            except OSError:
                datagram = b""
            if not datagram:
                if messages:
                    break  # said again by the next call, after what came before it is dealt with
                raise LifeEnded(f"its process ended with {self._exit_code(EXIT_WAIT_S)}")
            try:
                messages.append(wire.decode(datagram))
            except ValueError as error:
                raise LifeEnded(str(error)) from error
        return messages

    def end(self, grace_s: float) -> int | None:
        """Wait for the process to end by itself, then kill it; return its exit code."""
        self._connection.close()
        code = self._exit_code(grace_s)
        if code is None:
            self._process.kill()
            code = self._exit_code(KILL_WAIT_S)
        return code

    def _exit_code(self, timeout_s: float) -> int | None:
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
