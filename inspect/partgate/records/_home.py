"""The home: the one folder everything of a station or demo lies under."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from partgate_station import AlreadyRunning, CannotWrite, MissingInput

POLL_S = 0.02
# Longer than `Home.holder` may have a lock: a look at it must not keep a station from starting.
GLANCE_S = 0.1
HOLDER_BYTES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that holds a lock; None where it has not yet written down what it is."""

    pid: int | None
    since: datetime | None

    def __str__(self) -> str:
        if self.pid is None or self.since is None:
            return "by a process that has just started"
        return f"pid {self.pid}, since {self.since.isoformat()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A folder with the database, images, maps, bundles and compiled graphs."""

    path: Path

    @classmethod
    def open(cls, path: Path, *, create: bool = True) -> Self:
        """Return the home at a path, made with its folders if it is not there.

        Args:
            path: made absolute; `~` is understood.
            create: False refuses a home that is not there.

        Raises:
            MissingInput: there is no home, and none is to be made.
            CannotWrite: the path is a file, or cannot be written.
        """
        home = cls(path=path.expanduser().absolute())
        if not create and not home.is_made():
            raise MissingInput(
                f"{home.path}: no such home; name another with --home, or make one with `partgate demo`"
            )
        for folder in home._folders():
            _make(folder)
        if not os.access(home.path, os.W_OK | os.X_OK):
            raise CannotWrite(f"{home.path}: permission to write is missing; choose another --home")
        return home

    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        return self.path / "partgate.db"

    @property
    def marker_path(self) -> Path:
        """The file that says that this folder has had a database."""
        return self.path / "partgate.home"

    @property
    def images_path(self) -> Path:
        """The image store's frames."""
        return self.path / "images"

    @property
    def maps_path(self) -> Path:
        """The image store's anomaly maps."""
        return self.path / "maps"

    @property
    def bundles_path(self) -> Path:
        """One folder per learned model, named by its content hash."""
        return self.path / "bundles"

    @property
    def graphs_path(self) -> Path:
        """Engines: graphs compiled for this machine. May be deleted at any time."""
        return self.path / "graphs"

    @property
    def keys_path(self) -> Path:
        """The signing key, and those of the signers that are trusted."""
        return self.path / "keys"

    @property
    def parity_path(self) -> Path:
        """What came of golden frames on this machine. May be deleted at any time: it is found again."""
        return self.path / "parity"

    @property
    def reports_path(self) -> Path:
        """One folder per learned model, with the page that shows what learning saw."""
        return self.path / "reports"

    def is_made(self) -> bool:
        """Return whether anything was ever kept here.

        Raises:
            CannotWrite: this user may not enter the folder.
        """
        try:
            return self.marker_path.exists() or self.database_path.exists()
        except PermissionError as error:
            raise CannotWrite(
                f"{self.path}: this user may not enter it; change that, or choose another --home"
            ) from error

    @contextlib.contextmanager
    def lock(self, name: str, *, timeout_s: float = GLANCE_S) -> Iterator[None]:
        """Hold a named lock of this home; the kernel lets go of it when the process ends.

        Args:
            name: a file name, such as `station-line1`.
            timeout_s: how long to wait for another holder.

        Raises:
            AlreadyRunning: names the holder's process and since when it has run.
            CannotWrite: the home cannot be written.
        """
        path = self._lock_path(name)
        # Never deleted: who holds a deleted file's lock excludes nobody.
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise CannotWrite(f"{path}: cannot be written ({error.strerror})") from error
        try:
            _acquire(descriptor, self.path, name, timeout_s)
            _write_holder(descriptor)
            yield
        finally:
            os.close(descriptor)

    def holder(self, name: str) -> Holder | None:
        """Return who holds a lock; None if nobody does. Needs no permission to write.

        Raises:
            CannotWrite: the lock's file cannot be read.
        """
        path = self._lock_path(name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CannotWrite(f"{path}: cannot be read ({error.strerror})") from error
        try:
            # The kernel alone knows: a pid in a file outlives its process. The lock is let go at once.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(descriptor)
        finally:
            os.close(descriptor)
        return None

    def _lock_path(self, name: str) -> Path:
        return self.path / "locks" / f"{name}.lock"

    def _folders(self) -> tuple[Path, ...]:
        return (
            self.path,
            self.images_path,
            self.maps_path,
            self.bundles_path,
            self.graphs_path,
            self.path / "locks",
        )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise CannotWrite(f"{folder}: is a file, expected a folder; choose another --home") from None
    except OSError as error:
        raise CannotWrite(f"{folder}: cannot be made ({error.strerror}); choose another --home") from error


def _acquire(descriptor: int, home: Path, name: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise AlreadyRunning(f"{home}: {name} is already running, {_holder(descriptor)}") from None
            time.sleep(POLL_S)
        else:
            return


def _write_holder(descriptor: int) -> None:
    """Say who holds the lock: a courtesy, without which a full disk must not keep anybody from looking."""
    text = json.dumps({"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")})
    # Over what stands there, and as long: to cut that off first would give back the block that this needs.
    with contextlib.suppress(OSError):
        os.pwrite(descriptor, text.encode().ljust(HOLDER_BYTES), 0)


def _holder(descriptor: int) -> Holder:
    """Return who holds the lock; it may be writing its name at this moment."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return Holder(pid=int(holder["pid"]), since=datetime.fromisoformat(holder["since"]))
    except (ValueError, KeyError, TypeError):
        return Holder(pid=None, since=None)
