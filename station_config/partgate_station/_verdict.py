"""What is said of a part, and the one comparison that says it."""

import math
from enum import StrEnum
from typing import Self

from pydantic import model_validator

from partgate_station._model import FileModel


class Verdict(StrEnum):
    """What the station says of one part. Only `ACCEPT` opens the gate."""

    ACCEPT = "ACCEPT"
    REVIEW = "REVIEW"
    REJECT = "REJECT"
    UNDECIDED = "UNDECIDED"


class Thresholds(FileModel):
    """The recipe's two numbers on the anomaly score: where doubt begins and where it ends.

    Convention: raw anomaly scores, higher is worse, unbounded above. `review == reject` means no
    review band.
    """

    review: float
    """A part at or above this score is not accepted; a person looks at it."""

    reject: float
    """A part at or above this score is rejected."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.review > self.reject:
            raise ValueError(f"review ({self.review}) must not lie above reject ({self.reject})")
        return self

    def verdict(self, score: float) -> Verdict:
        """Return the verdict for an anomaly score; a score that is not a number decides nothing."""
        if not math.isfinite(score):
            return Verdict.UNDECIDED
        if score >= self.reject:
            return Verdict.REJECT
        if score >= self.review:
            return Verdict.REVIEW
        return Verdict.ACCEPT
