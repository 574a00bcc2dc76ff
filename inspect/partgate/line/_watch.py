"""Golden frames in service: a model that begins to answer wrongly is found, and taken out.

    IN SERVICE --wrong answer--> SUSPECT --reloaded, passed the gate--> IN SERVICE
                                    '---failed, or wrong once more: until somebody acts

A wrong answer flags the parts since that frame's last right one. While a judge is suspect every part is
UNDECIDED; its frames are kept. A device that fails flags them as well, and ends the process.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from partgate.line._judge import Judge
from partgate.records import SuspectParts
from partgate_engines import DeviceFailed

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class _Asked:
    """What is known of one golden frame, in trigger ids."""

    right: int
    """The last part that a right answer of this frame vouches for."""

    due: int
    """After this part it is asked."""


class GoldenWatch:
    """Asks the judge in force each of its golden frames every so many parts, between two of them.

    Each in its own turn, evenly spread: frames find different faults, so a right answer vouches for nothing
    that another frame would have condemned. A part waits for more than one of them only where a judge leaves,
    or is asked more often than it has frames. Belongs to the line's thread. Asking a frame takes as long as
    two judgements.

    Args:
        station_id: named where parts are flagged.
        every_parts: how often each is asked; 0 never asks.
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
        self._asked: list[_Asked] = []
        self._last = 0
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

        Raises:
            DeviceFailed: as `check`.
        """
        if judge is self._judge:
            return
        self.check()
        self._judge, self._why = judge, None
        self._last = trigger_id - 1
        frames = 0 if judge is None or judge.golden is None else len(judge.golden.frames)
        spread = [-(-self._every_parts * (number + 1) // frames) for number in range(frames)]
        self._asked = [_Asked(right=self._last, due=self._last + parts) for parts in spread]

    def part_done(self, trigger_id: int) -> None:
        """Note that a part was judged and signalled; ask the golden frames whose time it is.

        Raises:
            DeviceFailed: as `check`.
        """
        self._last = trigger_id
        self._ask(number for number, asked in enumerate(self._asked) if asked.due <= trigger_id)

    def check(self) -> None:
        """Ask the judge in force every golden frame that was not asked since the last part.

        Raises:
            DeviceFailed: its device cannot be trusted any more; the parts are flagged, the process must end.
        """
        self._ask(number for number, asked in enumerate(self._asked) if asked.right < self._last)

    def _ask(self, numbers: Iterable[int]) -> None:
        judge = self._judge
        if judge is None or judge.golden is None or not self._every_parts:
            return
        for number in numbers:
            if self._why:
                return
            asked = self._asked[number]
            try:
                problem = judge.golden.problem(judge.runtime, number)
            except DeviceFailed as error:
                self._condemn(judge, asked, str(error))
                raise
            if problem is not None:
                self._condemn(judge, asked, problem)
                self._reload(judge)
                return
            asked.right, asked.due = self._last, self._last + self._every_parts

    def _condemn(self, judge: Judge, asked: _Asked, why: str) -> None:
        self._why = why
        found = SuspectParts(
            station_id=self._station_id,
            first_trigger_id=asked.right + 1,
            last_trigger_id=self._last,
            model_id=judge.model_id,
            runtime=judge.runtime.name,
            why=why,
        )
        log.error("a golden frame was answered wrongly; the model is out of service", why=why,
                  model=judge.model_id[:12], first_suspect=found.first_trigger_id,
                  last_suspect=found.last_trigger_id)  # fmt: skip
        self._flag(found)
