"""Which of a part's frames decided: a part's score is its worst frame's."""

import math
from collections.abc import Sequence


def worst_of(scores: Sequence[float | None]) -> int:
    """Return the position of the highest finite score; the first where several are, or none is finite."""
    finite = [-math.inf if score is None or not math.isfinite(score) else score for score in scores]
    return finite.index(max(finite)) if finite else 0
