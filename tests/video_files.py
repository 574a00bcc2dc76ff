"""Small videos, written by PyAV."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

HEIGHT_PX, WIDTH_PX, PER_S = 48, 64, 25
STEP = 8  # grey levels from one frame to the next


def numbered(count: int, *, first: int = 0) -> list[NDArray[np.uint8]]:
    """Return frames that show their number: as a grey level, with a ramp so that no two rows are alike."""
    ramp = np.arange(HEIGHT_PX, dtype=np.uint8)[:, None] // 8
    return [
        np.broadcast_to(ramp + np.uint8((number * STEP) % 240), (HEIGHT_PX, WIDTH_PX)).copy()
        for number in range(first, first + count)
    ]


def number_of(image: NDArray[np.uint8]) -> int:
    """Return the number that a frame shows."""
    return round(float(image[:8].mean()) / STEP)


def write_video(
    target: Path | str | Any,
    frames: Sequence[NDArray[np.uint8]] | Iterable[NDArray[np.uint8]],
    *,
    codec: str = "ffv1",
    pixel_format: str = "gray",
    container: str | None = None,
    per_s: int = PER_S,
    options: dict[str, str] | None = None,
) -> None:
    """Write a video; frames are (h, w) grey or (h, w, 3) RGB."""
    with av.open(target, "w", format=container, options=options or {}) as output:
        stream: Any = output.add_stream(codec, rate=per_s)
        stream.pix_fmt = pixel_format
        stream.time_base = Fraction(1, per_s)
        for number, pixels in enumerate(frames):
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
            frame = av.VideoFrame.from_ndarray(pixels, format="gray" if pixels.ndim == 2 else "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, per_s)
            for packet in stream.encode(frame):
                output.mux(packet)
        for packet in stream.encode():
            output.mux(packet)
