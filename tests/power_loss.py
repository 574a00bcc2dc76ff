"""A disk whose power may go at any moment: what was written to it, in order, and what may be left of it.

After a cut a file holds all that was synced. Of what was not, each sector is there, is not, or is garbage,
within the bytes that were written ("powersafe overwrite", which SQLite counts on). A name (of a new file, a
renamed one, a folder) is there for certain once its folder was synced, and before that it may be.
"""

import ctypes
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SECTOR_BYTES = 512
SQLITE_OK = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrote:
    """Bytes went to a file; `data` None: it was cut or extended to `offset`."""

    file: int
    offset: int
    data: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A name began to mean a file; None: a folder."""

    path: Path
    file: int | None
    instead_of: Path | None = None
    """The name that it had before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What was written to a file, or the names of a folder, were put on the disk."""

    what: int | Path


@dataclass
class Disk:
    """Notes what happens to files. By any thread, one at a time."""

    root: Path
    started_with: dict[int, bytes] = field(default_factory=dict)
    done: list[Wrote | Named | Synced] = field(default_factory=list)
    keeps_its_word: bool = True
    """False: it says that things are synced, and they are not."""

    there: frozenset[Path] = frozenset()
    """Folders that were on the disk before."""

    _files: dict[int, tuple[int, Path]] = field(default_factory=dict)  # by descriptor
    _folders: dict[int, Path] = field(default_factory=dict)
    _by_name: dict[Path, int] = field(default_factory=dict)
    _ends: dict[int, int] = field(default_factory=dict)
    _number: int = 0

    def new(self, path: Path, content: bytes = b"") -> int:
        """Return the number of a file that is there already."""
        self._number += 1
        self.started_with[self._number], self._by_name[path] = content, self._number
        return self._number

    def number_of(self, path: Path) -> int | None:
        """Return the number of the file with a name; None of one that is not known."""
        return self._by_name.get(path)

    def contents(self, at: int, chance: random.Random) -> dict[int, bytes]:
        """Return what files may hold when the power goes after so many steps."""
        synced = self._synced(at)
        found = {file: bytearray(content) for file, content in self.started_with.items()}
        for number, step in enumerate(self.done[:at]):
            if isinstance(step, Wrote):
                certain = number < synced.get(step.file, 0)
                _apply(found.setdefault(step.file, bytearray()), step, certain=certain, chance=chance)
        return {file: bytes(content) for file, content in found.items()}

    def names(self, at: int, chance: random.Random) -> dict[Path, int | None]:
        """Return which names may be there; what lies in a folder that is not there is lost with it.

        Half of the time names reach the disk in their order, as with a file system that keeps a journal.
        """
        synced = self._synced(at)
        in_order_until = chance.randrange(at + 1) if chance.random() < 0.5 else None
        found: dict[Path, int | None] = {}
        for number, step in enumerate(self.done[:at]):
            if not isinstance(step, Named):
                continue
            maybe = chance.random() < 0.5 if in_order_until is None else number < in_order_until
            if number < synced.get(step.path.parent, 0) or maybe:
                found[step.path] = step.file
                if step.instead_of is not None:
                    found.pop(step.instead_of, None)
        lost = [path for path in found if path.parent not in self.there and path.parent not in found]
        return {path: file for path, file in found.items() if path not in lost}

    def _synced(self, at: int) -> Mapping[int | Path, int]:
        """Return by file and folder up to which step it is on the disk."""
        if not self.keeps_its_word:
            return {}
        return {step.what: number for number, step in enumerate(self.done[:at]) if isinstance(step, Synced)}

    # What Python's functions do.

    @contextmanager
    def watching(self) -> Iterator["Disk"]:
        """Note what this process does below the root, by the functions of `os`."""
        noted: Mapping[str, Callable[..., None]] = {
            "open": self._opened, "write": self._written,
            "fdatasync": self._synced_by, "fsync": self._synced_by,
            "replace": self._renamed, "mkdir": self._made, "close": self._closed,
        }  # fmt: skip
        with pytest.MonkeyPatch.context() as patched:
            for name, note in noted.items():
                patched.setattr(os, name, _noting(getattr(os, name), note))
            yield self

    def _opened(self, descriptor: int, path: Any, flags: int, *_: Any, **__: Any) -> None:
        where = Path(os.fsdecode(path))
        if not where.is_relative_to(self.root):
            return
        if flags & os.O_DIRECTORY:
            self._folders[descriptor] = where
        elif flags & os.O_CREAT:
            self._number += 1
            self._files[descriptor] = (self._number, where)
            self._by_name[where], self._ends[self._number] = self._number, 0
            self.done.append(Named(path=where, file=self._number))

    def _written(self, count: int, descriptor: int, data: Any) -> None:
        if descriptor in self._files:
            file, _ = self._files[descriptor]
            self.done.append(Wrote(file=file, offset=self._ends[file], data=bytes(data[:count])))
            self._ends[file] += count

    def _synced_by(self, _: None, descriptor: int) -> None:
        if descriptor in self._files:
            self.done.append(Synced(what=self._files[descriptor][0]))
        elif descriptor in self._folders:
            self.done.append(Synced(what=self._folders[descriptor]))

    def _renamed(self, _: None, old: Any, new: Any) -> None:
        before, after = Path(old), Path(new)
        if after.is_relative_to(self.root):
            self._by_name[after] = file = self._by_name.pop(before)
            self.done.append(Named(path=after, file=file, instead_of=before))

    def _made(self, _: None, path: Any, *__: Any) -> None:
        if Path(path).is_relative_to(self.root):
            self.done.append(Named(path=Path(path), file=None))

    def _closed(self, _: None, descriptor: int) -> None:
        self._files.pop(descriptor, None)
        self._folders.pop(descriptor, None)


def _noting(call: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
    def noted(*arguments: Any, **named: Any) -> Any:
        answer = call(*arguments, **named)
        note(answer, *arguments, **named)
        return answer

    return noted


def _apply(content: bytearray, step: Wrote, *, certain: bool, chance: random.Random) -> None:
    if step.data is None:
        if certain or chance.random() < 0.5:
            content[:] = content[: step.offset].ljust(step.offset, b"\0")
    elif certain:
        _put(content, step.offset, step.data)
    else:
        _put_some(content, step.offset, step.data, chance)


def _put_some(content: bytearray, at: int, rest: bytes, chance: random.Random) -> None:
    """Write half of the sectors; of the others some are garbage now."""
    while rest:
        to_border = SECTOR_BYTES - at % SECTOR_BYTES
        piece, rest = rest[:to_border], rest[to_border:]
        fate = chance.random()
        if fate < 0.6:
            _put(content, at, piece if fate < 0.5 else chance.randbytes(len(piece)))
        at += len(piece)


def _put(content: bytearray, at: int, data: bytes) -> None:
    content.extend(bytes(max(0, at - len(content))))
    content[at : at + len(data)] = data


class _Vfs(ctypes.Structure):
    """`sqlite3_vfs`: how SQLite reaches the operating system."""


# The name as a pointer: SQLite keeps it, and reads what follows the text.
_Open = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
)
_Write = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64)
_Truncate = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)
_Sync = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)

# What follows `xOpen` is copied as it is: 11 functions in version 1, 1 more in 2, 3 more in 3.
_Vfs._fields_ = [
    ("version", ctypes.c_int), ("file_bytes", ctypes.c_int), ("longest_path", ctypes.c_int),
    ("next", ctypes.c_void_p), ("name", ctypes.c_char_p), ("data", ctypes.c_void_p),
    ("open", _Open), ("others", ctypes.c_void_p * 15),
]  # fmt: skip


class _Methods(ctypes.Structure):
    """`sqlite3_io_methods`, of version 3: what can be done with an open file."""

    _fields_ = [
        ("version", ctypes.c_int), ("close", ctypes.c_void_p), ("read", ctypes.c_void_p),
        ("write", _Write), ("truncate", _Truncate), ("sync", _Sync), ("others", ctypes.c_void_p * 13),
    ]  # fmt: skip


class SqliteWrites:
    """Notes what SQLite itself writes and syncs, by standing between it and the operating system."""

    def __init__(self, library: str, disk: Disk) -> None:
        """Prepare.

        Args:
            library: the file of the shared library with SQLite in it.
            disk: where files are noted that are known there by their names.
        """
        self._sqlite, self._disk = ctypes.CDLL(library), disk
        self._sqlite.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        self._real = self._sqlite.sqlite3_vfs_find(None)
        self._open = _Open(self._opened)  # kept: SQLite holds no reference
        self._ours = _Vfs.from_buffer_copy(self._real.contents)
        self._ours.name, self._ours.open = b"noting", self._open
        self._files: dict[int, int] = {}
        self._methods: dict[int, tuple[_Methods, _Methods]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note what is done with files that are opened until the end; all must be closed by then."""
        self._sqlite.sqlite3_vfs_register(ctypes.byref(self._ours), 1)
        try:
            yield
        finally:
            self._sqlite.sqlite3_vfs_unregister(ctypes.byref(self._ours))
            self._sqlite.sqlite3_vfs_register(self._real, 1)

    def _opened(self, _: int, name: int | None, file: int, flags: int, out: int) -> int:
        code = int(
            self._real.contents.open(ctypes.cast(self._real, ctypes.c_void_p).value, name, file, flags, out)
        )
        self._files.pop(file, None)
        number = None if name is None else self._disk.number_of(Path(os.fsdecode(ctypes.string_at(name))))
        if code == SQLITE_OK and number is not None:
            place = ctypes.c_void_p.from_address(file)
            self._files[file], place.value = number, ctypes.addressof(self._noting(place.value or 0))
        return code

    def _noting(self, real: int) -> _Methods:
        """Return methods like those, made once, that note what they are asked for."""
        if real in self._methods:
            return self._methods[real][1]
        theirs = _Methods.from_address(real)
        ours = _Methods.from_buffer_copy(theirs)

        def write(file: int, data: int, count: int, offset: int) -> int:
            self._note(Wrote(file=self._files[file], offset=offset, data=ctypes.string_at(data, count)))
            return int(theirs.write(file, data, count, offset))

        def truncate(file: int, size: int) -> int:
            self._note(Wrote(file=self._files[file], offset=size, data=None))
            return int(theirs.truncate(file, size))

        def sync(file: int, flags: int) -> int:
            code = int(theirs.sync(file, flags))
            self._note(Synced(what=self._files[file]))
            return code

        ours.write, ours.truncate, ours.sync = _Write(write), _Truncate(truncate), _Sync(sync)
        self._methods[real] = (theirs, ours)
        return ours

    def _note(self, step: Wrote | Synced) -> None:
        self._disk.done.append(step)
