"""Files that are there whole or not at all, many to one wait for the disk.

write_new, write_new, ... --> settle: bytes on disk --> renamed --> folders' names on disk

What is there already is not written again: replacing a file frees its blocks, and a file system that tells
its disk so (mounted with `discard`) makes everybody's next commit wait for that, the journal's as well.
"""

import contextlib
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from partgate.records._errors import StoreUnwritable

INCOMING = ".incoming"
"""The folder, beside those of files by their hash, in which files are until they are whole."""

_numbers = itertools.count()
_named: set[Path] = set()  # folders whose own names this process has put on the disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A temporary file's name, and its descriptor, open until it is settled."""

    temporary: Path
    descriptor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A file that is not durable yet, or was there before under a name that may not be."""

    path: Path
    """Its place once it is settled."""

    sha256: str
    written: Written | None
    """None where the same bytes were in its place before."""


def write_new(path: Path, sha256: str, content: bytes) -> NewFile:
    """Write a file beside its place, unless the same bytes are in it; `settle` must follow either way.

    Raises:
        StoreUnwritable: the disk is full or cannot be written.
    """
    if _holds(path, content):
        return NewFile(path=path, sha256=sha256, written=None)
    # In a folder of their own: who looks for what a killed process left need not go through all images.
    temporary = path.parent.parent / INCOMING / f"{sha256}-{os.getpid()}-{next(_numbers)}.part"
    try:
        _make(path.parent)
        temporary.parent.mkdir(exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            _write(descriptor, content)
        except OSError:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _unwritable(path, error) from error
    return NewFile(path=path, sha256=sha256, written=Written(temporary=temporary, descriptor=descriptor))


def settle(files: Sequence[NewFile]) -> list[StoreUnwritable | None]:
    """Make files durable under their own names; return for each what was in the way, None if nothing.

    All their bytes are sent on their way before the first is waited for: the file system then commits once,
    and the waits after the first find nothing left to do.
    """
    for written in [file.written for file in files if file.written is not None]:
        # Starts writing back and does not wait; that it also forgets the pages costs nothing here.
        with contextlib.suppress(OSError):
            os.posix_fadvise(written.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    outcomes = [None if file.written is None else _settled(file.path, file.written) for file in files]
    folders = {folder: _synced(folder) for folder in {file.path.parent for file in files}}
    return [outcome or folders[file.path.parent] for file, outcome in zip(files, outcomes, strict=True)]


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable: a file's fsync does not cover its name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make(folder: Path) -> None:
    """Have a folder whose name is on the disk; one that is there may come from a process that was killed."""
    if folder in _named and folder.exists():
        return
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
    _named.add(folder)


def _holds(path: Path, content: bytes) -> bool:
    """Return whether a file is there with these bytes; one that cannot be read is to be written anew.

    One that is there is marked as wanted now, before it is read: who makes room leaves it for a while.
    """
    try:
        os.utime(path)
        return path.read_bytes() == content
    except OSError:
        return False


def _write(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _settled(path: Path, written: Written) -> StoreUnwritable | None:
    try:
        try:
            os.fdatasync(written.descriptor)
        finally:
            os.close(written.descriptor)
        written.temporary.replace(path)
    except OSError as error:
        written.temporary.unlink(missing_ok=True)
        return _unwritable(path, error)
    return None


def _synced(folder: Path) -> StoreUnwritable | None:
    try:
        sync_folder(folder)
    except OSError as error:
        return _unwritable(folder / "*", error)
    return None


def _unwritable(path: Path, error: OSError) -> StoreUnwritable:
    unwritable = StoreUnwritable(f"{path.parent}: an image cannot be written ({error.strerror})")
    unwritable.__cause__ = error
    return unwritable
