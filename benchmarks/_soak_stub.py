"""A model for a look: it needs no learning, and says of every frame how bright it is."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from partgate.line._judge import Judge
from partgate_engines import AnomalyResult
from partgate_station import Recipe, Region, Thresholds

DEADLINE_MS = 500


class StubRuntime:
    """Finds dark frames bad."""

    name = "stub"

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        """Return a score and an empty map."""
        del regions
        return AnomalyResult(score=self._score(frame), anomaly_map=np.zeros((1, 1), np.float32))

    def scores(
        self, frames: Sequence[NDArray[np.uint8]], regions: Sequence[tuple[Region, ...]]
    ) -> tuple[float, ...]:
        """Return a score for every frame."""
        del regions
        return tuple(self._score(frame) for frame in frames)

    def close(self) -> None:
        """Hold nothing."""

    @staticmethod
    def _score(frame: NDArray[np.uint8]) -> float:
        return 0.1 if float(frame.mean()) > 1 else 3.0


class StubJudges:
    """One judge, whose rows need neither a recipe's nor a model's."""

    def __init__(self, dressed: Callable[[StubRuntime], Any]) -> None:
        ids: Any = None
        fingerprint: Any = "stub"
        self.coming = Judge(
            activation_id=1,
            recipe_id=ids,
            model_id=ids,
            recipe=Recipe(
                product="brick", thresholds=Thresholds(review=1.0, reject=2.0), deadline_ms=DEADLINE_MS
            ),
            runtime=dressed(StubRuntime()),
            fingerprint=fingerprint,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close nothing."""

    def current(self) -> Judge:
        """Return it."""
        return self.coming

    def reload(self, judge: Judge) -> None:
        """Do nothing."""

    def require_device(self) -> None:
        """Do nothing."""
