"""A small HTTP server beside the loop: `/live`, `/ready` and `/metrics`, to be read and nothing else.

Python's own: three pages without a form, a session or a file need no framework, and a station whose review
is another process loads none.
"""

import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

import structlog

from partgate._health_port import address_of, port_refused

READERS = 8  # at a time; one more is REFUSED by closing its connection
READ_TIMEOUT_S = 2.0
POLL_S = 0.1
JOIN_S = 5.0
TEXT, JSON = "text/plain; charset=utf-8", "application/json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An answer."""

    body: bytes
    kind: str = TEXT
    is_well: bool = True
    """False answers 503: a program that watches looks at the code alone."""


Pages = Mapping[str, Callable[[], Page]]


class _Reader(BaseHTTPRequestHandler):
    """One connection, one answer."""

    server: "_Server"
    server_version, sys_version = "partgate", ""
    timeout = READ_TIMEOUT_S

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as http.server names it
        """Say nothing: a page that is read every few seconds is no news."""

    def _answer(self, *, body: bool) -> None:
        make = self.server.pages.get(self.path.partition("?")[0])
        if make is None:
            self.send_error(HTTPStatus.NOT_FOUND, explain=f"there are {', '.join(self.server.pages)}")
            return
        page = make()
        self.send_response(HTTPStatus.OK if page.is_well else HTTPStatus.SERVICE_UNAVAILABLE)
        self.send_header("Content-Type", page.kind)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if body:
            self.wfile.write(page.body)


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Answers in a thread per connection; at most `READERS` of them."""

    allow_reuse_address = True
    daemon_threads = False  # so that its end waits for them: each has `READ_TIMEOUT_S`
    block_on_close = True

    def __init__(self, family: socket.AddressFamily, address: Any, pages: Pages) -> None:
        self.address_family, self.pages = family, pages
        self._places = threading.BoundedSemaphore(READERS)
        super().__init__(address, _Reader)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, unless too many are there."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, in the connection's thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's
        """Say what failed, unless it is only that the reader has gone."""
        error = sys.exception()
        if not isinstance(error, OSError):
            log.error("a health page failed", client=str(client_address), exc_info=error)


class HealthServer:
    """Serves pages from threads of its own until it is closed.

    Args:
        host: an address of this machine.
        port: 0 takes a free one.
        pages: by path; each is made anew for every reader.

    Raises:
        Unavailable: the address or the port cannot be had; names both.
    """

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        self._server = _listening(host, port, pages)
        self.host, self.port = host, int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_S,), name=f"health-{self.port}", daemon=True
        )
        self._thread.start()
        log.info("health pages", address=f"{host}:{self.port}", pages=list(pages))

    def close(self) -> None:
        """Answer who is being answered, and end."""
        self._server.shutdown()
        self._thread.join(JOIN_S)
        self._server.server_close()


def _listening(host: str, port: int, pages: Pages) -> _Server:
    family, address = address_of(host, port)
    try:
        return _Server(family, address, pages)
    except OSError as error:
        raise port_refused(host, port, error) from error
