"""How high a threshold must lie so that it flags no more good parts than was allowed.

Of n good parts whose scores are independent draws of one distribution, whatever it is, the share of all
good parts that score above the k-th highest of the n follows Beta(k, n - k + 1). So a threshold just above
that score is exceeded by more than a share p with the probability that Binomial(n, p) is below k: nothing
is assumed of the distribution, and scores that are equal only make it safer.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

_TEXT = re.compile(r"1\s*/\s*(\d{1,9})")
# Unless it is said, ten good parts are looked at for one that is rejected; more than 1 in 20 is a flood.
_REVIEWS_PER_REJECT, _REVIEWS_ONE_IN = 10, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many good parts may be flagged, and how sure that has to be."""

    review_one_in: int = 100
    """At most one good part in so many at or above `review`."""

    reject_one_in: int = 5000
    """At most one good part in so many at or above `reject`."""

    confidence: float = 0.95
    """The share of learnings for which a guarantee holds."""

    commissioning: bool = False
    """Whether `review` is set as low, and `reject` as high, as so few parts leave possible: people look at
    what lies between, until there are more."""

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1:  # noqa: PLR2004 - below, a bound would be an optimist's guess
            raise ValueError(f"confidence {self.confidence}: expected at least 0.5 and less than 1")
        if self.review_one_in < 2:  # noqa: PLR2004 - 1 in 1 bounds nothing
            raise ValueError(f"1/{self.review_one_in} of the good parts in review: expected 1/2 or less")
        if self.reject_one_in < self.review_one_in:
            raise ValueError(
                f"1/{self.reject_one_in} of the good parts rejected and 1/{self.review_one_in} reviewed or"
                " rejected: the first must not be more than the second"
            )

    @classmethod
    def of(cls, false_rejects: str, false_reviews: str | None = None, *, confidence: float = 0.95) -> Self:
        """Return the budget that texts like "1/500" mean.

        Args:
            false_rejects: of the good parts that may be rejected.
            false_reviews: of those that may be reviewed or rejected; None: ten times as many, or at
                most 1/20 if that is not less than what may be rejected.
            confidence: of both.

        Raises:
            ValueError: not of that form, or not in that order.
        """
        rejects = _one_in(false_rejects)
        usual = max(rejects // _REVIEWS_PER_REJECT, min(rejects, _REVIEWS_ONE_IN))
        reviews = usual if false_reviews is None else _one_in(false_reviews)
        return cls(review_one_in=reviews, reject_one_in=rejects, confidence=confidence)


def _one_in(text: str) -> int:
    found = _TEXT.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{text!r} is not a share of the good parts such as 1/500")
    return int(found[1])


def parts_needed(one_in: int, confidence: float) -> int:
    """Return how many good parts it takes to guarantee at most one flagged good part in so many.

    Source: Wilks 1941, Determination of sample sizes for setting tolerance limits.
    """
    return math.ceil(math.log1p(-confidence) / math.log1p(-1 / one_in))


def rank_for(parts: int, one_in: int, confidence: float) -> int:
    """Return the k for which a threshold just above the k-th highest score keeps the budget.

    Returns:
        The largest such k, which gives the lowest threshold; 0 where there are too few parts for any.
    """
    share, below, k = 1 / one_in, 0.0, 0
    while k < parts:
        below += _binomial(parts, k, share)
        if below > (1 - confidence) * (1 + 1e-12):
            break
        k += 1
    return k


def rank_within(parts: int, one_in: int, confidence: float) -> int:
    """Return the k for which a threshold just above the k-th highest score is surely not too high.

    With that confidence at least one good part in `one_in` lies above it: no more of them pass unseen than
    a threshold that kept the budget exactly would let pass.

    Returns:
        The smallest such k, which gives the highest threshold; at most `parts`.
    """
    share, below = 1 / one_in, 0.0
    for k in range(parts):
        below += _binomial(parts, k, share)
        if below >= confidence:
            return k + 1
    return parts


def widened(exceedances: int, confidence: float) -> float:
    """Return by how much an exponential tail may be longer than so many scores in it say, and is surely not.

    The sum of m exponential excesses of mean 1 follows Gamma(m, 1): m over its lower quantile.

    Source: Epstein and Sobel 1953, Life testing.
    """
    low, high = 0.0, float(exceedances)
    for _ in range(60):
        middle = (low + high) / 2
        # The probability that Gamma(m, 1) is below x is that of Poisson(x) being m or more.
        below = 1 - math.fsum(
            math.exp(k * math.log(middle) - middle - math.lgamma(k + 1)) for k in range(exceedances)
        )
        low, high = (middle, high) if below < 1 - confidence else (low, middle)
    return exceedances / high


def share_bound(parts: int, rank: int, confidence: float) -> float:
    """Return the share of good parts above the rank-th highest score that is not exceeded.

    Args:
        parts: n, the good parts there are scores of.
        rank: k, from 1 for the highest to n.
        confidence: with which.

    Source: Clopper and Pearson 1934, for rank - 1 of n; solved by halving.
    """
    if rank == 1:
        return -math.expm1(math.log1p(-confidence) / parts)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        below = math.fsum(_binomial(parts, k, middle) for k in range(rank))
        low, high = (middle, high) if below > 1 - confidence else (low, middle)
    return high


def guaranteed_one_in(parts: int, rank: int, confidence: float) -> int:
    """Return the N of "at most 1 good part in N scores above the rank-th highest"; 1 promises nothing."""
    return math.floor(1 / share_bound(parts, rank, confidence) * (1 + 1e-9))


def _binomial(n: int, k: int, share: float) -> float:
    """Return the probability of k of n. By logarithms: (1 - share)^n alone may be no float."""
    if share >= 1:
        return float(k == n)
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(share) + (n - k) * math.log1p(-share))


def worst_of_parts(
    scores: NDArray[np.floating] | Sequence[float], parts: Sequence[int]
) -> NDArray[np.float64]:
    """Return the highest score of every part: photographs of one part are no further evidence.

    Args:
        scores: (n,) of photographs.
        parts: (n,) whose; any numbers. None given: every photograph shows a part of its own.

    Returns:
        (m,) float64, in the order of the parts' numbers.
    """
    given = np.asarray(scores, dtype=np.float64)
    if not len(parts):
        return given
    if len(parts) != given.size:
        raise ValueError(f"{len(parts)} parts of {given.size} scores; expected one for each")
    _, where = np.unique(np.asarray(parts), return_inverse=True)
    worst = np.full(int(where.max()) + 1, -np.inf)
    np.maximum.at(worst, where, given)
    return worst
