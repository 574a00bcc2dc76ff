"""Closing a part's row once it is known whether its signal was confirmed, beside the loop."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Literal

import structlog

from partgate.line._outputs import Confirmation
from partgate.records import ClosedPart, SignalState

WAITING_PARTS = 64
TURN_S = 0.1
LONGEST_S = 60.0  # an output promises far less; one that does not keep it must not hold the ledger open
CLOSE_S = 75.0  # the recorder waits for a full disk for a minute

log = structlog.get_logger(__name__)

OnConfirmed = Callable[[Confirmation], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    part: ClosedPart
    signalled: Future[Confirmation]


class Confirmations:
    """Takes parts from one thread, in order; closes them by its own where they have to wait.

    Args:
        close_part: the recorder's.
        on_confirmed: told what became of each signal.
        waiting_parts: signalled, and not confirmed yet.
        overflow: what happens to one more. `block`: the line waits; each waits for a bounded time.
    """

    def __init__(
        self,
        close_part: Callable[[ClosedPart], None],
        *,
        on_confirmed: OnConfirmed = lambda confirmation: None,
        waiting_parts: int = WAITING_PARTS,
        overflow: Literal["block"] = "block",
    ) -> None:
        self._close_part, self._on_confirmed, self._overflow = close_part, on_confirmed, overflow
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(waiting_parts)
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    def hand_over(self, part: ClosedPart, signalled: Future[Confirmation] | None) -> None:
        """Have a part's row closed: at once if nobody confirms, else when that is known.

        Raises:
            StoreError: what the recorder raised, of this part or of one before.
        """
        self._raise_failure()
        if signalled is None:
            self._close_part(part)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="confirmations", daemon=True)
            self._thread.start()
        self._put(_Waiting(part=part, signalled=signalled))

    def finish(self) -> None:
        """Wait until every part that was handed over is closed; more may be handed over afterwards.

        Raises:
            StoreError: what the recorder raised.
        """
        thread, self._thread = self._thread, None
        if thread is not None:
            if thread.is_alive():
                self._put(None)
            thread.join(CLOSE_S + LONGEST_S)
        self._raise_failure()

    def _put(self, waiting: _Waiting | None) -> None:
        while True:
            try:
                self._queue.put(waiting, timeout=TURN_S)
            except queue.Full:
                self._raise_failure()  # otherwise: each that waits is given up in time
            else:
                return

    def _raise_failure(self) -> None:
        if (failure := self._failure) is not None:
            self._failure = None
            raise failure

    # In the thread.

    def _run(self) -> None:
        try:
            while (waiting := self._queue.get()) is not None:
                self._close(waiting)
        except Exception as error:
            # The top of this thread: raised in the line's, which has to stop.
            log.exception("a part could not be closed")
            self._failure = error

    def _close(self, waiting: _Waiting) -> None:
        try:
            confirmation = waiting.signalled.result(LONGEST_S)
        except TimeoutError:
            log.error("an output did not say what became of a signal", part=str(waiting.part.part_id))
            confirmation = Confirmation(state=SignalState.UNCONFIRMED, took_ms=LONGEST_S * 1000, sends=1)
        self._on_confirmed(confirmation)
        self._close_part(replace(waiting.part, signal_state=confirmation.state))
