"""A bundle's files: opened within a limit of size, and a sentence where one cannot be read."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partgate_engines._errors import BundleMissing, BundleRefused

_NOT_THERE = frozenset((errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say in a sentence that what is read in here, a bundle's file or folder, cannot be read.

    Args:
        path: named where the system names none.

    Raises:
        BundleMissing: it is not there, or nothing can have such a name.
        BundleRefused: it may not be read, or the disk reports an error.
    """
    try:
        yield
    except OSError as error:
        refused = BundleMissing if error.errno in _NOT_THERE else BundleRefused
        raise refused(f"{error.filename or path}: cannot be read ({error.strerror})") from error


@contextmanager
def opened(path: Path, *, largest: int) -> Iterator[BufferedReader]:
    """Open a bundle's file for reading, once it is known to be of a size that fits into memory.

    Args:
        path: of the file.
        largest: bytes; a file that somebody put there may be larger than any disk.

    Raises:
        BundleMissing, BundleRefused: as for `reading`, or the file is larger.
    """
    with reading(path), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > largest:
            raise BundleRefused(f"{path}: {size} bytes; a bundle's {path.name} has at most {largest}")
        yield file


def read_tensors(path: Path, raw: bytes) -> dict[str, NDArray[np.generic]]:
    """Read a safetensors file's bytes, which may say anything.

    Args:
        path: names it in an error.
        raw: its bytes.

    Raises:
        BundleRefused: it is no safetensors file, or one of types that numpy does not have.
    """
    import safetensors
    from safetensors.numpy import load

    try:
        return load(raw)
    except KeyError as error:  # the header's name of the type, looked up in a table of numpy's
        raise BundleRefused(
            f"{path}: tensors of type {error.args[0]}; a bundle holds float32, int32 and uint8"
        ) from error
    except (safetensors.SafetensorError, OverflowError, TypeError, ValueError) as error:
        raise BundleRefused(f"{path}: not a safetensors file ({error})") from error
