"""What a calibration promises, in a person's words."""

import numpy as np
from numpy.typing import NDArray

from partgate_engines._manifest import CalibrationCard, ThresholdRule
from partgate_engines.anomaly._budget import guaranteed_one_in
from partgate_station import Thresholds

_OF_ONE = (
    "learned from 1 {what}: nothing can be promised; most good parts will lie in the review band until more"
    " good parts are added"
)


def promise(card: CalibrationCard, worst: NDArray[np.float64], thresholds: Thresholds) -> str:
    """Say what may be expected of the thresholds, and what of it is guaranteed.

    Args:
        card: how they were set.
        worst: (n,) the worst score of each good part.
        thresholds: as set.
    """
    n = card.parts
    if n == 1:
        return _OF_ONE.format(what="image" if card.photographs == 1 else "part")
    what = "images" if n == card.photographs else f"parts, in {card.photographs} photographs"
    flagged = int((worst >= thresholds.review).sum())
    alike = f", {card.set_aside} set aside: of parts like those learned," if card.set_aside else ":"
    return (
        f"from {n} good {what}{alike} about 1 good part in {n + 1} is expected at or above the highest"
        f" held-out score, {worst.max():.4g}; {flagged} of the {n} lie at or above review."
        f" Review: {rule_text(card.review, card)}. Reject: {rule_text(card.reject, card)}"
        f"{_commissioning(card, thresholds)}"
    )


def _commissioning(card: CalibrationCard, thresholds: Thresholds) -> str:
    if not card.commissioning:
        return ""
    return (
        f". In commissioning: people look at parts from {thresholds.review:.4g} to {thresholds.reject:.4g};"
        " the band narrows with every good part that is added"
    )


def too_few(card: CalibrationCard) -> tuple[str, ...]:
    """Say which of the thresholds has too few parts for its budget, and how many it takes."""
    rules = (("review", card.review), ("reject", card.reject))
    return tuple(
        f"{card.parts} good parts are too few to guarantee at most 1 good part in {rule.one_in:,} at or above"
        f" {name} with {_percent(card.confidence)} confidence: it takes {rule.needed:,},"
        f" {rule.needed - card.parts:,} more"
        for name, rule in rules
        if rule.method == "tail" and rule.needed > card.parts
    )


def rule_text(rule: ThresholdRule, card: CalibrationCard) -> str:
    """Say how a threshold was set and what that guarantees."""
    sure = f"with {_percent(card.confidence)} confidence"
    if rule.method == "order-statistic" and card.set_aside:
        alike = guaranteed_one_in(card.parts, rule.rank, card.confidence)
        return (
            f"of parts like those learned at most 1 good part in {alike:,} at or above it {sure}, whatever"
            f" the distribution (1 in {rule.one_in:,} was asked); {_of_all(rule, card, sure)}"
        )
    if rule.method == "order-statistic":
        return (
            f"guaranteed {sure}, whatever the distribution: at most 1 good part in"
            f" {rule.guaranteed_one_in:,} at or above it (1 in {rule.one_in:,} was asked)"
        )
    if rule.method == "commissioning":
        return _band_text(rule, card, sure)
    of_what = " of parts like those learned" if card.set_aside else ""
    return (
        f"an extrapolation, 1 good part in {rule.one_in:,}{of_what} if the tail goes on as it begins;"
        f" {_of_all(rule, card, sure)};"
        f" 1 in {rule.one_in:,} takes {rule.needed:,} good parts"
    )


def _of_all(rule: ThresholdRule, card: CalibrationCard, sure: str) -> str:
    """Say what is guaranteed of all good parts, those that were set aside among them."""
    counted = f", with the {card.set_aside} set aside counted as good" if card.set_aside else ""
    if rule.guaranteed_one_in is None:
        return f"nothing is guaranteed{counted}"
    return f"guaranteed {sure}{counted + ',' if counted else ''} is 1 in {rule.guaranteed_one_in:,}"


def _band_text(rule: ThresholdRule, card: CalibrationCard, sure: str) -> str:
    needed = f"{rule.needed:,} good parts would guarantee 1 in {rule.one_in:,}, there are {card.parts}"
    if rule.rank:
        return (
            f"{sure} at least 1 good part in {rule.one_in:,} lies at or above it, so that no defect is let"
            f" pass that a sure threshold would stop; {needed}"
        )
    return f"{sure} no more than 1 good part in {rule.one_in:,} if the tail is exponential; {needed}"


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
