"""A small RTSP server: hands what one program publishes to those that ask for it, over TCP.

FFmpeg publishes and FFmpeg plays; this only stands between them, as a camera's server would. RFC 2326, with
RTP interleaved on the connection.
"""

import base64
import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import Self

TURN_S = 0.05


@dataclass
class RtspRelay:
    """Serves on a free port of this machine; `password` of the name `viewer`, where there is one."""

    password: str | None = None
    port: int = 0
    refused: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _players: list[socket.socket] = field(default_factory=list)
    _description: bytes = b""
    published: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(TURN_S)
        self.port = self._server.getsockname()[1]
        self._start(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)
        self._server.close()

    def url(self, name: str = "") -> str:
        """Return the stream's address."""
        return f"rtsp://{name + '@' if name else ''}127.0.0.1:{self.port}/parts"

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="rtsp")  # type: ignore[arg-type] # ours
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._server.accept()
                connection.settimeout(TURN_S)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        reader = _Reader(connection, self._stop)
        with connection, contextlib.suppress(OSError, EOFError):
            while True:
                first = reader.take(1)
                if first == b"$":
                    head = reader.take(3)
                    self._forward(first + head + reader.take(int.from_bytes(head[1:], "big")))
                else:
                    self._answer(connection, (first + reader.until(b"\r\n\r\n")).decode(), reader)

    def _forward(self, packet: bytes) -> None:
        for player in list(self._players):
            try:
                player.sendall(packet)
            except OSError:
                self._players.remove(player)

    def _answer(self, connection: socket.socket, request: str, reader: "_Reader") -> None:
        method, *_ = request.split(" ", 1)
        said = dict(line.split(": ", 1) for line in request.splitlines()[1:] if ": " in line)
        body = reader.take(int(said.get("Content-Length", "0")))
        more, content, status = "", b"", "200 OK"
        if method in {"DESCRIBE", "SETUP", "PLAY"} and not self._may(said):
            self.refused += 1
            status, more = "401 Unauthorized", 'WWW-Authenticate: Basic realm="parts"\r\n'
        elif method == "ANNOUNCE":
            self._description = body
        elif method == "DESCRIBE":
            content, more = self._description, "Content-Type: application/sdp\r\n"
        elif method == "SETUP":
            more = f"Transport: {said['Transport']}\r\n"
        elif method == "OPTIONS":
            more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, ANNOUNCE, RECORD, TEARDOWN\r\n"
        length = f"Content-Length: {len(content)}\r\n" if content else ""
        connection.sendall(
            f"RTSP/1.0 {status}\r\nCSeq: {said['CSeq']}\r\nSession: 1\r\n{more}{length}\r\n".encode()
            + content
        )
        if method == "RECORD":
            self.published.set()
        elif method == "PLAY" and status.startswith("200"):
            self._players.append(connection)

    def _may(self, said: dict[str, str]) -> bool:
        # Who publishes never asks for a description, but sets up without a name: it needs none.
        if self.password is None or "mode=record" in said.get("Transport", "").lower():
            return True
        expected = base64.b64encode(f"viewer:{self.password}".encode()).decode()
        return said.get("Authorization") == f"Basic {expected}"


class _Reader:
    def __init__(self, connection: socket.socket, stop: threading.Event) -> None:
        self._connection, self._stop, self._held = connection, stop, b""

    def take(self, count: int) -> bytes:
        while len(self._held) < count:
            self._more()
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def until(self, mark: bytes) -> bytes:
        while mark not in self._held:
            self._more()
        return self.take(self._held.index(mark) + len(mark))

    def _more(self) -> None:
        while True:
            if self._stop.is_set():
                raise EOFError
            with contextlib.suppress(TimeoutError):
                more = self._connection.recv(65536)
                if not more:
                    raise EOFError
                self._held += more
                return
