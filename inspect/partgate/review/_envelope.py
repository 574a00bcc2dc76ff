"""What holds for every request and every response, errors and images included."""

import ipaddress
import secrets
import traceback
from collections.abc import Collection

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from partgate.review._site import Site

log = structlog.get_logger(__name__)

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
MAX_BODY_BYTES = 64 * 1024

# `same-origin` and not `no-referrer`: with the latter browsers send `Origin: null` with every form,
# and the gate could not tell our forms from those of others. Other sites learn nothing either way.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Envelope:
    """ASGI middleware: numbers requests, checks Host, bounds bodies, adds headers, catches crashes."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: Collection[str]) -> None:
        self._app = app
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        request.state.request_id = secrets.token_hex(8)
        outgoing = _Outgoing(send)
        await self._answer(request, _bounded(receive), outgoing)

    async def _answer(self, request: Request, receive: Receive, outgoing: "_Outgoing") -> None:
        site: Site = request.app.state.site
        if not self._is_our_host(request.scope):
            await site.pages.error(request, 400)(request.scope, receive, outgoing)
        elif _announced_bytes(request) > MAX_BODY_BYTES:
            await site.pages.error(request, 413)(request.scope, receive, outgoing)
        else:
            await self._run(request, receive, outgoing, site)

    async def _run(self, request: Request, receive: Receive, outgoing: "_Outgoing", site: Site) -> None:
        try:
            await self._app(request.scope, receive, outgoing)
        except Exception:
            # The top of a request: turned into a page, and into a log line with the same number.
            # As text: a renderer of its own choice may print local variables, passwords among them.
            told = {"request_id": request.state.request_id, "path": request.url.path}
            log.error("request failed", **told, traceback=traceback.format_exc())
            if outgoing.started:
                raise
            await site.pages.error(request, 500)(request.scope, receive, outgoing)

    def _is_our_host(self, scope: Scope) -> bool:
        """Compare Host to the names allowed, so that no other name can be pointed at this site.

        The address the connection came in on is allowed too: it cannot be pointed anywhere else.
        """
        name = _without_port(Headers(scope=scope).get("host", ""))
        server = scope.get("server")
        return name in self._allowed_hosts or (server is not None and _is_address(name, server[0]))


class _Outgoing:
    """Adds the headers that every response carries; what a route set itself stays."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await self._send(message)


def _bounded(receive: Receive) -> Receive:
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MAX_BODY_BYTES:
            raise HTTPException(413)
        return message

    return bounded


def _announced_bytes(request: Request) -> int:
    length = request.headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() else MAX_BODY_BYTES + 1


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()


def _is_address(name: str, server: str) -> bool:
    try:
        return ipaddress.ip_address(name.strip("[]")) == ipaddress.ip_address(server)
    except ValueError:
        return False
