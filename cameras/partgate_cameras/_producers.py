"""GenTL producers: finding the file, and sharing the loaded library.

A producer may be initialised once per process: a second Harvester on the same file sees no devices
at all (tried with harvesters 1.4.3 and viky.cti). So all cameras of one producer share a Harvester,
which looks for devices once, before anything streams: its `update` would end every stream
(harvesters issue 475).
"""

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from partgate_cameras._errors import CameraUnavailable
from partgate_cameras._gentl_errors import mapped
from partgate_cameras._names import shown

SEARCH_PATH = "GENICAM_GENTL64_PATH"

_logger = logging.getLogger(__name__)


def find_producer(producer: str, *, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the `.cti` file that a station file names.

    A path that exists is taken; otherwise a file of that name is looked for in the folders of
    GENICAM_GENTL64_PATH, in their order, then in the installed `genicam` package, where the
    simulator lies.

    Raises:
        CameraUnavailable: there is none; the text says where was looked and what lies there.
    """
    named = Path(producer).expanduser()
    if named.is_file():
        return named.absolute()
    folders = tuple(search_folders(environment))
    for folder in folders:
        if (folder / producer).is_file():
            return (folder / producer).absolute()
    seen = sorted({shown(file.name) for folder in folders for file in folder.glob("*.cti")})
    raise CameraUnavailable(
        f"no GenTL producer '{producer}': looked for it as a path and in"
        f" {', '.join(shown(folder) for folder in folders) or 'no folder'}; .cti files there:"
        f" {', '.join(seen) or 'none'}; install the camera maker's producer or set {SEARCH_PATH}"
    )


def search_folders(environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders that producers are looked for in: those of the variable, the simulator's last."""
    for folder in environment.get(SEARCH_PATH, "").split(os.pathsep):
        if folder:
            yield Path(folder)
    spec = find_spec("genicam")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent


def _quiet_logger() -> logging.Logger:
    """Return a logger for harvesters, whose own writes to stderr past the program's settings.

    It logs, with a traceback, what it also raises; we raise it and count the rest. Whoever wants to
    see it sets the level of `partgate_cameras.harvesters`.
    """
    logger = logging.getLogger("partgate_cameras.harvesters")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
    return logger


class Producer:
    """A loaded producer, shared by the cameras of this process that use it."""

    # The only process-wide state here: GenTL itself initialises per process.
    _loaded: dict[Path, "Producer"] = {}  # noqa: RUF012 - shared on purpose
    _lock = threading.Lock()

    def __init__(self, path: Path) -> None:
        from harvesters.core import Harvester

        self._path = path
        self._users = 0
        self.harvester: Any = Harvester(logger=_quiet_logger())
        try:
            with mapped(f"producer {shown(path)}"):
                self.harvester.add_file(str(path), check_existence=True, check_validity=True)
                self.harvester.update()
        except OSError as error:
            self.harvester.reset()
            raise CameraUnavailable(f"producer {shown(path)} cannot be loaded ({error})") from error
        except CameraUnavailable:
            self.harvester.reset()
            raise

    @classmethod
    def acquire(cls, path: Path) -> "Producer":
        """Return the producer, loaded if it is not yet; to be given back by `release`."""
        with cls._lock:
            producer = cls._loaded.get(path)
            if producer is None:
                producer = cls._loaded[path] = cls(path)
            producer._users += 1
            return producer

    def release(self) -> None:
        """Give it back; the last user unloads it."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                del self._loaded[self._path]
                self.harvester.reset()
                _logger.debug("unloaded producer %s", self._path)
