"""Images in the forms a browser shows; the store's JPEG XL is not one of them."""

import threading
from collections import OrderedDict
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from partgate.review._overlay import Placement, overlay
from partgate.review._slots import Slots

THUMBNAIL_PX = 160
THUMBNAIL_QUALITY = 85
PNG_LEVEL = 1
"""A 5 Mpx frame: 0.3 s and 8.3 MB at level 1, 0.15 s and 15 MB at 0, 1.0 s and 7.1 MB as lossless WebP."""


class Images(Protocol):
    """What is needed of the image store; `get` and `get_map` raise a `StoreError`."""

    def get(self, sha256: str) -> NDArray[np.uint8]:
        """Return an image, (h, w) or (h, w, 3) RGB."""

    def get_map(self, sha256: str) -> NDArray[np.float32]:
        """Return an anomaly map, (gh, gw)."""


class Pictures:
    """Renders images and maps, two at a time; thumbnails are remembered.

    Overflow policy: beyond `thumbnails` the one that was wanted longest ago is forgotten.
    """

    def __init__(self, images: Images, *, slots: int = 2, thumbnails: int = 2048) -> None:
        self._images = images
        self._slots = Slots(name="pictures", count=slots, timeout_s=20)
        self._limit = thumbnails
        self._lock = threading.Lock()
        self._thumbnails: OrderedDict[str, bytes] = OrderedDict()

    def full(self, sha256: str) -> bytes:
        """Return an image as PNG: every pixel as the camera gave it."""
        import cv2

        with self._slots.one():
            return _encoded(".png", _bgr(self._images.get(sha256)), [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])

    def thumbnail(self, sha256: str) -> bytes:
        """Return an image as a small JPEG."""
        known = self._remembered(sha256)
        if known is not None:
            return known
        with self._slots.one():
            picture = _small_jpeg(self._images.get(sha256))
        self._remember(sha256, picture)
        return picture

    def overlay(self, map_sha256: str, placement: Placement) -> bytes:
        """Return an anomaly map as PNG with transparency."""
        import cv2

        with self._slots.one():
            picture = overlay(self._images.get_map(map_sha256), placement)
            return _encoded(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])

    def _remembered(self, sha256: str) -> bytes | None:
        with self._lock:
            picture = self._thumbnails.get(sha256)
            if picture is not None:
                self._thumbnails.move_to_end(sha256)
            return picture

    def _remember(self, sha256: str, picture: bytes) -> None:
        with self._lock:
            self._thumbnails[sha256] = picture
            while len(self._thumbnails) > self._limit:
                self._thumbnails.popitem(last=False)


def _small_jpeg(image: NDArray[np.uint8]) -> bytes:
    import cv2

    height_px, width_px = image.shape[:2]
    shrink = min(1.0, THUMBNAIL_PX / max(height_px, width_px))
    size = (max(1, round(width_px * shrink)), max(1, round(height_px * shrink)))
    small = cv2.resize(_bgr(image), size, interpolation=cv2.INTER_AREA)
    return _encoded(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, THUMBNAIL_QUALITY])


def _bgr(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an RGB image as OpenCV wants it, a grey one as it is."""
    import cv2

    grey = image.ndim == 2  # noqa: PLR2004 - height and width only
    return image if grey else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), dtype=np.uint8)


def _encoded(kind: str, picture: object, options: list[int]) -> bytes:
    import cv2

    done, data = cv2.imencode(kind, np.asarray(picture), options)
    if not done:
        raise ValueError(f"OpenCV could not encode a picture as {kind}")
    return data.tobytes()
