"""Small files that are there whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from partgate_station import CannotWrite

READABLE = 0o644


def write_whole(path: Path, content: bytes, *, mode: int = READABLE) -> None:
    """Write a file so that a reader, or a power cut, finds all of it or nothing.

    Args:
        path: its folder is made if it is not there.
        content: of the file.
        mode: its permissions; it is never readable to more people than that.

    Raises:
        CannotWrite: the folder cannot be written.
    """
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        _sync(path.parent)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say of which file it was that the disk refused something inside the block."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(f"{path}: cannot be written ({error.strerror})") from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
