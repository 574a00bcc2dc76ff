"""What the service manager hears, through a real socket of its kind."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from partgate.line._notify import LONGEST_STATUS, Notify
from partgate.line._pulse import Pulse


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@partgate-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listener.settimeout(5)
        yield listener, name


def told(listener: socket.socket, count: int) -> list[str]:
    return [listener.recv(4096).decode() for _ in range(count)]


def nothing_more(listener: socket.socket) -> bool:
    listener.settimeout(0)
    with pytest.raises(BlockingIOError):
        listener.recv(4096)
    return True


def test_everything_is_heard_in_order(manager: tuple[socket.socket, str]) -> None:
    listener, name = manager
    notify = Notify.from_environment({"NOTIFY_SOCKET": name})
    notify.status("tile, 3 parts,\nready")
    assert notify.ready()
    notify.alive()
    notify.still_starting(1.5)
    notify.stopping()
    assert told(listener, 5) == [
        "STATUS=tile, 3 parts, ready",
        "READY=1",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=1500000",
        "STOPPING=1",
    ]
    notify.status("x" * 5000)
    assert len(told(listener, 1)[0]) == len("STATUS=") + LONGEST_STATUS
    notify.close()
    notify.alive()
    assert nothing_more(listener)


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({}, id="no manager"),
        pytest.param({"NOTIFY_SOCKET": ""}, id="empty"),
        pytest.param({"NOTIFY_SOCKET": "vsock:2:1234"}, id="vsock"),
    ],
)
def test_nobody_listens_and_nothing_fails(environment: dict[str, str]) -> None:
    notify = Notify.from_environment(environment)
    assert not notify.is_heard
    assert notify.ready()  # nothing is left to be said
    notify.close()


@pytest.mark.parametrize(
    ("environment", "every_s"),
    [
        pytest.param({"WATCHDOG_USEC": "30000000"}, 10.0, id="every process"),
        pytest.param({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.0, id="this process"),
        pytest.param({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None, id="another process"),
        pytest.param({"WATCHDOG_USEC": "soon"}, None, id="no number"),
        pytest.param({"WATCHDOG_USEC": "0"}, None, id="zero"),
        pytest.param({}, None, id="not asked for"),
    ],
)
def test_how_often_a_sign_of_life_is_wanted(
    environment: dict[str, str], every_s: float | None, tmp_path: Path
) -> None:
    notify = Notify.from_environment({"NOTIFY_SOCKET": str(tmp_path / "none"), **environment})
    assert notify.watchdog_every_s == every_s
    notify.close()


def test_a_manager_that_has_gone_costs_the_station_nothing(tmp_path: Path) -> None:
    notify = Notify(str(tmp_path / "gone"))
    assert not notify.ready()  # it is said again
    notify.alive()
    notify.close()


def test_a_manager_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    name = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)
        notify = Notify(name)
        taken = [notify.ready() for _ in range(5000)]  # far more than the kernel's queue holds
        assert taken[0]
        assert not taken[-1]
        notify.close()


def test_the_pulse_asks_for_time_until_the_start_is_over_and_feeds_the_watchdog(
    manager: tuple[socket.socket, str],
) -> None:
    listener, name = manager
    notify = Notify(name, watchdog_s=0.0003)
    pulse = Pulse(notify)
    assert not pulse.has_begun
    pulse.beat()
    assert told(listener, 2) == ["EXTEND_TIMEOUT_USEC=30000000", "WATCHDOG=1"]
    pulse.is_started = True
    while True:  # 0.1 ms later the next is due
        pulse.beat()
        try:
            listener.settimeout(0)
            assert listener.recv(4096) == b"WATCHDOG=1"
            break
        except BlockingIOError:
            continue
    notify.close()


def test_no_more_signs_are_given_than_are_wanted(manager: tuple[socket.socket, str]) -> None:
    listener, name = manager
    notify = Notify(name, watchdog_s=3600)
    pulse = Pulse(notify)
    pulse.is_started = True
    for _ in range(1000):
        pulse.beat()
    assert told(listener, 1) == ["WATCHDOG=1"]
    assert nothing_more(listener)
    notify.close()


def test_a_loop_that_stands_still_is_said_to(manager: tuple[socket.socket, str]) -> None:
    pulse = Pulse(Notify(None))
    pulse.beat()
    assert pulse.problem(within_s=3600) is None
    problem = pulse.problem(within_s=-1)
    assert problem is not None
    assert "has not turned for" in problem
