"""A GPU through PyCUDA: one context, in one thread, without torch."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from partgate_engines._cuda import Bytes, CudaEvent, CudaGraph, CudaStream, DeviceBuffer, DeviceFacts
from partgate_engines._cuda_capture import CapturedGraph, GraphDriver, capture, libcuda
from partgate_engines._cuda_errors import DeviceFailed, DeviceOutOfMemory, cuda_errors, opening_errors
from partgate_engines._errors import RuntimeUnavailable

_DRIVER_VERSION = Path("/sys/module/nvidia/version")


def load_driver() -> Any:
    """Return `pycuda.driver`, initialised. That alone opens no context.

    Raises:
        RuntimeUnavailable: PyCUDA is not installed or does not load, or there is no driver or GPU.
    """
    try:
        from pycuda import driver  # type: ignore[import-not-found]  # not installed where mypy runs
    except ImportError as error:
        reason = str(error)
        if "libcuda" in reason:
            raise RuntimeUnavailable(f"no NVIDIA driver ({reason}); install one") from error
        if isinstance(error, ModuleNotFoundError) and error.name == "pycuda":
            raise RuntimeUnavailable(
                f"PyCUDA is not installed ({reason}); install pycuda, which needs a CUDA toolkit and g++"
            ) from error
        raise RuntimeUnavailable(
            f"PyCUDA is installed but does not load ({reason}); install what is missing, or pycuda again for"
            " this Python and driver"
        ) from error
    try:
        driver.init()
        count = int(driver.Device.count())
    except driver.Error as error:
        raise RuntimeUnavailable(f"no NVIDIA GPU or driver ({error}); look at nvidia-smi") from error
    if not count:
        raise RuntimeUnavailable("no NVIDIA GPU; look at nvidia-smi and CUDA_VISIBLE_DEVICES")
    return driver


def facts_of(driver: Any, ordinal: int = 0) -> DeviceFacts:
    """Return what a GPU is."""
    with opening_errors(driver.Error):
        device = driver.Device(ordinal)
        major, minor = device.compute_capability()
        return DeviceFacts(
            name=device.name(),
            capability=f"{major}.{minor}",
            driver=_driver_version(driver.get_driver_version()),
        )


def _driver_version(cuda: int) -> str:
    served = f"CUDA {cuda // 1000}.{cuda % 1000 // 10}"
    try:
        return f"{_DRIVER_VERSION.read_text(encoding='ascii').strip()} ({served})"
    except OSError:  # in a container without the host's /sys
        return served


class _Buffer:
    """Device memory; knows who owns it."""

    def __init__(self, owner: "PyCudaDevice", allocation: Any, nbytes: int) -> None:
        self._owner = owner
        self._allocation = allocation
        self.nbytes = nbytes
        self.address = int(allocation)

    def free(self) -> None:
        self._owner.release(self, self._allocation.free)


class _Pinned:
    """Pinned host memory."""

    def __init__(self, owner: "PyCudaDevice", array: Any) -> None:
        self._owner = owner
        self._allocation = array.base
        self.array: Bytes = array

    def free(self) -> None:
        self._owner.release(self, self._allocation.free)


class _Stream:
    def __init__(self, owner: "PyCudaDevice", stream: Any) -> None:
        self._owner = owner
        self.foreign = stream
        self.handle = int(stream.handle)

    def wait_for(self, event: CudaEvent) -> None:
        assert isinstance(event, _Event)  # noqa: S101 - a device's events and streams come from it alone
        self._owner.do("letting a stream wait", lambda: self.foreign.wait_for_event(event.foreign))

    def synchronize(self) -> None:
        self._owner.do("waiting for a stream", self.foreign.synchronize)


class _Event:
    def __init__(self, owner: "PyCudaDevice", event: Any) -> None:
        self._owner = owner
        self.foreign = event

    def record(self, stream: CudaStream) -> None:
        self._owner.do("recording an event", lambda: self.foreign.record(_foreign(stream)))

    def synchronize(self) -> None:
        self._owner.do("waiting for the GPU", self.foreign.synchronize)


class _Graph:
    def __init__(self, owner: "PyCudaDevice", graph: CapturedGraph) -> None:
        self._owner = owner
        self._graph = graph

    def launch(self, stream: CudaStream) -> None:
        self._owner.check_thread()
        self._graph.launch(stream.handle)

    def free(self) -> None:
        self._owner.release(self, self._graph.free)


def _foreign(stream: CudaStream) -> Any:
    assert isinstance(stream, _Stream)  # noqa: S101 - a device's events and streams come from it alone
    return stream.foreign


class PyCudaDevice:
    """One GPU and its context. Every method belongs to the thread that made it."""

    def __init__(self, driver: Any, *, ordinal: int = 0, graphs: Callable[[], GraphDriver] = libcuda) -> None:
        """Make a context and enter it.

        Raises:
            RuntimeUnavailable: the device cannot be opened.
            DeviceOutOfMemory: others have taken all of its memory.
        """
        self._driver = driver
        self._graphs = graphs
        self._thread = threading.get_ident()
        self.facts = facts_of(driver, ordinal)
        with opening_errors(driver.Error):
            self._context = driver.Device(ordinal).make_context(flags=driver.ctx_flags.SCHED_AUTO)
        # What is alive, in the order of its making, with how to free it.
        self._alive: dict[Any, Callable[[], object]] = {}
        self._marks: list[_Stream | _Event] = []
        self._closed = False

    def allocate(self, nbytes: int) -> DeviceBuffer:
        """Return memory on the device."""
        made = self.do(f"allocating {nbytes} bytes", lambda: self._driver.mem_alloc(max(nbytes, 1)))
        buffer = _Buffer(self, made, nbytes)
        self._alive[buffer] = made.free
        return buffer

    def pinned(self, nbytes: int) -> _Pinned:
        """Return pinned memory of the host."""
        array = self.do(
            f"pinning {nbytes} bytes of the host",
            lambda: self._driver.pagelocked_empty(max(nbytes, 1), "uint8"),
        )
        buffer = _Pinned(self, array)
        self._alive[buffer] = array.base.free
        return buffer

    def stream(self) -> CudaStream:
        """Return a new stream."""
        stream = _Stream(self, self.do("making a stream", self._driver.Stream))
        self._marks.append(stream)
        return stream

    def event(self) -> CudaEvent:
        """Return a new event, without timing: an event with it costs more to record."""
        flags = self._driver.event_flags.DISABLE_TIMING
        event = _Event(self, self.do("making an event", lambda: self._driver.Event(flags)))
        self._marks.append(event)
        return event

    def upload(self, target: DeviceBuffer, source: Bytes, stream: CudaStream) -> None:
        """Copy pinned bytes to the device; returns at once."""
        self._fits(source.nbytes, target)
        to_stream = _foreign(stream)
        self.do("uploading", lambda: self._driver.memcpy_htod_async(target.address, source, to_stream))

    def download(self, target: Bytes, source: DeviceBuffer, stream: CudaStream) -> None:
        """Copy bytes of the device into pinned memory; returns at once."""
        self._fits(target.nbytes, source)
        from_stream = _foreign(stream)
        self.do("downloading", lambda: self._driver.memcpy_dtoh_async(target, source.address, from_stream))

    def upload_now(self, target: DeviceBuffer, source: Bytes) -> None:
        """Copy any bytes to the device, and wait until they are there."""
        self._fits(source.nbytes, target)
        self.do("uploading", lambda: self._driver.memcpy_htod(target.address, source))

    def capture(self, stream: CudaStream, enqueue: Callable[[], None]) -> CudaGraph | None:
        """Capture what `enqueue` puts into the stream, without doing it."""
        self.check_thread()
        captured = capture(self._graphs(), stream.handle, enqueue)
        if captured is None:
            return None
        graph = _Graph(self, captured)
        self._alive[graph] = captured.free
        return graph

    def free_bytes(self) -> int:
        """Return how much memory of the device is free."""
        free, _total = self.do("asking for free memory", self._driver.mem_get_info)
        return int(free)

    def close(self) -> None:
        """Free what is left in the reverse order of its making, then destroy the context."""
        self.check_thread()
        if self._closed:
            return
        self._closed = True
        try:
            with cuda_errors(self._driver.Error, "closing the device"):
                self._close()
        except DeviceOutOfMemory as error:  # the context is still current, and nothing more is asked of it
            raise DeviceFailed(str(error)) from error

    def _close(self) -> None:
        self._context.synchronize()
        for free in reversed(list(self._alive.values())):
            free()
        self._alive.clear()
        for mark in self._marks:
            mark.foreign = None  # PyCUDA destroys it now, while there is a context
        self._context.pop()
        self._context.detach()

    def do(self, doing: str, work: Callable[[], Any]) -> Any:
        """Call the driver in the right thread, with its errors mapped to ours."""
        self.check_thread()
        with cuda_errors(self._driver.Error, doing):
            return work()

    def release(self, what: Any, free: Callable[[], object]) -> None:
        """Free one thing; a second time does nothing."""
        if self._alive.pop(what, None) is not None:
            self.do("freeing memory", free)

    def check_thread(self) -> None:
        """Refuse to be used by another thread: the context is current in one alone."""
        if threading.get_ident() != self._thread:
            name = threading.current_thread().name
            raise RuntimeError(f"thread {name} used the GPU; only the thread that opened it may")

    @staticmethod
    def _fits(nbytes: int, buffer: DeviceBuffer) -> None:
        if nbytes > buffer.nbytes:
            raise ValueError(f"{nbytes} bytes do not fit into a buffer of {buffer.nbytes}")
