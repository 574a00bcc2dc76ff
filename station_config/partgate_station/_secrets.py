"""Passwords in what people write: found, never shown, and not where others can read them."""

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_IN_ADDRESS = re.compile(r"(://[^:/@\s\"']*):[^/@\s\"']*@")
_NAMED = re.compile(r"(pass\w*?|pwd|token|key|secret|auth)=[^&/?#\s\"']*", re.IGNORECASE)

# Narrower than what is masked: masking too much costs nothing, refusing a file without a secret does.
_IS_SECRET = re.compile(
    r"://[^:/\s]*:[^/\s]+@|(?:^|[^a-z0-9])(?:pass\w*?|pwd|token|key|secret|auth)=[^&/?#\s]|\bauthorization:\s*\S",
    re.IGNORECASE,
)
_NAMES_SECRET = re.compile(
    r"(?:^|_)(?:pass|password|passwd|passphrase|pwd|token|secret|key|auth)$", re.IGNORECASE
)


def masked(text: str) -> str:
    """Return a text without the passwords of addresses in it: `rtsp://name:***@host`, `pwd=***`."""
    return _NAMED.sub(r"\1=***", _IN_ADDRESS.sub(r"\1:***@", text))


def secrets_in(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield where a file's settings hold a password, as `cameras[0].source`; never the password."""
    for where, name, value in _texts(document, ""):
        if _IS_SECRET.search(value) or (value and _NAMES_SECRET.search(name)):
            yield where


def readable_by_others(path: Path) -> str | None:
    """Return a file's mode, as `0644`, if every user of the machine may read it; None if not.

    Its group may: a service's files often belong to root and to the service's group.
    """
    if os.name != "posix":
        return None  # there the mode says nothing
    mode = stat.S_IMODE(path.stat().st_mode)
    return f"{mode:04o}" if mode & stat.S_IROTH else None


def _texts(value: object, where: str) -> Iterator[tuple[str, str, str]]:
    """Yield every text with its place and its own name."""
    if isinstance(value, str):
        yield where, where.rpartition(".")[2], value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{where}.{name}" if where else name)
    elif isinstance(value, Sequence):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{where}[{number}]")
