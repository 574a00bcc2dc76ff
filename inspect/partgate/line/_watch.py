"""Golden frames in service: a model that begins to answer wrongly is found, and taken out.

    IN SERVICE --wrong answer--> SUSPECT --reloaded, passed the gate--> IN SERVICE
                                    '---failed, or wrong once more: until somebody acts

A wrong answer flags the parts since the last right one. While a judge is suspect every part is
UNDECIDED; its frames are kept.
"""

from collections.abc import Callable

import structlog

from partgate.line._judge import Judge
from partgate.records import SuspectParts

log = structlog.get_logger(__name__)


class GoldenWatch:
    """Asks the judge in force a golden frame every so many parts, between two of them.

    Belongs to the line's thread. A check takes as long as one judgement.

    Args:
        station_id: named where parts are flagged.
        every_parts: how often; 0 never asks.
        flag: told of the parts since the last right answer.
        reload: told which judge has to be made ready anew; returns at once.
    """

    def __init__(
        self,
        *,
        station_id: str,
        every_parts: int,
        flag: Callable[[SuspectParts], None],
        reload: Callable[[Judge], None],
    ) -> None:
        self._station_id, self._every_parts = station_id, every_parts
        self._flag, self._reload = flag, reload
        self._judge: Judge | None = None
        self._first = 1  # of the parts that no right answer vouches for
        self._last = 0
        self._turn = 0
        self._why: str | None = None

    @property
    def why(self) -> str | None:
        """Why the judge in force decides nothing; None while it is trusted."""
        return self._why

    def distrusts(self, judge: Judge | None) -> str | None:
        """Return why this judge decides nothing; None if it is trusted, or another. For any thread."""
        return self._why if judge is self._judge else None

    def take_up(self, judge: Judge | None, trigger_id: int) -> None:
        """Note which judge takes the next part; one that leaves is asked a last time.

        Its runtime must still be open. A judge that comes has passed the gate.
        """
        if judge is self._judge:
            return
        self.check()
        self._judge, self._why = judge, None
        self._first, self._last = trigger_id, trigger_id - 1

    def part_done(self, trigger_id: int) -> None:
        """Note that a part was judged and signalled; ask a golden frame if it is time."""
        self._last = trigger_id
        if self._last - self._first + 1 >= self._every_parts:
            self.check()

    def check(self) -> None:
        """Ask the judge in force a golden frame, unless nothing was judged since the last one."""
        judge = self._judge
        if judge is None or judge.golden is None or self._why or not self._every_parts:
            return
        if self._last < self._first:
            return
        problem = judge.golden.problem(judge.runtime, self._turn)
        self._turn += 1
        if problem is None:
            self._first = self._last + 1
            return
        self._why = problem
        log.error("a golden frame was answered wrongly; the model is out of service", why=problem,
                  model=judge.model_id[:12], first_suspect=self._first, last_suspect=self._last)  # fmt: skip
        self._flag(self._suspects(judge, problem))
        self._reload(judge)

    def _suspects(self, judge: Judge, why: str) -> SuspectParts:
        return SuspectParts(
            station_id=self._station_id,
            first_trigger_id=self._first,
            last_trigger_id=self._last,
            model_id=judge.model_id,
            runtime=judge.runtime.name,
            why=why,
        )
