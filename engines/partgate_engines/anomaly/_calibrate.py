"""From the scores of good images to two thresholds."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from partgate_engines._manifest import Calibration, CalibrationCard, DefectEvidence, ThresholdRule
from partgate_engines.anomaly._budget import (
    Budget,
    guaranteed_one_in,
    parts_needed,
    rank_for,
    rank_within,
    widened,
    worst_of_parts,
)
from partgate_engines.anomaly._promise import promise, too_few
from partgate_station import Thresholds

FEW = 20
_TAIL_SHARE = 0.25  # the upper quarter of the good scores is taken as their tail
_ODD_ONE_IN = 5000
_LEAST_BAND = 0.02  # of the score: scores without any spread still get a band
_ONE_IMAGE_REJECT = 2.0
_NAMED = 5


def calibrate(
    scores: Sequence[float] | NDArray[np.floating],
    *,
    method: Literal["leave-one-out", "held-back", "mirrored"] = "leave-one-out",
    parts: Sequence[int] = (),
    budget: Budget | None = None,
    names: Sequence[str] = (),
    digests: Sequence[str] = (),
    warnings: Sequence[str] = (),
    defects: Sequence[float] = (),
) -> Calibration:
    """Set `review` and `reject` from held-out scores of good images.

    Where there are parts enough for the budget, a threshold lies just above the lowest order statistic
    that keeps it, whatever the scores' distribution. Where there are not, the upper quarter of the scores
    is taken as the beginning of an exponential tail, and the threshold lies where that tail reaches the
    budget: an extrapolation, and named so. Then both lie above the highest score, except that from 20
    parts on a score above the one-in-5,000 level moves only `reject`: one odd image among the good ones,
    which may be a defective one, makes people look at its like and does not open the gate for it.
    `Budget.commissioning` sets both otherwise (docs/decisions/0023).

    Args:
        scores: (n,) held-out scores, finite; with one image, those of its mirrors.
        method: how they were held out.
        parts: (n,) the number of the part that each score is of; none given: each is of its own. A part
            counts once, with its worst score.
        budget: how many good parts may be flagged; None: `Budget`'s defaults. Any other that takes more
            parts than there are brings a warning.
        names: of the images, in the order of the scores, to name the odd ones.
        digests: of the images' pixels, in the same order, for the card's fingerprint.
        warnings: what else a person should know.
        defects: scores of defective images, for the report only.

    Raises:
        ValueError: no scores, or one that is not finite.

    Source: Wilks 1941 (tolerance limits); Vovk, Gammerman and Shafer 2005 (conformal prediction).
    """
    given = np.asarray(scores, dtype=np.float64)
    if given.size == 0 or not np.isfinite(given).all():
        raise ValueError(f"{given.size} held-out scores; expected at least one, all finite")
    one = method == "mirrored"
    part_of = _numbered(given.size, parts, one=one)
    worst = np.sort(worst_of_parts(given, part_of))
    asked = budget or Budget()
    thresholds, review, reject = _of_one_image(np.sort(given), asked) if one else _of_many(worst, asked)
    card = CalibrationCard(
        parts=worst.size,
        photographs=1 if one else given.size,
        confidence=asked.confidence,
        commissioning=asked.commissioning,
        review=review,
        reject=reject,
        part_of=part_of,
        split_sha256=_fingerprint(part_of, digests),
    )
    odd = np.zeros(0, dtype=np.intp) if one else _odd(given, worst, thresholds.review)
    return Calibration(
        thresholds=thresholds,
        method=method,
        scores=tuple(float(score) for score in given),
        promise=promise(card, worst, thresholds),
        warnings=(
            *_few(card),
            *(() if asked == Budget() else too_few(card)),
            *_are_they_good(odd, names, given.size),
            *warnings,
        ),
        defects=_evidence(defects, thresholds),
        card=card,
    )


def calibrate_again(calibration: Calibration, budget: Budget) -> Calibration:
    """Return the calibration on the same scores for another budget.

    Raises:
        ValueError: it has no card, so that nobody knows which scores are of the same part.
    """
    if calibration.card is None:
        raise ValueError("calibrated before there were cards")
    again = calibrate(
        calibration.scores, method=calibration.method, parts=calibration.card.part_of, budget=budget
    )
    assert again.card is not None  # noqa: S101 - `calibrate` writes one
    card = again.card.model_copy(update={"split_sha256": calibration.card.split_sha256})
    return counting(again.model_copy(update={"card": card}), calibration.card.set_aside)


def counting(calibration: Calibration, set_aside: int) -> Calibration:
    """Return the calibration with guarantees that count images which were set aside as good parts.

    They had the highest scores. Without them, an order statistic is not that of a draw of good parts: it
    says what parts like those learned do. Of all good parts it is the statistic so many ranks further down.
    The thresholds stay: counted there, the score of a defect would open the gate.

    Args:
        calibration: of the images that were learned.
        set_aside: how many were not.
    """
    card = calibration.card
    if card is None or not set_aside or calibration.method == "mirrored":
        return calibration
    worst = np.sort(worst_of_parts(calibration.scores, card.part_of))
    rules = {
        name: _counting(getattr(card, name), worst, getattr(calibration.thresholds, name), card, set_aside)
        for name in ("review", "reject")
    }
    counted = card.model_copy(update={"set_aside": set_aside, **rules})
    return calibration.model_copy(
        update={"card": counted, "promise": promise(counted, worst, calibration.thresholds)}
    )


def _counting(
    rule: ThresholdRule,
    worst: NDArray[np.float64],
    threshold: float,
    card: CalibrationCard,
    set_aside: int,
) -> ThresholdRule:
    above = rule.rank or int(threshold > worst[-1])
    if not above:
        return rule
    one_in = guaranteed_one_in(worst.size + set_aside, above + set_aside, card.confidence)
    return rule.model_copy(update={"guaranteed_one_in": _more_than_none(one_in)})


def budget_of(calibration: Calibration) -> Budget:
    """Return the budget that was asked for, the default one before there were cards."""
    card = calibration.card
    if card is None:
        return Budget()
    return Budget(
        review_one_in=card.review.one_in,
        reject_one_in=card.reject.one_in,
        confidence=card.confidence,
        commissioning=card.commissioning,
    )


def _numbered(n: int, parts: Sequence[int], *, one: bool) -> tuple[int, ...]:
    if one:
        return (0,) * n
    if parts and len(parts) != n:
        raise ValueError(f"{len(parts)} parts of {n} scores; expected one for each")
    return tuple(int(part) for part in parts) or tuple(range(n))


def _fingerprint(part_of: Sequence[int], digests: Sequence[str]) -> str:
    known = digests if len(digests) == len(part_of) else [""] * len(part_of)
    lines = "\n".join(f"{part} {digest}" for part, digest in zip(part_of, known, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def _of_many(good: NDArray[np.float64], budget: Budget) -> tuple[Thresholds, ThresholdRule, ThresholdRule]:
    """Return the thresholds for sorted scores of parts, and how each was set."""
    review, review_rank = _review(good, budget)
    reject, reject_rank = _reject(good, budget)
    if budget.commissioning:
        review, review_rank = _surely_low(good, budget)
        reject = reject if reject_rank else _surely_high(good, budget)
    reject = max(reject, review + _LEAST_BAND * abs(review), _just_above(review))
    return (
        Thresholds(review=review, reject=reject),
        _rule(good, review, budget.review_one_in, review_rank, budget),
        _rule(good, reject, budget.reject_one_in, reject_rank, budget),
    )


def _surely_low(good: NDArray[np.float64], budget: Budget) -> tuple[float, int]:
    """Return where `review` lies while a product is commissioned, and the rank it lies above."""
    rank = rank_within(good.size, budget.review_one_in, budget.confidence)
    usual = _usual(good)
    return _just_above(min(float(good[-rank]), float(usual[-1]))), rank


def _surely_high(good: NDArray[np.float64], budget: Budget) -> float:
    """Return where `reject` lies while a product is commissioned: at the end of the longest likely tail.

    The tail's scale is the mean of the excesses here, whose spread is known exactly; an odd image makes the
    band wider, and people look.
    """
    n, above = good.size, _above(good.size)
    start = float(good[-above - 1]) if n > 1 else float(good[-1])
    scale = (float(good[-above:].mean()) - start) * widened(above, budget.confidence)
    end = start + scale * float(np.log(budget.reject_one_in * above / n))
    return max(end, _just_above(float(good[-1])))


def _review(good: NDArray[np.float64], budget: Budget) -> tuple[float, int]:
    """Return where `review` lies, and the rank it lies above; 0 for the tail."""
    usual = _usual(good)
    rank = rank_for(good.size, budget.review_one_in, budget.confidence)
    # An odd score is no reason to open the gate up to it, whatever the budget would allow.
    if rank and good[-rank] <= usual[-1]:
        return _just_above(float(good[-rank])), rank
    return _just_above(max(_tail(good, budget.review_one_in), float(usual[-1]))), 0


def _reject(good: NDArray[np.float64], budget: Budget) -> tuple[float, int]:
    rank = rank_for(good.size, budget.reject_one_in, budget.confidence)
    if rank:
        return _just_above(float(good[-rank])), rank
    return max(_tail(good, budget.reject_one_in), _just_above(float(good[-1]))), 0


def _usual(good: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sorted scores without the odd ones; among few parts none is called odd."""
    return good[good <= _tail(good, _ODD_ONE_IN)] if good.size >= FEW else good


def _rule(
    good: NDArray[np.float64], threshold: float, one_in: int, rank: int, budget: Budget
) -> ThresholdRule:
    """Say what a threshold guarantees; a higher one guarantees no less than the score below it."""
    above, sure = rank or int(threshold > good[-1]), budget.confidence
    asked_for = rank and guaranteed_one_in(good.size, rank, sure) >= one_in
    return ThresholdRule(
        one_in=one_in,
        method="order-statistic" if asked_for else "commissioning" if budget.commissioning else "tail",
        rank=rank,
        guaranteed_one_in=_more_than_none(guaranteed_one_in(good.size, above, sure)) if above else None,
        needed=parts_needed(one_in, sure),
    )


def _more_than_none(one_in: int) -> int | None:
    return one_in if one_in > 1 else None


def _just_above(score: float) -> float:
    """Return the next score above, in float32 as scores are: a score is flagged at the threshold."""
    return float(np.nextafter(np.float32(score), np.float32(np.inf)))


def _tail(good: NDArray[np.float64], one_in: float) -> float:
    """Return the score that one good part in so many reaches, by an exponential tail.

    The tail's scale comes from the median of what exceeds the lower three quarters, not from the
    mean: an odd image or two do not move it.
    """
    n, above = good.size, _above(good.size)
    start = float(good[-above - 1]) if n > 1 else float(good[-1])
    scale = (float(np.median(good[-above:])) - start) / np.log(2)
    return float(start + scale * np.log(one_in * above / n))


def _above(n: int) -> int:
    """Return how many of the scores are taken as the tail."""
    return max(round(_TAIL_SHARE * n), 1)


def _of_one_image(
    mirrored: NDArray[np.float64], budget: Budget
) -> tuple[Thresholds, ThresholdRule, ThresholdRule]:
    """Return a wide band: with one image nobody knows how good parts differ."""
    review = float(mirrored[0])
    reject = max(float(_ONE_IMAGE_REJECT * mirrored[-1]), _just_above(review))
    return (
        Thresholds(review=review, reject=reject),
        _unknown(budget.review_one_in, budget.confidence),
        _unknown(budget.reject_one_in, budget.confidence),
    )


def _unknown(one_in: int, confidence: float) -> ThresholdRule:
    return ThresholdRule(one_in=one_in, method="tail", needed=parts_needed(one_in, confidence))


def _few(card: CalibrationCard) -> tuple[str, ...]:
    if card.photographs == 1:
        return ("learned from a single image: every verdict needs a person's look; add good images",)
    if card.parts < FEW:
        what = "images" if card.parts == card.photographs else "parts"
        return (f"learned from {card.parts} {what}: the thresholds are uncertain; {FEW} or more are advised",)
    return ()


def _odd(given: NDArray[np.float64], worst: NDArray[np.float64], review: float) -> NDArray[np.intp]:
    """Return the positions of flagged images that lie far above the others."""
    return np.flatnonzero((given >= review) & (given > _usual(worst)[-1]))


def _are_they_good(odd: NDArray[np.intp], names: Sequence[str], n: int) -> tuple[str, ...]:
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
