"""Images among the good ones that do not belong: told apart by scores they were held out of.

A defective part that is learned as a good one makes its defect invisible for ever. It scores high by a
bank without its own rows, unless another image shows the same defect. docs/decisions/0019 has what the
rule finds, and what it wrongly takes for odd.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partgate_engines._manifest import Source

LEAST_IMAGES = 10
"""With fewer nobody knows what is usual."""

ONE_IN = 500
"""Good images, of which one is expected to be taken for odd where scores are distributed as maxima."""

# Of a Gumbel distribution with scale 1: its median above the mode, and the distance of its quartiles.
_MEDIAN, _QUARTILES = 0.3665, 1.5725
# Quartiles of few scores are unsure. With this many parts in n more, 1 of 484 to 654 Gumbel scores lies
# above the limit from 10 images to 1,000 (1 of 106 to 479 without).
_FEW = 6
_LEAST_ABOVE = 0.1  # of the median: scores without any spread still get a margin
_MOST_SHARE = 0.2  # of the images: more are another kind of part, not odd ones


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """An image that was given as a good one and not learned."""

    origin: str
    pixels_sha256: str
    position: int
    """Among the images that were given."""

    score: float
    """By the patches of the others."""

    limit: float
    """The score from which on an image counted as odd."""


def odd_limit(scores: NDArray[np.floating]) -> float:
    """Return the score above which an image is taken for an odd one; infinity if there are too few.

    Scores are means of the farthest patches, so they are taken to be distributed as maxima are, by
    Gumbel's law; its place and scale come from the median and the quartiles, which odd images do not
    move as long as they are fewer than a quarter.

    Args:
        scores: (n,) held-out; those that are not a number do not count.

    Source: Gumbel 1958, Statistics of Extremes.
    """
    known = np.asarray(scores, dtype=np.float64)
    known = known[np.isfinite(known)]
    if known.size < LEAST_IMAGES:
        return float("inf")
    low, middle, high = np.quantile(known, (0.25, 0.5, 0.75))
    scale = (high - low) / _QUARTILES * (1 + _FEW / known.size)
    return float(max(middle + (np.log(ONE_IN) - _MEDIAN) * scale, (1 + _LEAST_ABOVE) * middle))


def odd_ones(scores: NDArray[np.floating], sources: Sequence[Source]) -> tuple[SetAside, ...]:
    """Return the images that do not belong to the others, the worst first.

    Args:
        scores: (n,) held-out scores.
        sources: of the images, in the order of the scores.

    Returns:
        None at all if more than a fifth lie above the limit: those are no odd ones.
    """
    limit = odd_limit(scores)
    above = np.flatnonzero(np.nan_to_num(scores, nan=-np.inf) > limit)
    if above.size > _MOST_SHARE * len(scores):
        return ()
    return tuple(
        SetAside(
            origin=sources[position].origin,
            pixels_sha256=sources[position].pixels_sha256,
            position=int(position),
            score=float(scores[position]),
            limit=limit,
        )
        for position in above[np.argsort(-scores[above], kind="stable")]
    )


def told(aside: Sequence[SetAside], of: int) -> tuple[str, ...]:
    """Say which images were not learned, and what that means for the thresholds."""
    if not aside:
        return ()
    named = ", ".join(f"{one.origin} ({one.score:.4g})" for one in aside)
    were = "was" if len(aside) == 1 else "were"
    text = (
        f"{len(aside)} of {of} good images score above {aside[0].limit:.4g}, as 1 good image in {ONE_IN} is"
        f" expected to, and {were} not learned: {named}. Look at them: parts like them will be flagged, and"
        " the thresholds promise nothing for such. If they are good, learn again with --keep-outliers"
    )
    return (text,)
