"""The server itself: where it listens, what it says, how it ends."""

import contextlib
import http.client
import queue
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import Session

from partgate.records import User
from partgate.review import CannotListen, _connections, serve


@contextmanager
def _serving(home: Any, **options: Any) -> Iterator[str]:
    """Serve in a thread; gives what was announced."""
    said: queue.Queue[str] = queue.Queue()
    stop = threading.Event()
    thread = threading.Thread(
        target=serve, args=(home,), kwargs={"port": 0, "announce": said.put, "stop": stop, **options}
    )
    thread.start()
    try:
        yield said.get(timeout=30)
    finally:
        stop.set()
        thread.join(timeout=20)
    assert not thread.is_alive()


def _url(announced: str) -> str:
    found = re.search(r"https?://\S+", announced)
    assert found is not None
    return found[0]


def test_it_takes_a_free_port_answers_and_ends(line: Any) -> None:
    with _serving(line.home) as announced:
        url = _url(announced)
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        assert httpx.get(f"{url}/live").text == "ok"
        assert httpx.get(f"{url}/live", headers={"host": "evil.example"}).status_code == 400
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/live")


def test_it_listens_on_loopback_alone(line: Any) -> None:
    with _serving(line.home) as announced:
        port = int(_url(announced).rpartition(":")[2])
        sockets = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        listening = [row[1] for row in sockets if row[3] == "0A"]
        assert [entry for entry in listening if entry.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


def test_the_set_up_link_is_announced_until_somebody_can_log_in(line: Any) -> None:
    with _serving(line.home) as announced:
        link = re.search(r"http://\S+/setup\?token=\S{43}", announced)
        assert link is not None
        assert httpx.get(link[0]).status_code == 200
    line.write(_add_user)
    with _serving(line.home) as announced:
        assert "setup" not in announced
        assert httpx.get(f"{_url(announced)}/setup?token=x").status_code == 404


def _add_user(session: Session) -> None:
    session.add(User(name="Mara", password_hash="$argon2id$none"))


def test_names_given_are_answered_too(line: Any) -> None:
    with _serving(line.home, allowed_hosts=["review.plant.example"]) as announced:
        headers = {"host": "review.plant.example"}
        assert httpx.get(f"{_url(announced)}/live", headers=headers).status_code == 200


def test_listening_for_others_says_that_https_is_needed(line: Any) -> None:
    with _serving(line.home, host="0.0.0.0") as announced:
        assert "HTTPS" in announced
        port = _url(announced).rpartition(":")[2]
        assert httpx.get(f"http://127.0.0.1:{port}/live").status_code == 200


def test_a_taken_port_is_said(line: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotListen, match=f"port {port} on 127.0.0.1: another program has it"):
            serve(line.home, port=port, announce=print)


@pytest.mark.parametrize("host", ["203.0.113.7", "no such name"])
def test_an_address_that_is_not_ours_is_said(host: str, line: Any) -> None:
    with pytest.raises(CannotListen, match=host):
        serve(line.home, host=host, port=0, announce=print)


def test_a_client_that_says_nothing_does_not_keep_the_site_from_ending(line: Any) -> None:
    with _serving(line.home) as announced:
        port = int(_url(announced).rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as silent:
            silent.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            began = time.monotonic()
    assert time.monotonic() - began < 15


def _closes(connection: socket.socket) -> bool:
    """Return whether the other end closes a connection, having said nothing."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", id="half a head"),
        pytest.param(
            b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nContent-Length: 9\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\nname",
            id="half a body",
        ),
    ],
)
def test_a_request_that_does_not_come_is_not_waited_for(
    said: bytes, line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connections, "REQUEST_S", 0.2)
    with _serving(line.home) as announced:
        port = int(_url(announced).rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
            slow.sendall(said)
            assert _closes(slow)
        assert httpx.get(f"{_url(announced)}/live").text == "ok"


def test_a_deadline_is_a_requests_and_not_a_connections(line: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connections, "REQUEST_S", 0.5)
    with _serving(line.home) as announced:
        port = int(_url(announced).rpartition(":")[2])
        # One that does not connect anew by itself.
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as client:
            for _ in range(4):
                client.request("GET", "/live")
                assert client.getresponse().read() == b"ok"
                time.sleep(0.25)


def test_one_address_has_so_many_connections(line: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connections, "PER_ADDRESS", 3)
    with _serving(line.home) as announced:
        port = int(_url(announced).rpartition(":")[2])
        with contextlib.ExitStack() as opened:
            for _ in range(3):
                opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            with socket.create_connection(("127.0.0.1", port), timeout=20) as beyond:
                assert _closes(beyond)
        deadline_s = time.monotonic() + 20
        while time.monotonic() < deadline_s:
            with contextlib.suppress(httpx.TransportError):
                assert httpx.get(f"{_url(announced)}/live").text == "ok"
                return
        pytest.fail("nobody is let in after the others have gone")


def test_parts_written_by_another_database_show_at_once(line: Any) -> None:
    with _serving(line.home) as announced:
        token = re.search(r"token=(\S+)", announced)
        assert token is not None
        with httpx.Client(base_url=_url(announced), headers={"origin": _url(announced)}) as client:
            page = client.get("/setup", params={"token": token[1]})
            csrf = re.search(r'name="csrf" value="(\w+)"', page.text)
            assert csrf is not None
            words = {"name": "Mara", "password": "a few words of mine", "again": "a few words of mine"}
            # Like other clients, this one keeps Secure cookies off plain HTTP; a browser trusts loopback.
            cookie = page.headers["set-cookie"].split(";")[0]
            data = {"csrf": csrf[1], "token": token[1], **words}
            answer = client.post("/setup", data=data, headers={"cookie": cookie})
            assert answer.status_code == 303
            cookie = answer.headers["set-cookie"].split(";")[0]
            part = line.part()
            assert str(part) in client.get("/", headers={"cookie": cookie}).text
