"""Where a score lies between the two thresholds, as the geometry of a small drawing."""

import math
from dataclasses import dataclass

import numpy as np

from partgate.review._recipe_content import Limits

WIDTH = 300.0
REVIEW_X, REJECT_X = 110.0, 190.0  # apart by more than a label is wide, however near the thresholds are
MARK_X = 5.0  # half as wide as the mark: it lies in its zone as a whole, on neither threshold
ROOM_ABOVE = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """Positions along a bar of `width`, from left to right; higher scores are worse.

    `score_x` is None where there is no finite score; `beyond` says that it lies outside the scale and
    stands at its end.
    """

    width: float
    review_x: float
    reject_x: float
    score_x: float | None
    beyond: bool


def gauge(score: float | None, limits: Limits) -> Gauge:
    """Return the drawing of a score; all parts of a recipe are drawn on the same scale.

    It begins at zero, or below the review threshold where that is not positive, and ends above both. Accept,
    review and reject have a scale each, so that one sees in which of them a score lies: most thresholds are
    so near each other that, on one scale for all, review would be narrower than the mark of the score.
    """
    finite = score if score is not None and math.isfinite(score) else None
    low = 0.0 if limits.review > 0 else 2 * limits.review - 1
    high = limits.reject + ROOM_ABOVE * ((limits.reject - low) or 1.0)
    return Gauge(
        width=WIDTH,
        review_x=REVIEW_X,
        reject_x=REJECT_X,
        score_x=None if finite is None else round(_place(finite, low, limits, high), 1),
        beyond=finite is not None and not low <= finite <= high,
    )


def _place(score: float, low: float, limits: Limits, high: float) -> float:
    if score >= limits.reject:
        return float(np.interp(score, (limits.reject, high), (REJECT_X + MARK_X, WIDTH - MARK_X)))
    if score >= limits.review:
        return float(np.interp(score, (limits.review, limits.reject), (REVIEW_X + MARK_X, REJECT_X - MARK_X)))
    return float(np.interp(score, (low, limits.review), (MARK_X, REVIEW_X - MARK_X)))
