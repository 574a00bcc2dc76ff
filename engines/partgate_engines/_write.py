"""Files and folders that are there whole or not at all."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from partgate_engines._errors import BundleNotWritten


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a power cut, finds all of it or nothing.

    Raises:
        BundleNotWritten: the folder cannot be written.
    """
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_durably(draft, content)
        draft.replace(path)
        _sync(path.parent)
    except OSError as error:
        # The folder may be a file: then there is no draft either.
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise _cannot_write(path, error) from error


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder that does not exist yet so that it appears whole or not at all.

    Args:
        folder: where it will be. If another process was faster, its folder stays.
        fill: writes the files into the folder it is given; they are made durable here.

    Raises:
        BundleNotWritten: the folder cannot be written.
    """
    draft = folder.with_name(f".{folder.name}.{uuid4().hex}")
    try:
        draft.mkdir(parents=True)
        fill(draft)
        for path in draft.iterdir():
            _sync(path)
        _sync(draft)
        _publish(draft, folder)
        _sync(folder.parent)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file that never changes at a second place, without its bytes where the disk allows."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _publish(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(path: Path, error: OSError) -> BundleNotWritten:
    return BundleNotWritten(
        f"{path}: cannot be written ({error.strerror}); is the disk full, not yours, or a file in the way?"
    )
