"""The one thread that may use the GPU: in order, in time, and never again after a failure."""

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from partgate_engines import RuntimeUnavailable, _cuda_thread
from partgate_engines._cuda_errors import DeviceFailed, DeviceHung, DeviceOutOfMemory, let_go
from partgate_engines._cuda_thread import DeviceThread


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
