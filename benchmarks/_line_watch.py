"""Where a part's time goes between its trigger and its verdict: stages that add up to the latency.

The line is left as it is; what its loop calls is watched, in the loop's own thread. `durable` is what the
loop still waits for the trigger after judging: nothing, as long as the journal is quicker than the model.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from partgate.line import _loop as loop
from partgate.line._outputs import NoOutput
from partgate.records import RecorderProcess

STAGES = ("trigger", "opened", "frame", "judged", "durable", "signalled")


class LineWatch:
    """Milliseconds by stage, one list per part."""

    def __init__(self) -> None:
        self.parts: list[dict[str, float]] = []
        self._last_s = 0.0

    @contextmanager
    def watching(self) -> Iterator["LineWatch"]:
        """Watch every line of this process until the block ends."""
        with ExitStack() as stack:
            for owner, name, before, after in (
                (loop.Line, "_take", "trigger", None),
                (RecorderProcess, "open_part", None, "opened"),
                (loop, "judge_frames", "frame", "judged"),
                (loop, "_once_durable", None, "durable"),
                (NoOutput, "signal", None, "signalled"),
            ):
                watched = self._watched(getattr(owner, name), before, after)
                stack.enter_context(mock.patch.object(owner, name, watched))
            yield self

    def _watched(self, call: Callable[..., Any], before: str | None, after: str | None) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            if before == "trigger":
                self.parts.append({})
                self._last_s = arguments[1].monotonic_s
            self._note(before)
            answer = call(*arguments, **named)
            self._note(after)
            return answer

        return watched

    def _note(self, stage: str | None) -> None:
        if stage is not None:
            now_s = time.monotonic()
            self.parts[-1][stage] = 1000 * (now_s - self._last_s)
            self._last_s = now_s
