"""Engines kept on disk, so that the second start does not compile."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from partgate_engines._errors import BundleNotWritten
from partgate_engines._write import write_file

log = structlog.get_logger(__name__)

_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKey:
    """Everything an engine was compiled of and for. Any difference means another engine."""

    graph_sha256: str
    device: str
    capability: str
    driver: str
    flavour: str
    version: str
    precision: str
    profile: str

    @property
    def digest(self) -> str:
        """SHA-256 over all of it: the name of the engine's file."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def differences(self, other: "EngineKey") -> str:
        """Return what is different, with both values, in words for a log."""
        ours, theirs = asdict(self), asdict(other)
        return ", ".join(
            f"{name} was {theirs[name]}, is {ours[name]}" for name in ours if ours[name] != theirs[name]
        )


class EngineCache:
    """A folder of engines. Many processes may use it at once.

    A file `<digest>.plan` holds an engine, and `<digest>.json`, written last, its key and SHA-256.
    Both are written to a draft, made durable and renamed. One process builds, the others wait for it;
    one that has waited too long builds for itself, and whoever comes last wins.
    """

    def __init__(self, folder: Path, *, wait_s: float = 900.0) -> None:
        """Use a folder, which need not exist yet.

        Args:
            folder: of the engines.
            wait_s: how long to wait for another process that builds the same engine.
        """
        self._folder = folder.absolute()
        self._wait_s = wait_s

    def get(self, key: EngineKey, build: Callable[[], bytes]) -> bytes:
        """Return an engine's plan, compiled now if it is not there whole.

        Args:
            key: what it is compiled of and for.
            build: compiles it.

        Raises:
            BundleNotWritten: the folder cannot be written.
        """
        found = self._read(key)
        if found is not None:
            return found
        with self._turn(key):
            found = self._read(key)
            return found if found is not None else self._built(key, build)

    def beside(self, key: EngineKey, suffix: str) -> Path:
        """Return where something else that belongs to an engine may be kept."""
        return self._folder / f"{key.digest}{suffix}"

    def drop(self, key: EngineKey) -> None:
        """Forget an engine, because the runtime does not take it after all."""
        self._plan(key.digest).unlink(missing_ok=True)
        self._note(key.digest).unlink(missing_ok=True)
        for path in self._folder.glob(f"{key.digest}.kernels"):
            path.unlink(missing_ok=True)

    def of_graph(self, graph_sha256: str) -> tuple[EngineKey, ...]:
        """Return as what a graph's engines are kept, however they were compiled."""
        noted = map(_parsed_file, sorted(self._folder.glob("*.json")))
        return tuple(key for key in noted if key is not None and key.graph_sha256 == graph_sha256)

    def _read(self, key: EngineKey) -> bytes | None:
        plan, note = self._plan(key.digest), self._note(key.digest)
        try:
            noted = _parse(note.read_bytes())
            content = plan.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            log.warning("engine.unreadable", plan=str(plan), why=str(error))
            return None
        if noted is None or noted[0] != key or hashlib.sha256(content).hexdigest() != noted[1]:
            log.warning("engine.damaged", plan=str(plan), what_now="it is compiled again")
            return None
        return content

    def _built(self, key: EngineKey, build: Callable[[], bytes]) -> bytes:
        stale = self._stale(key)
        for other in stale:
            log.info("engine.stale", why=key.differences(other), what_now="it is compiled again")
        started = time.monotonic()
        log.info("engine.build", **asdict(key))
        content = build()
        note = {"key": asdict(key), "sha256": hashlib.sha256(content).hexdigest()}
        write_file(self._plan(key.digest), content)
        write_file(self._note(key.digest), json.dumps(note, sort_keys=True).encode())
        log.info("engine.built", seconds=round(time.monotonic() - started, 2), bytes=len(content))
        for other in stale:
            self.drop(other)
        return content

    def _stale(self, key: EngineKey) -> list[EngineKey]:
        """Return the engines that only another driver or version of this wheel could use.

        Engines of another device, wheel, precision or profile stay: this machine may have two.
        """
        found: list[EngineKey] = []
        for note in sorted(self._folder.glob("*.json")):
            noted = _parsed_file(note)
            if noted and noted != key and _replaces(key, noted):
                found.append(noted)
        return found

    @contextmanager
    def _turn(self, key: EngineKey) -> Iterator[None]:
        """Wait until no other process builds this engine. A process that dies gives its turn back."""
        descriptor = self._lock_file(key)
        try:
            if not _locked_within(descriptor, self._wait_s):
                log.warning("engine.waited", seconds=self._wait_s, what_now="it is compiled here as well")
            yield
        finally:
            os.close(descriptor)

    def _lock_file(self, key: EngineKey) -> int:
        path = self._folder / f"{key.digest}.lock"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise BundleNotWritten(
                f"{self._folder}: no folder for engines can be made there ({error.strerror})"
            ) from error

    def _plan(self, digest: str) -> Path:
        return self._folder / f"{digest}.plan"

    def _note(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"


def _locked_within(descriptor: int, wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        else:
            return True


def _replaces(key: EngineKey, other: EngineKey) -> bool:
    kept = ("graph_sha256", "device", "capability", "flavour", "precision", "profile")
    return all(getattr(key, name) == getattr(other, name) for name in kept)


def _parsed_file(note: Path) -> EngineKey | None:
    try:
        noted = _parse(note.read_bytes())
    except OSError:
        return None
    return noted[0] if noted else None


def _parse(raw: bytes) -> tuple[EngineKey, str] | None:
    """Return the key and hash that a note holds; None if it is damaged or of another version."""
    try:
        note = json.loads(raw)
        return EngineKey(**note["key"]), str(note["sha256"])
    except (ValueError, TypeError, KeyError):
        return None
