"""Runs the site until it is told to stop."""

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import uvicorn

from partgate.records import Database, Home
from partgate.review._app import create_app
from partgate.review._connections import PatientProtocol
from partgate.review._envelope import LOOPBACK_NAMES
from partgate.review._errors import CannotListen
from partgate.review._tokens import new_token
from partgate.review._users import any_user

GRACE_S = 5
POLL_S = 0.1
BACKLOG = 64
CONNECTIONS = 100
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def serve(
    home: Home,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    announce: Callable[[str], None],
    stop: threading.Event | None = None,
    allowed_hosts: Collection[str] = (),
    certificate: Path | None = None,
    private_key: Path | None = None,
) -> None:
    """Serve the review site; returns after `stop` is set or the process is asked to end.

    Args:
        home: whose parts are reviewed.
        host: the name or address to listen on.
        port: 0 takes a free one.
        announce: called once the site answers, in this thread, with the lines a person should see.
        stop: ends the site when set.
        allowed_hosts: more names the site is reached by, as behind a proxy.
        certificate: a PEM file; with it the site speaks HTTPS.
        private_key: a PEM file; None where the certificate's file holds it.

    Raises:
        CannotListen: the address is not this machine's, or the port is taken.
        StoreError: the records cannot be opened.
    """
    token = None if _has_users(home) else new_token()
    names = LOOPBACK_NAMES | {_in_address(host)} | set(allowed_hosts)
    if host not in LOOPBACK:
        names |= {socket.gethostname()}
    with _listening(host, port) as listener:
        config = uvicorn.Config(
            create_app(home, setup_token=token, allowed_hosts=names),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="on",
            backlog=BACKLOG,
            limit_concurrency=CONNECTIONS,
            http=PatientProtocol,
            timeout_graceful_shutdown=GRACE_S,
            ssl_certfile=certificate,
            ssl_keyfile=private_key,
        )
        url = f"{'https' if certificate else 'http'}://{_in_address(host)}:{listener.getsockname()[1]}"
        text = _announcement(url, token, reachable=certificate is not None or host in LOOPBACK)
        server = uvicorn.Server(config)
        # Ctrl-C is how a person ends a site; uvicorn has shut down in good order when it raises this.
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_run(server, listener, lambda: announce(text), stop))


def _has_users(home: Home) -> bool:
    database = Database.open(home)
    try:
        with database.read() as session:
            return any_user(session)
    finally:
        database.close()


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotListen(f"{host}: is no address that can be listened on ({error.strerror})") from error
    with contextlib.closing(listener):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            raise CannotListen(_refusal(host, port, error)) from error
        yield listener


def _refusal(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} on {host}: another program has it; choose another port, or 0 for a free one"
        case errno.EACCES:
            return f"port {port} on {host}: needs more rights; choose one above 1023, or 0 for a free one"
        case errno.EADDRNOTAVAIL:
            return f"{host}: is not an address of this machine; use 127.0.0.1, or 0.0.0.0 for all it has"
        case _:
            return f"port {port} on {host}: cannot listen ({error.strerror})"


async def _run(
    server: uvicorn.Server,
    listener: socket.socket,
    announce: Callable[[], None],
    stop: threading.Event | None,
) -> None:
    watching = asyncio.create_task(_watch(server, announce, stop))
    try:
        await server.serve(sockets=[listener])
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def _watch(server: uvicorn.Server, announce: Callable[[], None], stop: threading.Event | None) -> None:
    """Announce the site once it answers, then wait for the word to stop."""
    while not server.started:
        await asyncio.sleep(POLL_S)
    announce()
    while stop is not None and not stop.is_set():
        await asyncio.sleep(POLL_S)
    if stop is not None:
        server.should_exit = True


def _announcement(url: str, token: str | None, *, reachable: bool) -> str:
    lines = [f"Review site: {url}"]
    if token is not None:
        lines.append(
            f"Nobody can log in yet. Open this link once to set up the first user: {url}/setup?token={token}"
        )
    if not reachable:
        lines.append(
            "Browsers on other machines log in over HTTPS only: give a certificate, or put a proxy in front."
        )
    return "\n".join(lines)


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host
