"""What the station tells systemd, where systemd has started it: `sd_notify`, without its library.

Source: sd_notify(3) and systemd.service(5): datagrams of `NAME=value` lines to the socket that the
environment names; its name begins with `@` where it is an abstract one.
"""

import os
import socket
from collections.abc import Mapping
from typing import Self

import structlog

WATCHDOG_SHARE = 3  # signs of life in the time that systemd gives
LONGEST_STATUS = 500  # characters: systemctl shows one line

log = structlog.get_logger(__name__)


class Notify:
    """Tells the service manager. Never waits and never fails: parts come first.

    Args:
        address: the socket's name; None where nobody listens, and nothing is sent.
        watchdog_s: within this a sign of life is wanted; None: never.
    """

    def __init__(self, address: str | None, *, watchdog_s: float | None = None) -> None:
        self._address = _kernel_name(address) if address else None
        self._socket: socket.socket | None = None
        if self._address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(0)
        self.watchdog_every_s = None if watchdog_s is None else watchdog_s / WATCHDOG_SHARE
        """How often a sign of life is to be given; None: never."""
        self._is_refused = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Return what speaks to the manager that the environment names, if it does."""
        told = os.environ if environment is None else environment
        address = told.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):  # none, or a virtual machine's vsock
            return cls(None)
        return cls(address, watchdog_s=_watchdog_s(told))

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens."""
        return self._socket is not None

    def ready(self) -> bool:
        """Say that the start is over; return whether it was taken, to be said again otherwise."""
        return self._send("READY=1")

    def stopping(self) -> None:
        """Say that the station ends."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Give a sign of life."""
        self._send("WATCHDOG=1")

    def still_starting(self, within_s: float) -> None:
        """Ask for more time to start: another sign follows within it."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(within_s * 1e6)}")

    def status(self, sentence: str) -> None:
        """Have a sentence shown by `systemctl status`."""
        self._send(f"STATUS={' '.join(sentence.split())[:LONGEST_STATUS]}")

    def close(self) -> None:
        """Let go of the socket; nothing is sent any more."""
        made, self._socket = self._socket, None
        if made is not None:
            made.close()

    def _send(self, line: str) -> bool:
        if self._socket is None or self._address is None:
            return True
        try:
            self._socket.sendto(line.encode(), self._address)
        except BlockingIOError:
            return False  # the manager is behind
        except OSError as error:
            self._refused(error)
            return False
        self._is_refused = False
        return True

    def _refused(self, error: OSError) -> None:
        if not self._is_refused:
            self._is_refused = True
            log.warning("the service manager cannot be told", socket=str(self._address), error=error.strerror)


def _kernel_name(address: str) -> str:
    return f"\0{address[1:]}" if address.startswith("@") else address


def _watchdog_s(told: Mapping[str, str]) -> float | None:
    """Return within what time this process is to give a sign of life; None: it is not asked to."""
    if told.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        period_us = int(told.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return period_us / 1e6 if period_us > 0 else None
