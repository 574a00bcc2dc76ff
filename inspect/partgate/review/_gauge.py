"""Where a score lies between the two thresholds, as the geometry of a small drawing."""

import math
from dataclasses import dataclass

from partgate.review._recipe_content import Limits

WIDTH = 300.0
LABEL_WIDTH = 64.0
ROOM_ABOVE = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """Positions along a bar of `width`, from left to right; higher scores are worse.

    `score_x` is None where there is no finite score; `beyond` says that it lies outside the scale and
    stands at its end. The labels keep apart from each other and
    inside the drawing, so they may stand a little beside their threshold.
    """

    width: float
    review_x: float
    reject_x: float
    score_x: float | None
    beyond: bool
    review_label_x: float
    reject_label_x: float


def gauge(score: float | None, limits: Limits) -> Gauge:
    """Return the drawing of a score; all parts of a recipe are drawn on the same scale.

    It begins at zero, or below the review threshold where that is not positive, and ends above both.
    """
    finite = score if score is not None and math.isfinite(score) else None
    low = 0.0 if limits.review > 0 else 2 * limits.review - 1
    high = limits.reject + ROOM_ABOVE * ((limits.reject - low) or 1.0)

    def place(value: float) -> float:
        return round(WIDTH * (min(max(value, low), high) - low) / (high - low), 1)

    review_x, reject_x = place(limits.review), place(limits.reject)
    review_label_x, reject_label_x = _labels(review_x, reject_x)
    return Gauge(
        width=WIDTH,
        review_x=review_x,
        reject_x=reject_x,
        score_x=None if finite is None else place(finite),
        beyond=finite is not None and not low <= finite <= high,
        review_label_x=review_label_x,
        reject_label_x=reject_label_x,
    )


def _labels(review_x: float, reject_x: float) -> tuple[float, float]:
    half = LABEL_WIDTH / 2
    left = min(max(review_x, half), WIDTH - half - LABEL_WIDTH)
    right = min(max(reject_x, left + LABEL_WIDTH), WIDTH - half)
    return round(min(left, right - LABEL_WIDTH), 1), round(right, 1)
