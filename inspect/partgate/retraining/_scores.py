"""Scoring images outside the line, with the runtime the line uses."""

import contextlib
import math
from collections.abc import Sequence

from partgate_engines import Bundle, PartNotLocated, open_runtime
from partgate_engines.anomaly import GoodImage, Progress
from partgate_station import PartgateError, Region


def for_json(score: float) -> float | None:
    """Return a score as a report holds it: none where there is no number."""
    return round(score, 6) if math.isfinite(score) else None


def score_images(
    bundle: Bundle, images: Sequence[GoodImage], regions: tuple[Region, ...], progress: Progress, *, step: str
) -> list[float]:
    """Return the anomaly score of every image, in order; not a number where its part is not located."""
    scores: list[float] = []
    with contextlib.closing(open_runtime(bundle)) as runtime:
        for number, image in enumerate(images):
            progress(step, number, len(images))
            (score,) = runtime.scores([image.pixels], [regions])
            if isinstance(score, PartgateError) and not isinstance(score, PartNotLocated):
                raise score
            scores.append(score if isinstance(score, float) else float("nan"))
    progress(step, len(images), len(images))
    return scores
