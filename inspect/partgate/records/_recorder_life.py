"""One life of the recorder's process, as the line sees it: started, spoken to, ended for certain."""

import os
import select
import socket
from collections.abc import Sequence
from typing import Any

from partgate._recorder_start import StartedProcess
from partgate.records import _recorder_messages as wire
from partgate.records._home import Home

EXIT_WAIT_S = 0.25
AT_ONCE = 64  # messages


class LifeEnded(Exception):
    """The process has closed its end, or what it sends makes no sense. Stays in this package."""


class RecorderLife:
    """A process that records for one station. Used by one thread.

    Args:
        home: where it records.
        station_id: for whom.
        keep: which frames are kept.
        room_share: of the images' disk, to be kept free.
        process: started already; None starts one.

    Raises:
        LifeEnded: no process can be started, or it has gone already.
    """

    def __init__(
        self,
        home: Home,
        *,
        station_id: str,
        keep: str,
        room_share: float,
        process: StartedProcess | None = None,
    ) -> None:
        try:
            self._process = process or StartedProcess()
        except OSError as error:
            raise LifeEnded(f"it cannot be started ({error})") from error
        self._connection = self._process.connection
        self._poll = select.poll()
        self.pid = self._process.pid
        try:
            place = os.fsencode(home.path).hex()  # a path need not be text
            self.send(
                wire.encode("begin", home=place, station_id=station_id, keep=keep, room_share=room_share)
            )
        except LifeEnded:
            self._process.end()
            raise

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
                raise LifeEnded(f"its process ended with {self._process.exit_code(EXIT_WAIT_S)}")
            try:
                messages.append(wire.decode(datagram))
            except ValueError as error:
                raise LifeEnded(str(error)) from error
        return messages

    def end(self, grace_s: float) -> int | None:
        """Wait for the process to end by itself, then kill it; return its exit code."""
        return self._process.end(grace_s)
