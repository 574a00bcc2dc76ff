"""Where a threshold stands among held-out scores, and which one stands there by another model's scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partgate_engines import Calibration, Source
from partgate_engines.anomaly import parts_of, worst_of_parts

Scores = NDArray[np.float64]

_FEWEST_DIGITS, _MOST_DIGITS = 4, 9  # nine tell any two scores apart: they are float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A threshold's place among the scores of good parts, by two models."""

    was: float
    now: float
    above: int
    """Parts at or above it, by the old model."""

    above_now: int
    """Parts at or above the new one, by the new model; the same number, but for scores that are equal."""

    of: int
    quantile: float
    """The share of the parts below it, by the old model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Held-out scores of good parts by two models."""

    before: Scores
    after: Scores
    same_parts: bool
    """Whether both are of the same parts; otherwise each is of all that its model was learned from."""


def compared(
    before: Sequence[Source], old: Calibration, after: Sequence[Source], new: Calibration
) -> Compared:
    """Return the scores of the parts that both models were learned from: a place among them is the same.

    Parts that joined because they had been flagged score higher than good parts do, and would move it.

    Args:
        before: the images that the old model was learned from.
        old: its calibration.
        after: the images of the new model.
        new: its calibration.
    """
    known, found = _by_image(before, old), _by_image(after, new)
    both = [image for image in known if image in found] if found else []
    if not both:
        return Compared(before=_worst(old), after=_worst(new), same_parts=False)
    number = dict(zip((_image(source) for source in after), parts_of(after), strict=True))
    parts = [number[image] for image in both]
    return Compared(
        before=worst_of_parts([known[image] for image in both], parts),
        after=worst_of_parts([found[image] for image in both], parts),
        same_parts=True,
    )


def place(threshold: float, scores: Compared) -> Place:
    """Return where a threshold stood, and what stands there now.

    Between two parts' scores it stands as far from either as before. Above all of them it stands as far above
    the highest, in proportion to how large the scores are: their tails say less, since few make one.
    """
    old, new = np.sort(scores.before), np.sort(scores.after)
    above = int((old >= threshold).sum())
    if above == 0:
        now = float(new[-1]) + (threshold - float(old[-1])) * _ratio(_middle(new), _middle(old))
    elif above == old.size:
        now = float(new[0]) * _ratio(threshold, float(old[0]))
    else:
        now = _between(threshold, old, new)
    now = _rounded(now, new)
    return Place(
        was=threshold,
        now=now,
        above=above,
        above_now=int((new >= now).sum()),
        of=old.size,
        quantile=1 - above / old.size,
    )


def _between(threshold: float, old: Scores, new: Scores) -> float:
    """Return what lies between the same two of the sorted scores, in the same proportion."""
    there = new if new.size == old.size else np.quantile(new, np.linspace(0, 1, old.size))
    upper = int(np.searchsorted(old, threshold, "left"))  # the first that is not below
    share = (threshold - old[upper - 1]) / (old[upper] - old[upper - 1])
    # Exactly the upper one where the threshold is one of the scores: rounding would let its part pass.
    return float(there[upper] - (1 - share) * (there[upper] - there[upper - 1]))


def _by_image(sources: Sequence[Source], calibration: Calibration) -> dict[tuple[str, str], float]:
    """Return the score of every image; none where it is not known which image each is of."""
    if calibration.method != "leave-one-out" or len(calibration.scores) != len(sources):
        return {}
    return dict(zip((_image(source) for source in sources), calibration.scores, strict=True))


def _image(source: Source) -> tuple[str, str]:
    return source.origin, source.pixels_sha256


def _worst(calibration: Calibration) -> Scores:
    return worst_of_parts(calibration.scores, () if calibration.card is None else calibration.card.part_of)


def _middle(scores: Scores) -> float:
    return float(np.median(scores))


def _ratio(one: float, other: float) -> float:
    return one / other if other > 0 else 1.0


def _rounded(threshold: float, scores: Scores) -> float:
    """Return a threshold in as few digits as flag the same of the parts."""
    for digits in range(_FEWEST_DIGITS, _MOST_DIGITS):
        short = float(f"{threshold:.{digits}g}")
        if np.array_equal(scores >= short, scores >= threshold):
            return short
    return threshold
