"""Frames and anomaly maps as files, found by the hash of their bytes."""

import hashlib
import io
import itertools
import os
import re
import time
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from partgate.records._errors import ImageMissing, StoreDamaged, StoreUnwritable
from partgate.records._home import Home

Image = npt.NDArray[np.uint8]
AnomalyMap = npt.NDArray[np.float32]

# 16 ms for 5 Mpx against PNG's 789 at the same size; higher efforts cost 15 times more for 12 %.
EFFORT: Final = 1
# Encoding stays off the line's core; a person waits for decoding: 72 ms on one thread, 41 on two.
ENCODING_THREADS: Final = 1
DECODING_THREADS: Final = 2
STALE_S = 3600.0

_SHA256 = re.compile(r"[0-9a-f]{64}")
_numbers = itertools.count()


class ImageStore:
    """The images of a home. Any thread, any number of processes; a file once there never changes."""

    def __init__(self, home: Home) -> None:
        self._images_path = home.images_path
        self._maps_path = home.maps_path

    def put(self, image: Image) -> str:
        """Keep an image without loss, on disk when this returns.

        Args:
            image: (h, w) or (h, w, 3) uint8; not modified.

        Returns:
            The SHA-256 of the file, 64 hex digits: its name from now on.

        Raises:
            StoreUnwritable: the disk is full or cannot be written.
        """
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
            raise ValueError(f"an image is (h, w) or (h, w, 3) uint8, got {image.shape} {image.dtype}")
        import imagecodecs

        encoded = imagecodecs.jpegxl_encode(
            np.ascontiguousarray(image), lossless=True, effort=EFFORT, numthreads=ENCODING_THREADS
        )
        return _store(self._images_path, ".jxl", bytes(encoded))

    def get(self, sha256: str) -> Image:
        """Return an image, (h, w) or (h, w, 3) uint8, as it was put in.

        Raises:
            ImageMissing: there is no such file.
            StoreDamaged: the file is not what was written.
        """
        import imagecodecs

        image: Image = imagecodecs.jpegxl_decode(
            _load(self._images_path, ".jxl", sha256), numthreads=DECODING_THREADS
        )
        return image

    def put_map(self, anomaly_map: AnomalyMap) -> str:
        """Keep an anomaly map, (h, w) float32; as `put`."""
        if anomaly_map.dtype != np.float32 or anomaly_map.ndim != 2:  # noqa: PLR2004 - height and width
            raise ValueError(f"an anomaly map is (h, w) float32, got {anomaly_map.shape} {anomaly_map.dtype}")
        buffer = io.BytesIO()
        np.save(buffer, anomaly_map, allow_pickle=False)
        return _store(self._maps_path, ".npy", buffer.getvalue())

    def get_map(self, sha256: str) -> AnomalyMap:
        """Return an anomaly map, (h, w) float32; as `get`."""
        stored: AnomalyMap = np.load(io.BytesIO(_load(self._maps_path, ".npy", sha256)), allow_pickle=False)
        return stored

    def has(self, sha256: str) -> bool:
        """Return whether there is a file, image or map, for a hash."""
        places = ((self._images_path, ".jxl"), (self._maps_path, ".npy"))
        return any(_path(folder, suffix, sha256).is_file() for folder, suffix in places)

    def sweep(self) -> int:
        """Delete files that a killed process left half-written, an hour old or more; return how many."""
        swept = 0
        for folder in (self._images_path, self._maps_path):
            for path in folder.glob("*/.*.part"):
                swept += _swept(path)
        return swept


def _path(folder: Path, suffix: str, sha256: str) -> Path:
    """Return a file's place; nothing but a hash becomes part of a path."""
    if not _SHA256.fullmatch(sha256):
        raise ImageMissing(f"image store: {sha256[:80]!r} is not a SHA-256 (64 hex digits)")
    return folder / sha256[:2] / f"{sha256}{suffix}"


def _store(folder: Path, suffix: str, content: bytes) -> str:
    """Write a file whole or not at all: temporary name, fsync, rename, fsync of the folder."""
    sha256 = hashlib.sha256(content).hexdigest()
    path = _path(folder, suffix, sha256)
    temporary = path.with_name(f".{sha256}-{os.getpid()}-{next(_numbers)}.part")
    try:
        _make(path.parent)
        _write(temporary, content)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreUnwritable(f"{path.parent}: an image cannot be written ({error.strerror})") from error
    return sha256


def _make(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make names in a folder durable: a file's fsync does not cover its name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _load(folder: Path, suffix: str, sha256: str) -> bytes:
    path = _path(folder, suffix, sha256)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ImageMissing(f"{path}: the image is missing; restore it from a backup") from None
    except OSError as error:
        raise StoreDamaged(f"{path}: the image cannot be read ({error.strerror})") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise StoreDamaged(
            f"{path}: the image is damaged (its SHA-256 is {found[:12]}…); restore it from a backup"
        )
    return content


def _swept(path: Path) -> bool:
    """Delete a temporary file unless somebody may still be writing it."""
    try:
        if time.time() - path.stat().st_mtime < STALE_S:
            return False
        path.unlink()
    except FileNotFoundError:
        return False
    return True
