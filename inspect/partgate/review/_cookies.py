"""The names of the site's cookies.

A browser keeps cookies by host and not by port: stations whose sites are forwarded to ports of one machine
would end each other's logins, if the names did not tell them apart.
"""

import hashlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from partgate.records import Home

MACHINE_ID = Path("/etc/machine-id")


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieNames:
    """What the cookies of one home's site are called."""

    login: str
    form: str
    """Ties the forms of people who are not logged in yet to their browser."""
    known: str
    """How the cookies begin that say who has logged in from this browser before."""


def cookie_names(home: Home) -> CookieNames:
    """Return the names for a home: the same at each start, others for each home and machine."""
    identity = b"\0".join([_machine(), os.fsencode(home.path)])
    mark = hashlib.sha256(identity).hexdigest()[:12]
    return CookieNames(
        login=f"__Host-partgate-{mark}",
        form=f"__Host-partgate-form-{mark}",
        known=f"__Host-partgate-known-{mark}",
    )


def _machine() -> bytes:
    """Return what tells this machine from others; its name too, as copied machines share their id."""
    try:
        machine_id = MACHINE_ID.read_bytes().strip()
    except OSError:
        machine_id = b""
    return machine_id + b"\0" + os.fsencode(socket.gethostname())
