"""What judging needs of a GPU, as small protocols; PyCUDA is one way to have it.

Everything here belongs to the thread that opened the device: the context is current in that thread
alone, and it is used and destroyed there. Only the bytes of a `PinnedBuffer` may be touched by
others, while no copy runs on them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What a GPU is, known without opening a context on it."""

    name: str
    capability: str
    """Compute capability, "8.9" for example."""

    driver: str
    """The driver's version and the CUDA version it serves."""


class DeviceBuffer(Protocol):
    """Memory on the device."""

    @property
    def address(self) -> int:
        """Where it begins."""

    @property
    def nbytes(self) -> int:
        """How long it is."""

    def free(self) -> None:
        """Give it back. Nothing that runs may still use it."""


class PinnedBuffer(Protocol):
    """Memory of the host that the device copies from and to without help."""

    @property
    def array(self) -> Bytes:
        """Its bytes, a view: (nbytes,) uint8."""

    def free(self) -> None:
        """Give it back. No copy may still use it, and no view either."""


class CudaEvent(Protocol):
    """A mark in a stream."""

    def record(self, stream: "CudaStream") -> None:
        """Set the mark behind everything that the stream was given so far."""

    def synchronize(self) -> None:
        """Wait until the stream has passed the mark."""


class CudaStream(Protocol):
    """A queue of work that the device does in order."""

    @property
    def handle(self) -> int:
        """The driver's handle, for TensorRT."""

    def wait_for(self, event: CudaEvent) -> None:
        """Let what follows in this stream wait for a mark in another; returns at once."""

    def synchronize(self) -> None:
        """Wait until all of it is done."""


class CudaGraph(Protocol):
    """Work that was captured once and is launched as one."""

    def launch(self, stream: CudaStream) -> None:
        """Do all of it again, in this stream; returns at once."""

    def free(self) -> None:
        """Give it back. It may not be running."""


class CudaDevice(Protocol):
    """A GPU with a context of its own."""

    @property
    def facts(self) -> DeviceFacts:
        """What it is."""

    def allocate(self, nbytes: int) -> DeviceBuffer:
        """Return memory on the device.

        Raises:
            DeviceOutOfMemory: there is not enough.
        """

    def pinned(self, nbytes: int) -> PinnedBuffer:
        """Return pinned memory of the host.

        Raises:
            DeviceOutOfMemory: there is not enough.
        """

    def stream(self) -> CudaStream:
        """Return a new stream."""

    def event(self) -> CudaEvent:
        """Return a new event, without timing."""

    def upload(self, target: DeviceBuffer, source: Bytes, stream: CudaStream) -> None:
        """Copy pinned bytes to the device; returns at once."""

    def download(self, target: Bytes, source: DeviceBuffer, stream: CudaStream) -> None:
        """Copy bytes of the device into pinned memory; returns at once."""

    def upload_now(self, target: DeviceBuffer, source: Bytes) -> None:
        """Copy any bytes to the device, and wait until they are there."""

    def capture(self, stream: CudaStream, enqueue: Callable[[], None]) -> CudaGraph | None:
        """Capture what `enqueue` puts into the stream, without doing it.

        Returns:
            The graph, or None if something in it cannot be captured; the context is sound either way.
        """

    def free_bytes(self) -> int:
        """Return how much memory of the device is free."""

    def close(self) -> None:
        """Free what is left in the reverse order of its making, then destroy the context."""
