"""The layer over PyCUDA, with a driver that is a few Python classes."""

import builtins
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest

from partgate_engines import RuntimeUnavailable
from partgate_engines._cuda_capture import capture
from partgate_engines._cuda_errors import DeviceFailed, DeviceOutOfMemory
from partgate_engines._cuda_pycuda import PyCudaDevice, facts_of, load_driver
from partgate_station import PartgateError


class Error(Exception):
    """As `pycuda.driver.Error`, the root of PyCUDA's errors."""


class MemoryError_(Error):  # noqa: N801 - PyCUDA calls it MemoryError
    pass


class LogicError(Error):
    pass


class LaunchError(Error):
    pass


class RuntimeError_(Error):  # noqa: N801 - PyCUDA calls it RuntimeError
    pass


class Driver:
    """`pycuda.driver`, as far as it is used, with a journal."""

    Error = Error
    ctx_flags = SimpleNamespace(SCHED_AUTO=0)
    event_flags = SimpleNamespace(DISABLE_TIMING=2)

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.fails: Exception | None = None
        self.Device = lambda ordinal: self
        self.memory: dict[int, bytes] = {}

    def _did(self, what: str) -> None:
        self.journal.append(what)
        if self.fails is not None:
            raise self.fails

    def name(self) -> str:
        return "NVIDIA L4"

    def compute_capability(self) -> tuple[int, int]:
        return 8, 9

    def get_driver_version(self) -> int:
        return 13010

    def make_context(self, *, flags: int) -> "Driver":
        self._did("make context")
        return self

    def synchronize(self) -> None:
        self._did("synchronize")

    def pop(self) -> None:
        self._did("pop")

    def detach(self) -> None:
        self._did("detach")

    def mem_alloc(self, nbytes: int) -> "Allocation":
        self._did(f"alloc {nbytes}")
        return Allocation(self, nbytes)

    def pagelocked_empty(self, nbytes: int, dtype: str) -> Any:
        self._did(f"pin {nbytes}")
        return Pinned(self, nbytes)

    def memcpy_htod(self, address: int, source: Any) -> None:
        self._did("copy")
        self.memory[address] = bytes(source)

    def memcpy_htod_async(self, address: int, source: Any, stream: Any) -> None:
        self._did(f"copy in {stream.handle}")
        self.memory[address] = bytes(source)

    def memcpy_dtoh_async(self, target: Any, address: int, stream: Any) -> None:
        self._did(f"copy back in {stream.handle}")
        target[:] = np.frombuffer(self.memory[address], np.uint8)

    def mem_get_info(self) -> tuple[int, int]:
        return 7, 24

    def Stream(self) -> Any:  # noqa: N802 - PyCUDA's name
        self._did("stream")
        return SimpleNamespace(handle=77, synchronize=lambda: self._did("wait for stream"))

    def Event(self, flags: int) -> Any:  # noqa: N802 - PyCUDA's name
        self._did(f"event {flags}")
        return SimpleNamespace(
            record=lambda stream: self._did(f"record in {stream.handle}"),
            synchronize=lambda: self._did("wait for event"),
        )


class Allocation:
    def __init__(self, driver: Driver, nbytes: int) -> None:
        self._driver, self._nbytes = driver, nbytes

    def __int__(self) -> int:
        return 4096 + self._nbytes

    def free(self) -> None:
        self._driver._did(f"free {self._nbytes}")


class Pinned(np.ndarray[Any, np.dtype[np.uint8]]):
    """An array whose base can be freed, as PyCUDA's."""

    def __new__(cls, driver: Driver, nbytes: int) -> Self:
        found = np.zeros(nbytes, np.uint8).view(cls)
        found.owner = SimpleNamespace(free=lambda: driver._did(f"unpin {nbytes}"))
        return found

    @property
    def base(self) -> Any:
        return self.owner

    owner: Any = None


class Graphs:
    """The driver's functions for graphs, by codes."""

    def __init__(self, **codes: int) -> None:
        self.codes = codes
        self.journal: list[str] = []

    def _did(self, what: str) -> int:
        self.journal.append(what)
        return self.codes.get(what, 0)

    def begin(self, stream: int) -> int:
        return self._did("begin")

    def end(self, stream: int) -> tuple[int, int]:
        return self._did("end"), 5

    def instantiate(self, graph: int) -> tuple[int, int]:
        return self._did("instantiate"), 6

    def launch(self, executable: int, stream: int) -> int:
        assert executable == 6
        return self._did("launch")

    def destroy_graph(self, graph: int) -> int:
        assert graph == 5
        return self._did("destroy graph")

    def destroy(self, executable: int) -> int:
        return self._did("destroy")


@pytest.fixture
def driver() -> Driver:
    return Driver()


@pytest.fixture
def device(driver: Driver) -> PyCudaDevice:
    return PyCudaDevice(driver, graphs=Graphs)


def test_a_gpu_is_described(driver: Driver) -> None:
    facts = facts_of(driver)
    assert (facts.name, facts.capability) == ("NVIDIA L4", "8.9")
    assert "CUDA 13.1" in facts.driver


def test_bytes_go_there_and_back(device: PyCudaDevice, driver: Driver) -> None:
    buffer, pinned, back = device.allocate(6), device.pinned(6), device.pinned(6)
    stream, event = device.stream(), device.event()
    pinned.array[:] = range(6)
    device.upload(buffer, pinned.array, stream)
    event.record(stream)
    device.download(back.array, buffer, stream)
    event.synchronize()
    assert back.array.tolist() == [0, 1, 2, 3, 4, 5]
    assert driver.journal[-4:] == ["copy in 77", "record in 77", "copy back in 77", "wait for event"]
    assert device.free_bytes() == 7


def test_what_is_left_is_freed_backwards_and_the_context_goes_last(
    device: PyCudaDevice, driver: Driver
) -> None:
    first, second = device.allocate(1), device.allocate(2)
    device.pinned(3)
    device.allocate(4)
    second.free()
    second.free()
    device.close()
    device.close()
    assert driver.journal[-7:] == ["free 2", "synchronize", "free 4", "unpin 3", "free 1", "pop", "detach"]
    assert first.nbytes == 1


def test_a_device_that_does_not_close_may_never_be_asked_again(device: PyCudaDevice, driver: Driver) -> None:
    # Also for want of memory: the context is still current in this thread.
    driver.fails = MemoryError_("cuCtxSynchronize failed: out of memory")
    with pytest.raises(DeviceFailed):
        device.close()
    assert "pop" not in driver.journal


@pytest.mark.parametrize(
    ("error", "says"),
    [
        pytest.param(ModuleNotFoundError("gone", name="pycuda"), "is not installed", id="not there"),
        pytest.param(ModuleNotFoundError("gone", name="pytools"), "does not load", id="what it needs"),
        pytest.param(ImportError("undefined symbol: cuInit", name="pycuda._driver"), "cuInit", id="damaged"),
        pytest.param(ImportError("libcuda.so.1: cannot open"), "no NVIDIA driver", id="no driver"),
    ],
)
def test_why_pycuda_is_not_there_is_said(
    monkeypatch: pytest.MonkeyPatch, error: ImportError, says: str
) -> None:
    real = builtins.__import__

    def broken(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "pycuda":
            raise error
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(RuntimeUnavailable, match=says) as refused:
        load_driver()
    assert ("is not installed" in str(refused.value)) == (says == "is not installed")


def test_more_than_a_buffer_holds_is_refused(device: PyCudaDevice, driver: Driver) -> None:
    buffer = device.allocate(4)
    with pytest.raises(ValueError, match="8 bytes do not fit into a buffer of 4"):
        device.upload_now(buffer, np.zeros(8, np.uint8))
    assert "copy" not in driver.journal


def test_only_the_thread_that_opened_it_may_use_a_device(device: PyCudaDevice) -> None:
    refused: list[str] = []

    def use(work: Callable[[], object]) -> None:
        try:
            work()
        except RuntimeError as error:
            refused.append(str(error))

    works: list[Callable[[], object]] = [lambda: device.allocate(1), device.stream, device.close]
    for work in works:
        thread = threading.Thread(target=use, args=(work,), name="somebody")
        thread.start()
        thread.join(10)
    assert len(refused) == 3
    assert all("thread somebody used the GPU" in text for text in refused)


FATAL = {
    "illegal address": LogicError("cuMemcpy failed: an illegal memory access was encountered"),
    "ECC": RuntimeError_("cuStreamSynchronize failed: uncorrectable ECC error encountered"),
    "launch": LaunchError("cuEventSynchronize failed: unspecified launch failure"),
    "timeout": LaunchError("cuEventSynchronize failed: the launch timed out and was terminated"),
    "unknown": Error("cuCtxSynchronize failed: unknown error"),
    "our mistake": LogicError("cuMemcpyHtoD failed: invalid argument"),
}


@pytest.mark.parametrize("error", FATAL.values(), ids=FATAL)
def test_errors_that_poison_a_context_end_the_process(
    device: PyCudaDevice, driver: Driver, error: Exception
) -> None:
    driver.fails = error
    with pytest.raises(DeviceFailed, match="this process ends") as failed:
        device.allocate(1)
    assert failed.value.exit_code == 70
    assert failed.value.__cause__ is error


def test_memory_that_ran_out_is_not_fatal(device: PyCudaDevice, driver: Driver) -> None:
    driver.fails = MemoryError_("cuMemAlloc failed: out of memory")
    with pytest.raises(DeviceOutOfMemory, match="allocating 100 bytes") as refused:
        device.allocate(100)
    assert refused.value.exit_code == 69
    driver.fails = None
    assert device.allocate(100).nbytes == 100


def test_every_error_of_pycuda_is_one_of_ours(device: PyCudaDevice, driver: Driver) -> None:
    kinds: list[type[Error]] = [Error, *Error.__subclasses__()]
    for kind in kinds:
        driver.fails = kind("cuSomething failed: for a reason nobody has seen")
        with pytest.raises(PartgateError):
            device.stream()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(LogicError("cuCtxCreate failed: device unavailable"), RuntimeUnavailable, id="taken"),
        pytest.param(MemoryError_("cuCtxCreate failed: out of memory"), DeviceOutOfMemory, id="full"),
    ],
)
def test_a_device_that_cannot_be_opened_is_not_there(
    driver: Driver, error: Exception, expected: type[Exception]
) -> None:
    driver.fails = error
    with pytest.raises(expected):
        PyCudaDevice(driver)


def test_what_is_captured_can_be_launched_again(driver: Driver) -> None:
    graphs = Graphs()
    device = PyCudaDevice(driver, graphs=lambda: graphs)
    stream, enqueued = device.stream(), []
    graph = device.capture(stream, lambda: enqueued.append(graphs.journal[-1]))
    assert graph is not None
    assert enqueued == ["begin"]
    graph.launch(stream)
    graph.free()
    graph.free()
    assert graphs.journal == ["begin", "end", "instantiate", "destroy graph", "launch", "destroy"]
    device.close()
    assert graphs.journal[-1:] == ["destroy"]


def test_what_cannot_be_captured_leaves_the_context_sound() -> None:
    assert capture(Graphs(end=901), 77, lambda: None) is None


def test_a_capture_that_breaks_off_is_ended() -> None:
    graphs = Graphs()

    def fail() -> None:
        raise DeviceOutOfMemory("no room")

    with pytest.raises(DeviceOutOfMemory):
        capture(graphs, 77, fail)
    assert graphs.journal == ["begin", "end"]


def _refuse() -> None:
    raise DeviceFailed("judging: operation not permitted when stream is capturing")


@pytest.mark.parametrize("code", [0, 900, 901, 908])
def test_a_run_that_refuses_to_be_captured_is_judged_without_a_graph(code: int) -> None:
    graphs = Graphs(end=code)
    assert capture(graphs, 77, _refuse) is None
    assert graphs.journal == ["begin", "end", "destroy graph"]


@pytest.mark.parametrize("code", [2, 700, 719])
def test_a_capture_that_breaks_off_because_the_context_did_is_fatal(code: int) -> None:
    with pytest.raises(DeviceFailed, match="capturing"):
        capture(Graphs(end=code), 77, _refuse)


@pytest.mark.parametrize("step", ["begin", "end", "instantiate", "destroy graph"])
@pytest.mark.parametrize(("code", "error"), [(2, DeviceOutOfMemory), (700, DeviceFailed)])
def test_errors_of_a_capture_are_mapped(step: str, code: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        capture(Graphs(**{step: code}), 77, lambda: None)
