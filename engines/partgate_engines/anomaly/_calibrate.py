"""From the scores of good images to two thresholds."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from partgate_engines._manifest import Calibration, DefectEvidence
from partgate_station import Thresholds

FEW = 20
_TAIL_SHARE = 0.25  # the upper quarter of the good scores is taken as their tail
_REVIEW_ONE_IN = 100
_REJECT_ONE_IN = 5000
_LEAST_BAND = 0.02  # of the score: scores without any spread still get a band
_ONE_IMAGE_REJECT = 2.0
_NAMED = 5


def calibrate(
    scores: Sequence[float] | NDArray[np.floating],
    *,
    method: Literal["leave-one-out", "mirrored"] = "leave-one-out",
    names: Sequence[str] = (),
    warnings: Sequence[str] = (),
    defects: Sequence[float] = (),
) -> Calibration:
    """Set `review` and `reject` from held-out scores of good images.

    Of good parts like those, about one in n + 1 is expected at or above the highest of the n scores,
    whatever their distribution. Beyond that the upper quarter of the scores is taken as the beginning
    of an exponential tail: `review` lies where one good part in 100 would, `reject` where one in 5,000
    would. Both are moved above the highest score, except that from 20 images on a score above the
    one-in-5,000 level moves only `reject`: one odd image among the good ones, which may be a defective
    one, makes people look at its like and does not open the gate for it.

    Args:
        scores: (n,) held-out scores, finite; with one image, those of its mirrors.
        method: how they were held out.
        names: of the images, in the order of the scores, to name the odd ones.
        warnings: what else a person should know.
        defects: scores of defective images, for the report only.

    Raises:
        ValueError: no scores, or one that is not finite.
    """
    given = np.asarray(scores, dtype=np.float64)
    if given.size == 0 or not np.isfinite(given).all():
        raise ValueError(f"{given.size} held-out scores; expected at least one, all finite")
    one = method == "mirrored"
    thresholds = _of_one_image(np.sort(given)) if one else _of_many(np.sort(given))
    odd = np.zeros(0, dtype=np.intp) if one else np.flatnonzero(given >= thresholds.review)
    return Calibration(
        thresholds=thresholds,
        method=method,
        scores=tuple(float(score) for score in given),
        promise=_PROMISE_OF_ONE if one else _promise(given, len(odd)),
        warnings=(*_few(1 if one else given.size), *_odd(odd, names, given.size), *warnings),
        defects=_evidence(defects, thresholds),
    )


def _of_many(good: NDArray[np.float64]) -> Thresholds:
    """Return the thresholds for sorted scores."""
    far = _tail(good, _REJECT_ONE_IN)
    usual = good[good <= far] if good.size >= FEW else good
    review = _just_above(max(_tail(good, _REVIEW_ONE_IN), float(usual[-1])))
    reject = max(far, _just_above(float(good[-1])), review + _LEAST_BAND * abs(review))
    return Thresholds(review=review, reject=max(reject, _just_above(review)))


def _just_above(score: float) -> float:
    """Return the next score above, in float32 as scores are: a score is flagged at the threshold."""
    return float(np.nextafter(np.float32(score), np.float32(np.inf)))


def _tail(good: NDArray[np.float64], one_in: float) -> float:
    """Return the score that one good part in so many reaches, by an exponential tail.

    The tail's scale comes from the median of what exceeds the lower three quarters, not from the
    mean: an odd image or two do not move it.
    """
    n = good.size
    above = max(round(_TAIL_SHARE * n), 1)
    start = float(good[-above - 1]) if n > 1 else float(good[-1])
    scale = (float(np.median(good[-above:])) - start) / np.log(2)
    return float(start + scale * np.log(one_in * above / n))


def _of_one_image(mirrored: NDArray[np.float64]) -> Thresholds:
    """Return a wide band: with one image nobody knows how good parts differ."""
    review = float(mirrored[0])
    reject = float(_ONE_IMAGE_REJECT * mirrored[-1])
    return Thresholds(review=review, reject=max(reject, _just_above(review)))


_PROMISE_OF_ONE = (
    "learned from 1 image: nothing can be promised; most good parts will lie in the review band until more"
    " good parts are added"
)


def _promise(good: NDArray[np.float64], flagged: int) -> str:
    n = good.size
    return (
        f"from {n} good images: about 1 good part in {n + 1} is expected at or above the highest held-out"
        f" score, {good.max():.4g}; {flagged} of the {n} lie at or above review; if the tail goes on as it"
        f" begins, 1 good part in {_REVIEW_ONE_IN} lies at or above review and 1 in {_REJECT_ONE_IN} at or"
        " above reject"
    )


def _few(n: int) -> tuple[str, ...]:
    if n == 1:
        return ("learned from a single image: every verdict needs a person's look; add good images",)
    if n < FEW:
        return (f"learned from {n} images: the thresholds are uncertain; {FEW} or more are advised",)
    return ()


def _odd(odd: NDArray[np.intp], names: Sequence[str], n: int) -> tuple[str, ...]:
    if not odd.size:
        return ()
    what = f"{odd.size} of {n} good images score far above the others and would be reviewed: are they good?"
    if names:
        what += " " + ", ".join(names[position] for position in odd[:_NAMED])
    return (what,)


def _evidence(defects: Sequence[float], thresholds: Thresholds) -> DefectEvidence | None:
    if not len(defects):
        return None
    scores = np.asarray(defects, dtype=np.float64)
    return DefectEvidence(
        n=scores.size,
        flagged=int((scores >= thresholds.review).sum()),
        rejected=int((scores >= thresholds.reject).sum()),
    )
