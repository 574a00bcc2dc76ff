"""Files and folders that this process may not read, though it may be root's."""

import ctypes
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VERSION_3 = 0x20080522  # of the structures, from linux/capability.h
_READS_ALL = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
_EFFECTIVE = 0  # of three words: effective, permitted, inheritable


@contextmanager
def unreadable(path: Path) -> Iterator[Path]:
    """Take all permissions of a file or folder away, and from this thread the right to do without."""
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(0)
    try:
        with _as_anybody():
            yield path
    finally:
        path.chmod(mode)


@contextmanager
def _as_anybody() -> Iterator[None]:
    """Keep what root may do beyond its files' permissions from being in force; nobody else has any of it."""
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)  # 0: this thread
    rights = (ctypes.c_uint32 * 6)()
    _call("capget", header, rights)
    before = rights[_EFFECTIVE]
    rights[_EFFECTIVE] = before & ~_READS_ALL
    _call("capset", header, rights)
    try:
        yield
    finally:
        rights[_EFFECTIVE] = before
        _call("capset", header, rights)


def _call(name: str, header: object, rights: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(header, rights) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)
