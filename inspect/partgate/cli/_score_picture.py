"""A histogram of scores with the thresholds, as SVG."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np

if TYPE_CHECKING:
    from partgate.retraining import Evidence
    from partgate_station import Thresholds

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 40, 56, 220
_LABEL = 120
_BINS = 40
_BEYOND = 0.1  # of the scale, on either side
_GOOD, _DEFECTIVE, _FOUND_GOOD, _REVIEW, _REJECT = "#5b7a99", "#b3261e", "#2e7d4f", "#b26a00", "#b3261e"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """What the marks below the bars stand for."""

    good: str = "QA found good"
    defective: str = "QA found defective"
    good_colour: str = _FOUND_GOOD


def score_picture(
    product: str, thresholds: "Thresholds", evidence: "Evidence", *, ticks: Ticks | None = None
) -> str:
    """Return an SVG: bars for good parts held out, ticks for other known parts, lines for thresholds.

    Higher scores are worse and stand on the right.

    Args:
        product: its name.
        thresholds: to draw.
        evidence: the scores.
        ticks: what `found_good` and `found_defective` are called; None: what QA found.
    """
    low, high = _scale([thresholds.review, thresholds.reject, *evidence.held_out,
                        *evidence.found_good, *evidence.found_defective])  # fmt: skip
    drawn = "\n".join(_drawing(product, thresholds, evidence, low, high, ticks or Ticks()))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}"'
        f' height="{_HEIGHT}" font-family="sans-serif" font-size="12">\n{drawn}\n</svg>\n'
    )


def _drawing(
    product: str, thresholds: "Thresholds", evidence: "Evidence", low: float, high: float, ticks: Ticks
) -> Iterator[str]:
    name = f"{product}: anomaly scores of {len(evidence.held_out)} good parts, held out"
    yield f"<title>{escape(name)}</title>"
    yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>'
    yield _text(_LEFT, 18, name)
    yield from _bars(evidence.held_out, low, high)
    yield f'<path d="M{_LEFT} {_BOTTOM}H{_WIDTH - _RIGHT}" stroke="#333333"/>'
    for value in (low, (low + high) / 2, high):
        yield _text(_place(value, low, high), _BOTTOM + 16, f"{value:.4g}", anchor="middle")
    yield from _ticks(evidence.found_good, low, high, _BOTTOM + 24, ticks.good_colour)
    yield from _ticks(evidence.found_defective, low, high, _BOTTOM + 40, _DEFECTIVE)
    found = f"{ticks.good}: {len(evidence.found_good)}"
    yield _text(_LEFT, _HEIGHT - 8, found, colour=ticks.good_colour)
    found = f"{ticks.defective}: {len(evidence.found_defective)}"
    yield _text(_WIDTH - _RIGHT, _HEIGHT - 8, found, anchor="end", colour=_DEFECTIVE)
    yield from _line(thresholds.review, "review", 48, _REVIEW, low, high)
    yield from _line(thresholds.reject, "reject", 34, _REJECT, low, high)


def _scale(values: Sequence[float]) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)]
    beyond = _BEYOND * ((max(finite) - min(finite)) or 1.0)
    return min(finite) - beyond, max(finite) + beyond


def _place(value: float, low: float, high: float) -> float:
    return round(_LEFT + (_WIDTH - _RIGHT - _LEFT) * (value - low) / (high - low), 1)


def _bars(scores: Sequence[float], low: float, high: float) -> Iterator[str]:
    counts, edges = np.histogram(scores, bins=_BINS, range=(low, high))
    most = max(int(counts.max()), 1)
    for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            x, height = _place(float(start), low, high), (_BOTTOM - _TOP) * int(count) / most
            width = _place(float(end), low, high) - x - 1
            yield (
                f'<rect x="{x}" y="{_BOTTOM - height:.1f}" width="{width:.1f}" height="{height:.1f}"'
                f' fill="{_GOOD}"><title>{int(count)} parts from {start:.4g} to {end:.4g}</title></rect>'
            )


def _ticks(scores: Sequence[float], low: float, high: float, y: int, colour: str) -> Iterator[str]:
    path = "".join(f"M{_place(score, low, high)} {y}v12" for score in scores if math.isfinite(score))
    if path:
        yield f'<path d="{path}" stroke="{colour}" stroke-width="1.5"/>'


def _line(value: float, name: str, y: int, colour: str, low: float, high: float) -> Iterator[str]:
    x = _place(value, low, high)
    yield f'<path d="M{x} {y - 10}V{_BOTTOM}" stroke="{colour}" stroke-width="2" stroke-dasharray="5 3"/>'
    # Review's name stands to its left and reject's to its right, unless that were outside the picture.
    left = x > _WIDTH - _LABEL or (name == "review" and x > _LABEL)
    anchor, away = ("end", -4) if left else ("start", 4)
    yield _text(x + away, y, f"{name} {value:.4g}", anchor=anchor, colour=colour)


def _text(x: float, y: float, words: str, *, anchor: str = "start", colour: str = "#222222") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'
