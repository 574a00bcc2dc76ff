"""A GenICam camera whose line is a file: to be driven from outside its process."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from partgate_cameras import Camera, CameraUnavailable
from partgate_cameras._genicam import GenicamDevice
from partgate_cameras._gentl_stream import Delivery, Dropped, TriggerMode
from partgate_station import Camera as CameraConfig
from partgate_station import GenicamCamera


class FileStream:
    """A camera that exposes a frame for each byte of a file; "x" is one that is lost, "s" comes slowly.

    While a file `pulled` lies beside it, the cable is: nothing comes, and nobody answers.
    """

    serial_number: str | None = None

    def __init__(self, config: GenicamCamera, *, edges: Path, mode: TriggerMode) -> None:
        self.trigger_mode = mode
        self.incomplete = 0
        self._edges, self._seen, self._number = edges, edges.stat().st_size, 0
        self._pulled = edges.with_name("pulled")
        self.prove_alive()

    def poll(self) -> Delivery | None:
        if self._pulled.exists():
            return None
        edges = self._edges.read_bytes()
        if self._seen >= len(edges):
            return None
        kind, self._seen, self._number = edges[self._seen : self._seen + 1], self._seen + 1, self._number + 1
        if kind == b"x":
            return self.poll()
        if kind == b"s":
            time.sleep(0.2)
        image = np.full((12, 16), self._seen % 256, np.uint8)
        image[-1, -1] ^= 1  # a picture of nothing is refused
        return Delivery(image=image, frame_id=self._number, timestamp_ns=None)

    def drop_waiting(self) -> Sequence[Dropped]:
        dropped = []
        while (delivery := self.poll()) is not None:
            dropped.append(Dropped(frame_id=delivery.frame_id, timestamp_ns=None))
        return dropped

    def fire(self) -> None: ...

    def prove_alive(self) -> None:
        if self._pulled.exists():
            raise CameraUnavailable("camera top does not answer: check cable and power")

    def restart(self) -> None:
        self._seen, self._number = self._edges.stat().st_size, 0

    def close(self) -> None: ...


def with_file(config: CameraConfig, next_frame: int, *, edges: Path, mode: TriggerMode) -> Camera:
    assert isinstance(config, GenicamCamera)
    return GenicamDevice(config, connect=partial(FileStream, edges=edges, mode=mode))
