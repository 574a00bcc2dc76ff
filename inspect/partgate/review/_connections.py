"""How long a client may take to say what it wants, and how many connections one address may have.

The server lets in so many connections at once. Without this, a few silent ones would hold them for ever, and
nobody could log in.
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S = 10.0
"""For a request's head and what little of a body a form has."""
PER_ADDRESS = 60
"""Below what the server lets in, and far above the six of a browser: several may come through one proxy."""


class PatientProtocol(H11Protocol):
    """Closes connections whose request does not come in time, and those an address has too many of."""

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)  # type: ignore[arg-type]  # as uvicorn narrows it
        if self._of_this_address() > PER_ADDRESS:
            self.transport.abort()
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait on for the rest of a request; between requests uvicorn has a deadline of its own."""
        super().data_received(data)
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            self._wait()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._due is None:
            self._due = self.loop.call_later(REQUEST_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _give_up(self) -> None:
        self._due = None
        self.transport.abort()

    def _of_this_address(self) -> int:
        """Count the connections of this one's address, itself among them; none where it has no address."""
        if self.client is None:
            return 0
        clients = [getattr(other, "client", None) for other in self.connections]
        return sum(client is not None and client[0] == self.client[0] for client in clients)
