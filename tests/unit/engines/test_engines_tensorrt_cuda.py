"""The layer over PyCUDA, with a driver that is a few Python classes."""

import builtins
import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest

from partgate_engines import RuntimeUnavailable, _cuda_thread
from partgate_engines._cuda_capture import capture
from partgate_engines._cuda_errors import DeviceFailed, DeviceHung, DeviceOutOfMemory, let_go
from partgate_engines._cuda_pycuda import PyCudaDevice, facts_of, load_driver
from partgate_engines._cuda_thread import DeviceThread
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


@pytest.fixture
def parked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let threads that park go when the test is over: what they hold is no device."""
    over = threading.Event()
    monkeypatch.setattr(_cuda_thread, "_NEVER", over)
    monkeypatch.setattr(_cuda_thread, "_LEFT", [])
    yield
    over.set()


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


class State:
    """Something that belongs to one thread."""

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.closed_in: threading.Thread | None = None
        self.journal: list[str] = []

    def close(self) -> None:
        self.closed_in = threading.current_thread()


def test_everything_happens_in_one_thread() -> None:
    device = DeviceThread(State, name="gpu")
    state = device.call(lambda state: state, timeout_s=10)
    assert device.call(lambda _: threading.current_thread(), timeout_s=10) is state.thread
    assert state.thread.name == "gpu"
    device.close()
    device.close()
    assert state.closed_in is state.thread
    assert not state.thread.is_alive()
    with pytest.raises(ValueError, match="closed"):
        device.call(lambda _: None, timeout_s=1)


def test_the_next_job_is_started_before_the_last_is_finished() -> None:
    device, gate = DeviceThread(State, name="gpu"), threading.Event()

    def job(name: str) -> Callable[[State], Callable[[], str]]:
        def start(state: State) -> Callable[[], str]:
            state.journal.append(f"start {name}")

            def finish() -> str:
                state.journal.append(f"finish {name}")
                return name

            return finish

        return start

    blocked = device.submit(lambda _: lambda: gate.wait(10), timeout_s=10)
    jobs = [device.submit(job(name), timeout_s=10) for name in "abc"]
    alone = device.submit(lambda state: lambda: tuple(state.journal), timeout_s=10, alone=True)
    gate.set()
    assert [device.result(future, timeout_s=10) for future in jobs] == ["a", "b", "c"]
    assert blocked.result(10)
    journal = alone.result(10)
    # Two run at once, and never three; what wants to be alone comes when nothing runs.
    assert [journal.index(f"start {name}") < journal.index(f"finish {last}") for last, name in ("ab", "bc")]
    assert journal.index("start b") < journal.index("finish a") < journal.index("start c")
    assert len(journal) == 6
    device.close()


def test_an_error_of_ours_is_handed_on_and_the_thread_goes_on() -> None:
    device = DeviceThread(State, name="gpu")
    with pytest.raises(ZeroDivisionError):
        device.call(lambda _: 1 // 0, timeout_s=10)
    assert device.call(lambda _: 4, timeout_s=10) == 4
    device.close()


@pytest.mark.usefixtures("parked")
def test_after_a_fatal_error_the_device_is_never_asked_again() -> None:
    device, gate = DeviceThread(State, name="gpu"), threading.Event()
    state = device.call(lambda state: state, timeout_s=10)

    def fail(_: State) -> Callable[[], None]:
        assert gate.wait(10)
        raise DeviceFailed("an illegal memory access")

    asked: list[str] = []

    def ask(_: State) -> Callable[[], None]:
        asked.append("asked")
        return lambda: None

    first = device.submit(fail, timeout_s=10)
    waiting = [device.submit(ask, timeout_s=10) for _ in "abc"]
    gate.set()
    for future in [first, *waiting]:
        with pytest.raises(DeviceFailed, match="illegal"):
            device.result(future, timeout_s=10)
    with pytest.raises(DeviceFailed, match="illegal"):
        device.call(lambda _: asked.append("asked"), timeout_s=10)
    started_s = time.monotonic()
    device.close()
    assert time.monotonic() - started_s < 5
    assert asked == []
    assert state.closed_in is None  # not even to free its memory
    # Its context is still current: PyCUDA aborts the process when such a thread ends.
    assert state.thread.is_alive()
    assert state in _cuda_thread._LEFT


class Unclosable(State):
    """Fails before its context is gone."""

    def close(self) -> None:
        raise RuntimeError("the kernels cannot be read")


@pytest.mark.usefixtures("parked")
def test_a_thread_whose_state_does_not_close_stays() -> None:
    device = DeviceThread(Unclosable, name="gpu")
    state = device.call(lambda state: state, timeout_s=10)
    started_s = time.monotonic()
    device.close()
    assert time.monotonic() - started_s < 5
    assert state.thread.is_alive()
    assert state in _cuda_thread._LEFT


@pytest.mark.usefixtures("parked")
@pytest.mark.parametrize("error", [DeviceFailed("illegal memory access"), TypeError("a null pointer")])
def test_a_thread_that_may_have_left_a_context_open_stays(error: Exception) -> None:
    opened_in: list[threading.Thread] = []

    def fail() -> State:
        opened_in.append(threading.current_thread())
        raise error

    with pytest.raises(type(error)):
        DeviceThread(fail, name="gpu")
    opened_in[0].join(0.2)
    assert opened_in[0].is_alive()
    assert error in _cuda_thread._LEFT


def test_an_exit_that_forgot_to_close_closes() -> None:
    code = """
import sys
from partgate_engines._cuda_thread import DeviceThread
class State:
    def close(self): print("closed", flush=True)
device = DeviceThread(State, name="gpu")
sys.exit(3)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False
    )
    assert (ran.returncode, ran.stdout) == (3, "closed\n"), ran.stderr


def test_what_an_error_holds_goes_in_the_devices_thread() -> None:
    device = DeviceThread(State, name="gpu")
    dropped_in: list[threading.Thread] = []

    def fail(_: State) -> None:
        held = State()  # as TensorRT's objects, which need the context when they go
        weakref.finalize(held, lambda: dropped_in.append(threading.current_thread()))
        try:
            held.journal.index("not there")
        except ValueError as error:
            raise DeviceOutOfMemory("no room") from error

    with pytest.raises(DeviceOutOfMemory) as refused:
        device.call(fail, timeout_s=10)
    assert [thread.name for thread in dropped_in] == ["gpu"]
    assert refused.value.__cause__ is not None
    device.close()


def test_errors_that_lead_to_each_other_are_let_go() -> None:
    first, second = ValueError(), ValueError()
    first.__cause__, second.__context__ = second, first
    let_go(first)
    del first, second
    gc.collect()


@pytest.mark.usefixtures("parked")
def test_a_job_that_may_be_slow_is_not_taken_for_hung_and_others_wait_for_it() -> None:
    device, begun = DeviceThread(State, name="gpu", waiting=1), threading.Event()

    def compile_kernels(_: State) -> Callable[[], str]:
        with device.patience(30):
            begun.set()
            time.sleep(0.5)
        return lambda: "compiled"

    first = device.submit(compile_kernels, timeout_s=0.1)
    assert begun.wait(10)
    behind = [device.submit(lambda _: lambda: "judged", timeout_s=0.1) for _ in range(2)]
    assert device.result(first, timeout_s=0.1) == "compiled"
    assert [device.result(future, timeout_s=0.1) for future in behind] == ["judged", "judged"]
    # Once it is over, the usual limit holds again.
    gate = threading.Event()
    with pytest.raises(DeviceHung):
        device.call(lambda _: gate.wait(20), timeout_s=0.15)
    gate.set()
    device.close()


@pytest.mark.usefixtures("parked")
def test_patience_has_an_end() -> None:
    device, gate = DeviceThread(State, name="gpu"), threading.Event()

    def hang(_: State) -> Callable[[], None]:
        with device.patience(0.2):
            gate.wait(20)
        return lambda: None

    with pytest.raises(DeviceHung):
        device.result(device.submit(hang, timeout_s=10), timeout_s=0.1)
    gate.set()
    device.close()


@pytest.mark.usefixtures("parked")
def test_a_device_that_hangs_is_given_up() -> None:
    device, gate = DeviceThread(State, name="gpu"), threading.Event()
    with pytest.raises(DeviceHung, match=r"no answer within 0\.05 s") as hung:
        device.call(lambda _: gate.wait(20), timeout_s=0.05)
    assert hung.value.exit_code == 70
    with pytest.raises(DeviceHung):
        device.call(lambda _: None, timeout_s=10)
    device.close()
    gate.set()


def test_an_opening_that_fails_is_told() -> None:
    def fail() -> State:
        raise RuntimeUnavailable("no GPU")

    with pytest.raises(RuntimeUnavailable, match="no GPU"):
        DeviceThread(fail, name="gpu")
