"""The address of a station's health pages: found, tried, and what is said where it cannot be had."""

import errno
import socket
from typing import Any

from partgate_station import Unavailable


def address_of(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    """Return the family and address that a server listens on.

    Raises:
        Unavailable: the host is none.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise Unavailable(
            f"[health] host = {host!r}: is no address that can be listened on ({error})"
        ) from error
    return family, address


def require_free(host: str, port: int) -> None:
    """Do nothing where the pages could be served now.

    Raises:
        Unavailable: the address or the port cannot be had; names both.
    """
    family, address = address_of(host, port)
    try:
        socket.create_server(address, family=family).close()
    except OSError as error:
        raise port_refused(host, port, error) from error


def port_refused(host: str, port: int, error: OSError) -> Unavailable:
    """Return why nobody can listen there."""
    match error.errno:
        case errno.EADDRINUSE:
            why = f"port {port} on {host}: another program has it; choose another, or 0 for a free one"
        case errno.EACCES:
            why = f"port {port} on {host}: needs more rights; choose one above 1023"
        case errno.EADDRNOTAVAIL:
            why = f"host {host}: is not an address of this machine; use 127.0.0.1, or 0.0.0.0 for all"
        case _:
            why = f"port {port} on {host}: cannot listen ({error.strerror})"
    return Unavailable(f"[health] {why}")
