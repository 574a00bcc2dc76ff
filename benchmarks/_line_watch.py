"""Where a part's time goes between its trigger and its verdict: stages that add up to the latency.

The line is left as it is; what its two threads call is watched, in those threads. `waited` is how long a part
with its frames stood behind the one before; `durable` is what the loop still waits for the trigger after
judging: nothing, as long as the journal is quicker than the model.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from partgate.line import _loop as loop
from partgate.line._in_work import PartsInWork, TakenPart
from partgate.line._outputs import NoOutput
from partgate.line._part import Trigger
from partgate.line._taking import Taking
from partgate.records import RecorderProcess
from partgate.records._journal import Journal

STAGES = ("trigger", "opened", "frame", "waited", "judged", "durable", "signalled")


class LineWatch:
    """Milliseconds by stage, one mapping per part."""

    def __init__(self) -> None:
        self.parts: list[dict[str, float]] = []
        self.journal_ms: list[float] = []
        """How long each write to the journal took: what the disk takes, whoever waits for it."""

        self._by_trigger: dict[int, dict[str, float]] = {}
        self._last_s: dict[int, float] = {}
        self._thread = threading.local()  # which part each of the line's threads has in hand

    @contextmanager
    def watching(self) -> Iterator["LineWatch"]:
        """Watch every line of this process until the block ends."""
        with ExitStack() as stack:
            for owner, name, before, after in (
                (Taking, "_take", "trigger", None),
                (RecorderProcess, "open_part", None, "opened"),
                (PartsInWork, "put", "frame", None),
                (loop.Line, "_judge_part", "waited", None),
                (loop, "judge_frames", None, "judged"),
                (loop, "_once_durable", None, "durable"),
                (NoOutput, "signal", None, "signalled"),
            ):
                watched = self._watched(getattr(owner, name), before, after)
                stack.enter_context(mock.patch.object(owner, name, watched))
            stack.enter_context(mock.patch.object(Journal, "write", self._timed(Journal.write)))
            yield self

    def _timed(self, write: Callable[..., None]) -> Callable[..., None]:
        def timed(*arguments: Any) -> None:
            started_s = time.monotonic()
            try:
                write(*arguments)
            finally:
                self.journal_ms.append(1000 * (time.monotonic() - started_s))

        return timed

    def _watched(self, call: Callable[..., Any], before: str | None, after: str | None) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            for given in arguments[1:2]:
                self._take_in_hand(given)
            self._note(before)
            answer = call(*arguments, **named)
            self._note(after)
            return answer

        return watched

    def _take_in_hand(self, given: object) -> None:
        if isinstance(given, Trigger):
            self._thread.number = given.trigger_id
            self._last_s[given.trigger_id] = given.monotonic_s
            self._by_trigger[given.trigger_id] = {}
            self.parts.append(self._by_trigger[given.trigger_id])
        elif isinstance(given, TakenPart):
            self._thread.number = given.trigger.trigger_id

    def _note(self, stage: str | None) -> None:
        if stage is not None:
            number, now_s = self._thread.number, time.monotonic()
            self._by_trigger[number][stage] = 1000 * (now_s - self._last_s[number])
            self._last_s[number] = now_s
