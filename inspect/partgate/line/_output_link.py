"""A line of datagrams between a station and the controller of its gate."""

import contextlib
import select
import socket
from typing import Protocol

from partgate.line._output_messages import Heard, Told, decode, encode

MAX_BYTES = 4096


class LinkLost(Exception):
    """The other end has gone, or cannot be reached. Stays in this package."""


class GateLink(Protocol):
    """A station's end of the line to a gate. `receive` is one thread's; `send` may be called by any."""

    def send(self, message: Told) -> bool:
        """Send a message without waiting; return False if there is no room for it at the moment.

        Raises:
            LinkLost: nobody is there.
        """
        ...

    def receive(self, timeout_s: float) -> Told | Heard | None:
        """Return the next message; None if there is none in time.

        Raises:
            LinkLost: nobody is there any more.
        """
        ...

    def close(self) -> None:
        """Let go of the line: the other end sees that at once."""
        ...


class SocketLink:
    """Either end, over a connected SOCK_SEQPACKET socket, which it owns: a datagram is whole or not there."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(0)
        self._connection = connection
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def send(self, message: Told | Heard) -> bool:
        """Send a message without waiting; return whether there was room."""
        try:
            self._connection.send(encode(message))
        except BlockingIOError:
            return False
        except OSError as error:
            raise LinkLost(f"the other end has gone ({error.strerror})") from error
        return True

    def receive(self, timeout_s: float) -> Told | Heard | None:
        """Return the next message; None if there is none in time, or what came is no message."""
        if not self._poll.poll(timeout_s * 1000):
            return None
        try:
            datagram = self._connection.recv(MAX_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise LinkLost(f"the other end has gone ({error.strerror})") from error
        if not datagram:
            raise LinkLost("the other end has closed the line")
        with contextlib.suppress(ValueError):
            return decode(datagram)
        return None

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()
