"""How long the machine stood still while a test ran: what a test in real time cannot be blamed for."""

import threading
import time
from types import TracebackType
from typing import Self

TURN_S = 0.005


class Standstill:
    """Measures by how much a thread that sleeps is woken too late at most, while this is open."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="standstill", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        before_s = time.monotonic()
        while not self._over.wait(TURN_S):
            now_s = time.monotonic()
            self.longest_s = max(self.longest_s, now_s - before_s - TURN_S)
            before_s = now_s
