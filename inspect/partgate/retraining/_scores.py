"""Scoring images outside the line, with the runtime the line uses."""

import contextlib
from collections.abc import Sequence

from partgate_engines import Bundle, open_runtime
from partgate_engines.anomaly import GoodImage, Progress
from partgate_station import PartgateError, Region


def score_images(
    bundle: Bundle, images: Sequence[GoodImage], regions: tuple[Region, ...], progress: Progress, *, step: str
) -> list[float]:
    """Return the anomaly score of every image, in order."""
    scores = []
    with contextlib.closing(open_runtime(bundle)) as runtime:
        for number, image in enumerate(images):
            progress(step, number, len(images))
            (score,) = runtime.scores([image.pixels], [regions])
            if isinstance(score, PartgateError):
                raise score
            scores.append(score)
    progress(step, len(images), len(images))
    return scores
