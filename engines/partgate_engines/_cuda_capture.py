"""CUDA graphs, by the driver's own functions: PyCUDA 2026.1 has none for them."""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Protocol

from partgate_engines._cuda_errors import DeviceFailed, DeviceOutOfMemory

_THREAD_LOCAL = 1  # only what this thread does is captured, and forbidden calls of others do not end it
_OUT_OF_MEMORY = 2
# CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED to _WRONG_THREAD: the capture ended, the context is sound.
_CAPTURE_ERRORS = range(900, 909)


class GraphDriver(Protocol):
    """The driver's functions for graphs; each returns a code, 0 for success."""

    def begin(self, stream: int) -> int:
        """Begin a capture."""

    def end(self, stream: int) -> tuple[int, int]:
        """End it: a code and the graph."""

    def instantiate(self, graph: int) -> tuple[int, int]:
        """Make a graph ready to launch: a code and what can be launched."""

    def launch(self, executable: int, stream: int) -> int:
        """Launch it."""

    def destroy_graph(self, graph: int) -> int:
        """Forget a graph."""

    def destroy(self, executable: int) -> int:
        """Forget what can be launched."""


class CapturedGraph:
    """A captured graph, ready to launch."""

    def __init__(self, driver: GraphDriver, executable: int) -> None:
        self._driver = driver
        self._executable: int | None = executable

    def launch(self, stream_handle: int) -> None:
        """Do all of it again; returns at once.

        Raises:
            DeviceFailed: the driver refuses.
        """
        if self._executable is None:
            raise ValueError("the graph was freed")
        _checked(self._driver.launch(self._executable, stream_handle), "launching a CUDA graph")

    def free(self) -> None:
        """Give it back; a second time does nothing."""
        if self._executable is not None:
            executable, self._executable = self._executable, None
            _checked(self._driver.destroy(executable), "freeing a CUDA graph")


def capture(driver: GraphDriver, stream_handle: int, enqueue: Callable[[], None]) -> CapturedGraph | None:
    """Capture what `enqueue` puts into a stream.

    Returns:
        None if something in it cannot be captured, or refuses to be: without a graph it may run.

    Raises:
        DeviceOutOfMemory: the driver has no room for the graph.
        DeviceFailed: the driver refuses for another reason.
    """
    _checked(driver.begin(stream_handle), "beginning to capture a CUDA graph")
    try:
        enqueue()
    except DeviceFailed:
        # TensorRT says no more than that it failed; the end of the capture says whether the context did.
        code, graph = driver.end(stream_handle)
        if code and code not in _CAPTURE_ERRORS:
            raise
        _forget(driver, graph)
        return None
    except BaseException:
        driver.end(stream_handle)  # a stream that is left capturing takes no other work
        raise
    code, graph = driver.end(stream_handle)
    if code in _CAPTURE_ERRORS:
        _forget(driver, graph)
        return None
    _checked(code, "capturing a CUDA graph")
    code, executable = driver.instantiate(graph)
    _checked(driver.destroy_graph(graph), "capturing a CUDA graph")
    _checked(code, "making a CUDA graph ready")
    return CapturedGraph(driver, executable)


def _forget(driver: GraphDriver, graph: int) -> None:
    if graph:
        _checked(driver.destroy_graph(graph), "forgetting a CUDA graph")


def _checked(code: int, doing: str) -> None:
    if code == _OUT_OF_MEMORY:
        raise DeviceOutOfMemory(f"GPU: no memory left while {doing}")
    if code:
        raise DeviceFailed(
            f"GPU: failed while {doing} (CUDA error {code}); this process ends, because its CUDA context may"
            " answer wrongly from now on"
        )


class LibCuda:
    """The functions in libcuda, which comes with the driver."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def begin(self, stream: int) -> int:
        """Begin a capture."""
        return self._call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), ctypes.c_int(_THREAD_LOCAL))

    def end(self, stream: int) -> tuple[int, int]:
        """End it."""
        graph = ctypes.c_void_p()
        code = self._call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        return code, graph.value or 0

    def instantiate(self, graph: int) -> tuple[int, int]:
        """Make a graph ready to launch."""
        executable = ctypes.c_void_p()
        code = self._call(
            "cuGraphInstantiateWithFlags",
            ctypes.byref(executable),
            ctypes.c_void_p(graph),
            ctypes.c_ulonglong(0),
        )
        return code, executable.value or 0

    def launch(self, executable: int, stream: int) -> int:
        """Launch it."""
        return self._call("cuGraphLaunch", ctypes.c_void_p(executable), ctypes.c_void_p(stream))

    def destroy_graph(self, graph: int) -> int:
        """Forget a graph."""
        return self._call("cuGraphDestroy", ctypes.c_void_p(graph))

    def destroy(self, executable: int) -> int:
        """Forget what can be launched."""
        return self._call("cuGraphExecDestroy", ctypes.c_void_p(executable))

    def _call(self, name: str, *arguments: object) -> int:
        code: int = getattr(self._library, name)(*arguments)
        return code


@cache
def libcuda() -> GraphDriver:
    """Return the driver's functions.

    Raises:
        OSError: this machine has no NVIDIA driver.
    """
    return LibCuda(ctypes.CDLL("libcuda.so.1"))
