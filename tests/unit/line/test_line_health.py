"""The health pages: read by programs, over real sockets."""

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from partgate.line._health_pages import health_pages
from partgate.line._health_server import READERS, HealthServer, Page
from partgate.line._metrics import StationMetrics
from partgate.line._notify import Notify
from partgate.line._supervision import Supervision
from partgate_station import Unavailable
from watched_station import FakeStation


@pytest.fixture
def pages() -> dict[str, Page]:
    return {"/live": Page(body=b"the loop turns\n")}


@pytest.fixture
def server(pages: dict[str, Page]) -> Iterator[HealthServer]:
    made = HealthServer("127.0.0.1", 0, {"/live": lambda: pages["/live"]})
    with contextlib.closing(made):
        yield made


def ask(server: HealthServer, path: str, method: str = "GET") -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers


def test_the_code_says_it_all(server: HealthServer, pages: dict[str, Page]) -> None:
    assert ask(server, "/live")[:2] == (200, "the loop turns\n")
    assert ask(server, "/live?now")[0] == 200
    pages["/live"] = Page(body=b"it stands still\n", is_well=False)
    status, text, headers = ask(server, "/live")
    assert (status, text) == (503, "it stands still\n")
    assert headers["Cache-Control"] == "no-store"
    assert ask(server, "/live", "HEAD")[:2] == (503, "")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/../etc/passwd", 404),
        ("GET", "/<script>", 404),
        ("POST", "/live", 501),
        ("DELETE", "/live", 501),
    ],
)
def test_there_is_nothing_else(server: HealthServer, method: str, path: str, status: int) -> None:
    answered, text, headers = ask(server, path, method)
    assert answered == status
    assert "<script>" not in text
    assert "Python" not in headers["Server"]


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Unavailable, match=rf"port {port} on 127.0.0.1: another program has it") as caught:
            HealthServer("127.0.0.1", port, {})
    assert caught.value.exit_code == 69


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1"])
def test_an_address_that_is_not_ours_is_named(host: str) -> None:
    with pytest.raises(Unavailable, match=host):
        HealthServer(host, 0, {})


def test_readers_that_say_nothing_do_not_shut_others_out_for_ever(server: HealthServer) -> None:
    address = ("127.0.0.1", server.port)
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(address, 10)) for _ in range(READERS)]
        for one in silent:
            one.sendall(b"GET /li")
        began_s = time.monotonic()
        refused = 0
        while True:  # one more is refused, not kept waiting; when their time is over there is room again
            try:
                if ask(server, "/live")[0] == 200:
                    break
            except (ConnectionError, http.client.HTTPException):
                refused += 1
            assert time.monotonic() - began_s < 30
            time.sleep(0.05)
    assert refused


def test_the_end_does_not_wait_for_who_says_nothing(pages: dict[str, Page]) -> None:
    server = HealthServer("127.0.0.1", 0, {"/live": lambda: pages["/live"]})
    with socket.create_connection(("127.0.0.1", server.port), 10):
        server.close()


def test_the_pages_of_a_station(tmp_path: Path) -> None:
    station, metrics = FakeStation(tmp_path), StationMetrics("one")
    with (
        Supervision("one", notify=Notify(None), metrics=metrics) as supervision,
        contextlib.closing(HealthServer("127.0.0.1", 0, health_pages(supervision, metrics))) as server,
    ):
        assert ask(server, "/live")[:2] == (200, "starting\n")
        status, text, _ = ask(server, "/ready")
        assert (status, json.loads(text)["why"]) == (503, "starting")
        station.cameras[0].problem = "lost"
        supervision.watch(station.watched())
        supervision.turned()
        status, text, _ = ask(server, "/ready")
        assert status == 503
        assert json.loads(text)["why"] == "camera top: lost"
        status, text, headers = ask(server, "/metrics")
        assert status == 200
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert 'partgate_proof{proof="camera top",station="one"} 0.0' in text
        supervision._pulse._last_s -= 3600
        status, text, _ = ask(server, "/live")
        assert status == 503
        assert "has not turned for" in text
