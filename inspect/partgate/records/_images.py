"""Frames and anomaly maps as files, found by the hash of their bytes."""

import hashlib
import io
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from partgate.records._durable import INCOMING, NewFile, settle, write_new
from partgate.records._errors import ImageMissing, StoreDamaged, StoreUnwritable
from partgate.records._home import Home

Image = npt.NDArray[np.uint8]
AnomalyMap = npt.NDArray[np.float32]
P = TypeVar("P")

# 16 ms for 5 Mpx against PNG's 789 at the same size; higher efforts cost 15 times more for 12 %.
EFFORT: Final = 1
# Encoding stays off the line's core; a person waits for decoding: 72 ms on one thread, 41 on two.
ENCODING_THREADS: Final = 1
DECODING_THREADS: Final = 2
STALE_S = 3600.0
WANTED_AGAIN_S = 600.0  # from a file that is found in its place to the row that names it

_SHA256 = re.compile(r"[0-9a-f]{64}")


class ImageStore:
    """The images of a home. Any thread, any number of processes.

    A file once there never changes. It goes when room is needed (`_making_room.py`), and by nothing else.
    """

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
        return _or_raise(self.put_all([image], [])[0])

    @staticmethod
    def hash_of(image: Image) -> str:
        """Return the hash under which `put` keeps an image, or would; nothing is written."""
        return hashlib.sha256(_encoded_image(image)).hexdigest()

    def put_all(self, images: Sequence[Image], maps: Sequence[AnomalyMap]) -> list[str | Exception]:
        """Keep many images and maps, all on disk when this returns; one that fails fails alone.

        The disk is waited for once and not for every file; `_durable.py` says how.

        Returns:
            For each image, then for each map, its hash or the error that `put` would have raised.
        """
        files = [_tried(self._new, image) for image in images]
        files += [_tried(self._new_map, anomaly_map) for anomaly_map in maps]
        written = [file for file in files if isinstance(file, NewFile)]
        errors = dict(zip(written, settle(written), strict=True))
        return [(errors[file] or file.sha256) if isinstance(file, NewFile) else file for file in files]

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
        return _or_raise(self.put_all([], [anomaly_map])[0])

    def get_map(self, sha256: str) -> AnomalyMap:
        """Return an anomaly map, (h, w) float32; as `get`."""
        stored: AnomalyMap = np.load(io.BytesIO(_load(self._maps_path, ".npy", sha256)), allow_pickle=False)
        return stored

    def has(self, sha256: str) -> bool:
        """Return whether there is a file, image or map, for a hash."""
        places = ((self._images_path, ".jxl"), (self._maps_path, ".npy"))
        return any(_path(folder, suffix, sha256).is_file() for folder, suffix in places)

    def remove(self, sha256: str, *, named_at: datetime) -> int:
        """Delete an image whose last row names it no more; return its bytes, 0 if it is not there or stays.

        One that was put in again since it was named may be another process's, whose row is on its way: it
        stays where that was less than ten minutes ago. Looked at right before it goes, see `write_new`.

        Args:
            sha256: its name.
            named_at: when the row was written that named it.

        Raises:
            StoreUnwritable: it cannot be deleted.
        """
        return _removed(_path(self._images_path, ".jxl", sha256), named_at)

    def remove_map(self, sha256: str, *, named_at: datetime) -> int:
        """Delete an anomaly map; as `remove`."""
        return _removed(_path(self._maps_path, ".npy", sha256), named_at)

    def sweep(self) -> int:
        """Delete files that a killed process left half-written, an hour old or more; return how many."""
        swept = 0
        for folder in (self._images_path, self._maps_path):
            for path in folder.glob(f"{INCOMING}/*.part"):
                swept += _swept(path)
        return swept

    def _new(self, image: Image) -> NewFile:
        return _written(self._images_path, ".jxl", _encoded_image(image))

    def _new_map(self, anomaly_map: AnomalyMap) -> NewFile:
        return _written(self._maps_path, ".npy", _encoded_map(anomaly_map))


def _tried(write: Callable[[P], NewFile], pixels: P) -> NewFile | Exception:
    try:
        return write(pixels)
    except Exception as error:  # noqa: BLE001 - a result: whatever befalls one image, the others are kept
        return error


def _or_raise(kept: str | Exception) -> str:
    if isinstance(kept, Exception):
        raise kept
    return kept


def _encoded_image(image: npt.NDArray[np.generic]) -> bytes:
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        raise ValueError(f"an image is (h, w) or (h, w, 3) uint8, got {image.shape} {image.dtype}")
    import imagecodecs

    return bytes(
        imagecodecs.jpegxl_encode(
            np.ascontiguousarray(image), lossless=True, effort=EFFORT, numthreads=ENCODING_THREADS
        )
    )


def _encoded_map(anomaly_map: npt.NDArray[np.generic]) -> bytes:
    if anomaly_map.dtype != np.float32 or anomaly_map.ndim != 2:  # noqa: PLR2004 - height and width
        raise ValueError(f"an anomaly map is (h, w) float32, got {anomaly_map.shape} {anomaly_map.dtype}")
    buffer = io.BytesIO()
    np.save(buffer, anomaly_map, allow_pickle=False)
    return buffer.getvalue()


def _path(folder: Path, suffix: str, sha256: str) -> Path:
    """Return a file's place; nothing but a hash becomes part of a path."""
    if not _SHA256.fullmatch(sha256):
        raise ImageMissing(f"image store: {sha256[:80]!r} is not a SHA-256 (64 hex digits)")
    return folder / sha256[:2] / f"{sha256}{suffix}"


def _written(folder: Path, suffix: str, content: bytes) -> NewFile:
    sha256 = hashlib.sha256(content).hexdigest()
    return write_new(_path(folder, suffix, sha256), sha256, content)


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


def _removed(path: Path, named_at: datetime) -> int:
    try:
        found = path.stat()
        if found.st_mtime > named_at.timestamp() and time.time() - found.st_mtime < WANTED_AGAIN_S:
            return 0
        path.unlink()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StoreUnwritable(f"{path}: the image cannot be deleted ({error.strerror})") from error
    return found.st_size


def _swept(path: Path) -> bool:
    """Delete a temporary file unless somebody may still be writing it."""
    try:
        if time.time() - path.stat().st_mtime < STALE_S:
            return False
        path.unlink()
    except FileNotFoundError:
        return False
    return True
