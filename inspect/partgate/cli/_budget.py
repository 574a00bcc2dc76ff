"""The options that say how many good parts may be flagged."""

from dataclasses import replace
from typing import TYPE_CHECKING

from partgate_station import ConfigError

if TYPE_CHECKING:
    from partgate_engines.anomaly import Budget


def read_budget(
    false_rejects: str | None,
    false_reviews: str | None,
    confidence: float | None,
    *,
    commissioning: bool = False,
) -> "Budget | None":
    """Return the budget that was asked for, by any of these; None if none was.

    Raises:
        ConfigError: it is none; says what is allowed.
    """
    from partgate_engines.anomaly import Budget

    sure = Budget().confidence if confidence is None else confidence
    if false_rejects is None:
        if false_reviews is not None:
            raise ConfigError("--false-reviews: goes with --false-rejects 1/N, which is missing")
        if not commissioning and confidence is None:
            return None
        return Budget(confidence=sure, commissioning=commissioning)
    try:
        found = Budget.of(false_rejects, false_reviews, confidence=sure)
        return replace(found, commissioning=commissioning)
    except ValueError as error:
        raise ConfigError(f"--false-rejects: {error}") from error
