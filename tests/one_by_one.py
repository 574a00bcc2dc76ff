"""What fakes of a runtime need beside `judge`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partgate_engines import AnomalyResult, DeviceFailed, FrameScore
from partgate_station import PartgateError, Region


class OneByOne:
    """A runtime that judges one frame of a part after the other."""

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        """Say nothing of any frame; fakes say something."""
        return AnomalyResult(score=0.0, anomaly_map=np.zeros((1, 1), np.float32))

    def scores(
        self, frames: Sequence[NDArray[np.uint8]], regions: Sequence[tuple[Region, ...]]
    ) -> tuple[FrameScore, ...]:
        """Score every frame; an error is one frame's answer."""
        return tuple(self._score(frame, of_it) for frame, of_it in zip(frames, regions, strict=True))

    def _score(self, frame: NDArray[np.uint8], regions: tuple[Region, ...]) -> FrameScore:
        try:
            return self.judge(frame, regions).score
        except DeviceFailed:
            raise
        except PartgateError as error:
            return error
