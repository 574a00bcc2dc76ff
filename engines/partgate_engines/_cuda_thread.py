"""The one thread that may use the GPU, and how others ask it."""

import atexit
import contextlib
import math
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import structlog

from partgate_engines._cuda_errors import DeviceFailed, DeviceHung, let_go
from partgate_station import PartgateError

log = structlog.get_logger(__name__)


class Closable(Protocol):
    """What lives in the thread."""

    def close(self) -> None:
        """Give everything back; called in the thread."""


S = TypeVar("S", bound=Closable)
R = TypeVar("R")
Finish = Callable[[], R]
"""Waits for the device, and returns what it answered."""


@dataclass(frozen=True, slots=True)
class _Job(Generic[S, R]):
    start: Callable[[S], Finish[R]]
    future: "Future[R]"
    alone: bool
    """Whether nothing else may be running on the device."""


class DeviceThread(Generic[S]):
    """Opens a state, does what it is asked with it, and closes it: all in one thread.

    A job is started, and its finish is awaited only when no other job waits to be started or `ahead`
    of them are running: so the copy of one frame runs beside the judging of the one before.

        OPEN --- job ---> OPEN          jobs that fail hand their error to who asked
        OPEN --- DeviceFailed --->  PARKED   all jobs fail; the device is never touched again, not even
                                             to free: the process must end
        OPEN --- close ---> CLOSED      what runs is finished, then the state is closed
             `--- and fails --->    PARKED

    A parked thread waits until the process is gone. If it returned, with its context still current,
    PyCUDA would abort the process in place of its exit code.
    """

    def __init__(
        self,
        open_state: Callable[[], S],
        *,
        name: str,
        waiting: int = 8,
        ahead: int = 2,
        open_timeout_s: float = 1800.0,
    ) -> None:
        """Start the thread and wait until the state is open.

        Args:
            open_state: makes the state, in the thread.
            name: of the thread.
            waiting: jobs that may wait; who brings one more waits for room until his own time is up.
            ahead: jobs that may run on the device at once.
            open_timeout_s: for opening, which may compile.

        Raises:
            DeviceHung: it did not open in time.
        """
        self._jobs: queue.Queue[_Job[S, object] | None] = queue.Queue(maxsize=waiting)
        self._ahead = ahead
        self._failure: DeviceFailed | None = None
        self._closed = False
        self._patient_until_s = -math.inf
        self._never = _NEVER
        self._parked = False
        self._at_rest = threading.Event()  # parked, or closed
        opened: Future[None] = Future()
        # A daemon, because a device that hangs must not keep a process from ending.
        self._thread = threading.Thread(target=self._work, args=(open_state, opened), name=name, daemon=True)
        self._thread.start()
        try:
            opened.result(open_timeout_s)
        except FutureTimeout:
            raise self._hung("opening the GPU", open_timeout_s) from None
        # An exit that forgot to close: what is left would be destroyed after the driver.
        self._at_exit = partial(_close, weakref.ref(self))
        atexit.register(self._at_exit)

    @property
    def failure(self) -> DeviceFailed | None:
        """Why the device may not be used any more; None if it may."""
        return self._failure

    def submit(
        self, start: Callable[[S], Finish[R]], *, timeout_s: float, alone: bool = False
    ) -> "Future[R]":
        """Ask for a job.

        Args:
            start: puts work into the device's streams and returns how to finish it.
            timeout_s: how long to wait for room in the queue.
            alone: start it only when nothing else is running.

        Raises:
            DeviceFailed: the device may not be used any more.
            DeviceHung: there was no room in time: what runs does not end.
        """
        self._refuse_unusable()
        future: Future[R] = Future()
        try:
            job: Any = _Job(start, future, alone)  # one queue for all R
            self.wait(lambda s: self._jobs.put(job, timeout=s), timeout_s=timeout_s)
        except queue.Full:
            raise self._hung("waiting for room in its queue", timeout_s) from None
        if self._failure is not None:  # it failed while we put the job there: nobody may come for it
            self._fail_waiting()
        return future

    def call(self, work: Callable[[S], R], *, timeout_s: float) -> R:
        """Do something in the thread while nothing else is running, and return what it returns.

        Raises:
            DeviceFailed: the device may not be used any more.
        """

        def start(state: S) -> Finish[R]:
            result = work(state)
            return lambda: result

        return self.result(self.submit(start, timeout_s=timeout_s, alone=True), timeout_s=timeout_s)

    def result(self, future: "Future[R]", *, timeout_s: float) -> R:
        """Wait for a job.

        Raises:
            DeviceHung: it took too long; nothing more is asked of the device.
        """
        try:
            return self.wait(future.result, timeout_s=timeout_s)
        except FutureTimeout:
            raise self._hung("judging", timeout_s) from None

    @contextlib.contextmanager
    def patience(self, limit_s: float) -> Iterator[None]:
        """Let what the thread does inside take this long before it is taken for hung. For its jobs alone."""
        self._patient_until_s = time.monotonic() + limit_s
        try:
            yield
        finally:
            self._patient_until_s = time.monotonic()

    def wait(self, wait: Callable[[float], R], *, timeout_s: float) -> R:
        """Wait for what only the thread can bring about, again and again while it asks for patience.

        Args:
            wait: waits so many seconds, then raises one of the standard library's errors.
            timeout_s: how long without patience; after it as long again, for what stood behind it.
        """
        while True:
            try:
                return wait(timeout_s)
            except (FutureTimeout, queue.Full, queue.Empty):
                if time.monotonic() - self._patient_until_s >= timeout_s:
                    raise

    def close(self, *, timeout_s: float = 10.0) -> None:
        """Finish what runs, close the state and end the thread; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self._at_exit)
        if self._failure is None:
            try:
                self._jobs.put(None, timeout=timeout_s)
            except queue.Full:
                self._hung("closing", timeout_s)
        # Nobody waits for a thread that failed: it does not end.
        if self._failure is None and self._at_rest.wait(timeout_s) and not self._parked:
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("device.left_running", thread=self._thread.name, what_now="end this process")

    def _refuse_unusable(self) -> None:
        if self._closed:
            raise ValueError("the runtime is closed")
        if self._failure is not None:
            raise type(self._failure)(str(self._failure)) from self._failure

    def _hung(self, doing: str, timeout_s: float) -> DeviceHung:
        hung = DeviceHung(f"GPU: no answer within {timeout_s:g} s while {doing}; this process must end")
        self._failure = self._failure or hung
        log.error("device.hung", doing=doing, timeout_s=timeout_s)
        with contextlib.suppress(queue.Full):
            self._jobs.put_nowait(None)  # wakes it, should it have come back after all
        return hung

    def _work(self, open_state: Callable[[], S], opened: "Future[None]") -> None:
        try:
            state = open_state()
        except Exception as error:  # noqa: BLE001 - the top of the thread: handed to who opened it
            opened.set_exception(error)
            if _may_leave_a_context(error):
                self._park(error)
            return
        opened.set_result(None)
        running: deque[tuple[Finish[object], Future[object]]] = deque()
        while self._failure is None and self._step(state, running):
            pass
        if self._failure is None and self._close(state):
            self._at_rest.set()
            return
        for _, future in running:
            future.set_exception(self._failure)
        self._fail_waiting()
        # The state is left as it is: freeing anything would ask a context that may not be asked.
        self._park(state)

    def _park(self, left: object) -> None:
        _LEFT.append(left)
        self._parked = True
        self._at_rest.set()
        self._never.wait()

    def _step(self, state: S, running: deque[tuple[Finish[object], "Future[object]"]]) -> bool:
        """Start one job or finish one; return whether to go on."""
        try:
            # Without a timeout: the interpreter, when it ends, ends a thread that wakes, context and all.
            job = self._jobs.get_nowait() if running else self._jobs.get()
        except queue.Empty:
            if running:
                self._finish(running)
            return True
        while running and self._failure is None and (job is None or job.alone or len(running) >= self._ahead):
            self._finish(running)
        if job is None:
            return False
        if self._failure is not None:
            job.future.set_exception(self._failure)
            return False
        self._start(state, job, running)
        return True

    def _start(
        self, state: S, job: _Job[S, object], running: deque[tuple[Finish[object], "Future[object]"]]
    ) -> None:
        try:
            running.append((job.start(state), job.future))
        except Exception as error:  # noqa: BLE001 - the top of the thread: handed to who asked
            self._note(error)
            job.future.set_exception(error)

    def _finish(self, running: deque[tuple[Finish[object], "Future[object]"]]) -> None:
        finish, future = running.popleft()
        try:
            future.set_result(finish())
        except Exception as error:  # noqa: BLE001 - the top of the thread: handed to who asked
            self._note(error)
            future.set_exception(error)

    def _note(self, error: Exception) -> None:
        if isinstance(error, DeviceFailed):
            self._failure = self._failure or error
            _LEFT.append(error)  # its traceback holds what lies on the device
            log.error("device.failed", why=str(error))
        else:
            let_go(error)

    def _fail_waiting(self) -> None:
        while self._failure is not None:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is not None:
                job.future.set_exception(self._failure)

    def _close(self, state: S) -> bool:
        try:
            state.close()
        except Exception as error:  # noqa: BLE001 - the top of the thread: there is nobody left to tell
            _LEFT.append(error)
            log.error("device.close_failed", why=str(error))
            return False
        return True


def _may_leave_a_context(error: Exception) -> bool:
    """Return whether an opening that failed may have left its context current: all but our own errors may."""
    return isinstance(error, DeviceFailed) or not isinstance(error, PartgateError)


def _close(thread: "weakref.ref[DeviceThread[Any]]") -> None:
    found = thread()
    if found is not None:
        found.close()


_LEFT: list[object] = []
"""What failed devices left behind, kept until the process ends so that no destructor asks them."""

_NEVER = threading.Event()
"""What parked threads wait for. Only a test, whose device is none, sets its own."""
