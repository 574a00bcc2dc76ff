"""A GPU in numpy: as lazy as the real one may be, so that a wait that is missing shows.

Nothing that is put into a stream happens before somebody waits for it. Memory that was freed is gone,
the context belongs to one thread, and everything is noted in a journal.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partgate_engines._cuda import Bytes, CudaEvent, CudaGraph, CudaStream, DeviceBuffer, DeviceFacts
from partgate_engines._cuda_errors import DeviceFailed, DeviceOutOfMemory

Arrays = Mapping[str, NDArray[Any]]
Judge = Callable[[Arrays], tuple[NDArray[np.float32], NDArray[np.float32]]]

FACTS = DeviceFacts(name="Fake 4090", capability="8.9", driver="580.1 (CUDA 13.0)")
_DTYPES: Mapping[str, type] = {"frames": np.uint8}


class FakeBuffer:
    """Memory of the fake device, or pinned by it."""

    def __init__(self, device: "FakeDevice", kind: str, nbytes: int) -> None:
        self._device = device
        self.kind = kind
        self.nbytes = nbytes
        self.array: Bytes = np.full(nbytes, 0xCD, dtype=np.uint8)
        self.address = device.next_address(nbytes)
        self.freed = False

    def free(self) -> None:
        self._device.check_thread()
        assert not self.freed, f"{self.kind} was freed twice"
        self.freed = True
        self._device.free_buffer(self)


class FakeEvent:
    """A position in a stream."""

    def __init__(self, device: "FakeDevice") -> None:
        self._device = device
        self._mark: tuple[FakeStream, int] | None = None

    def record(self, stream: CudaStream) -> None:
        assert isinstance(stream, FakeStream)
        self._device.check_thread()
        self._mark = (stream, stream.end)

    def mark(self) -> tuple["FakeStream", int]:
        assert self._mark is not None, "an event that was never recorded"
        return self._mark

    def synchronize(self) -> None:
        self._device.check_thread()
        stream, end = self.mark()
        stream.run_to(end)


class FakeStream:
    """Work that is done when somebody waits for it."""

    def __init__(self, device: "FakeDevice", handle: int) -> None:
        self._device = device
        self.handle = handle
        self._work: list[Callable[[], None]] = []
        self._done = 0
        self.captured: list[Callable[[], None]] | None = None

    @property
    def end(self) -> int:
        return len(self._work)

    def add(self, work: Callable[[], None]) -> None:
        self._device.check_thread()
        self._device.fail_if_told()
        (self._work if self.captured is None else self.captured).append(work)

    def wait_for(self, event: CudaEvent) -> None:
        assert isinstance(event, FakeEvent)
        stream, end = event.mark()
        self.add(lambda: stream.run_to(end))

    def synchronize(self) -> None:
        self._device.check_thread()
        self.run_to(self.end)

    def run_to(self, end: int) -> None:
        self._device.hang.wait(30)
        while self._done < end:
            self._done += 1
            self._work[self._done - 1]()


class FakeGraph:
    """Captured work."""

    def __init__(self, device: "FakeDevice", work: list[Callable[[], None]]) -> None:
        self._device = device
        self._work = work
        self.freed = False

    def launch(self, stream: CudaStream) -> None:
        assert isinstance(stream, FakeStream)
        assert not self.freed, "a graph that was freed is launched"
        self._device.journal.append("launch")
        for work in self._work:
            stream.add(work)

    def free(self) -> None:
        assert not self.freed, "a graph was freed twice"
        self.freed = True
        self._device.journal.append("free graph")


@dataclass
class FakeDevice:
    """A device of the thread that makes it."""

    limit: int = 2**40
    """Bytes that it has."""

    capturing: bool = True
    facts: DeviceFacts = FACTS
    journal: list[str] = field(default_factory=list)
    fail_next: str | None = None
    """The next thing that is put into a stream fails with this text."""

    hang: threading.Event = field(default_factory=threading.Event)
    """Clear it, and nothing that is waited for ends."""

    live: dict[int, FakeBuffer] = field(default_factory=dict)
    streams: list[FakeStream] = field(default_factory=list)
    thread: int = field(default_factory=threading.get_ident)
    closed: bool = False

    def __post_init__(self) -> None:
        self.hang.set()
        self._address = 256

    def check_thread(self) -> None:
        assert threading.get_ident() == self.thread, "another thread used the GPU"
        assert not self.closed, "the device was used after it was closed"

    def next_address(self, nbytes: int) -> int:
        found, self._address = self._address, self._address + -(-max(nbytes, 1) // 256) * 256
        return found

    def fail_if_told(self) -> None:
        if self.fail_next is not None:
            self.journal.append("fail")
            raise DeviceFailed(self.fail_next)

    def allocate(self, nbytes: int) -> FakeBuffer:
        return self._make("device", nbytes)

    def pinned(self, nbytes: int) -> FakeBuffer:
        return self._make("pinned", nbytes)

    def _make(self, kind: str, nbytes: int) -> FakeBuffer:
        self.check_thread()
        self.fail_if_told()
        if kind == "device" and nbytes > self.free_bytes():
            self.journal.append(f"no room for {nbytes}")
            raise DeviceOutOfMemory(f"no room for {nbytes} bytes")
        buffer = FakeBuffer(self, kind, nbytes)
        self.live[buffer.address] = buffer
        self.journal.append(f"make {kind} {nbytes}")
        return buffer

    def free_buffer(self, buffer: FakeBuffer) -> None:
        del self.live[buffer.address]
        buffer.array.fill(0xDD)
        self.journal.append(f"free {buffer.kind} {buffer.nbytes}")

    def stream(self) -> FakeStream:
        self.check_thread()
        self.streams.append(FakeStream(self, handle=len(self.streams) + 1))
        return self.streams[-1]

    def event(self) -> FakeEvent:
        self.check_thread()
        return FakeEvent(self)

    def upload(self, target: DeviceBuffer, source: Bytes, stream: CudaStream) -> None:
        assert isinstance(stream, FakeStream)

        def copy() -> None:
            self.at(target.address, source.nbytes)[:] = source  # what lies there when it is copied
            self.journal.append("upload")

        stream.add(copy)

    def download(self, target: Bytes, source: DeviceBuffer, stream: CudaStream) -> None:
        assert isinstance(stream, FakeStream)
        stream.add(lambda: np.copyto(target, self.at(source.address, target.nbytes)))

    def upload_now(self, target: DeviceBuffer, source: Bytes) -> None:
        self.check_thread()
        self.at(target.address, source.nbytes)[:] = source

    def at(self, address: int, nbytes: int) -> Bytes:
        """Return memory of the device, wherever in a buffer it lies."""
        for buffer in self.live.values():
            offset = address - buffer.address
            if offset >= 0 and offset + nbytes <= buffer.nbytes:
                return buffer.array[offset : offset + nbytes]
        raise AssertionError(f"{nbytes} bytes at {address}: not memory of this device (any more)")

    def capture(self, stream: CudaStream, enqueue: Callable[[], None]) -> CudaGraph | None:
        assert isinstance(stream, FakeStream)
        self.check_thread()
        stream.captured = []
        enqueue()
        work, stream.captured = stream.captured, None
        self.journal.append("capture")
        return FakeGraph(self, work) if self.capturing else None

    def free_bytes(self) -> int:
        return self.limit - sum(b.nbytes for b in self.live.values() if b.kind == "device")

    def close(self) -> None:
        self.check_thread()
        self.closed = True
        self.journal.append("close")


class FakeExecution:
    """Runs a numpy function over what lies at the addresses, when its turn in the stream comes."""

    def __init__(self, engine: "FakeEngine") -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._scratch = 0

    def bind(self, *, shapes: Mapping[str, tuple[int, ...]], addresses: Mapping[str, int]) -> int:
        assert set(addresses) == {*shapes, "score", "anomaly_map"}
        self._shapes, self._addresses = dict(shapes), dict(addresses)
        return self._engine.scratch_of(dict(shapes))

    def use_scratch(self, address: int, nbytes: int) -> None:
        assert nbytes >= self._engine.scratch_of(self._shapes)
        self._scratch = address

    def enqueue(self, stream_handle: int) -> None:
        device = self._engine.device
        stream = next(stream for stream in device.streams if stream.handle == stream_handle)
        stream.add(self._run)

    def _run(self) -> None:
        device = self._engine.device
        device.at(self._scratch, self._engine.scratch_of(self._shapes))  # it is still there
        inputs = {name: self._read(name, shape) for name, shape in self._shapes.items()}
        score, anomaly_map = self._engine.judge(inputs)
        for name, array in (("score", score), ("anomaly_map", anomaly_map)):
            content = np.ascontiguousarray(array, dtype=np.float32).reshape(-1).view(np.uint8)
            device.at(self._addresses[name], content.nbytes)[:] = content
        device.journal.append("judge")

    def _read(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        dtype = np.dtype(_DTYPES.get(name, np.float32))
        nbytes = int(np.prod(shape)) * dtype.itemsize
        return self._engine.device.at(self._addresses[name], nbytes).view(dtype).reshape(shape).copy()


class FakeEngine:
    """An engine of the fake device."""

    def __init__(self, device: FakeDevice, judge: Judge, *, captures: bool = True) -> None:
        self.device = device
        self.judge = judge
        self.captures = captures
        self.executions = 0
        self.kernels_kept = 0

    def execution(self) -> FakeExecution:
        self.executions += 1
        return FakeExecution(self)

    def keep_kernels(self) -> None:
        self.kernels_kept += 1

    def close(self) -> None:
        self.device.check_thread()

    def scratch_of(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        return 4 * int(np.prod(shapes["frames"]))
