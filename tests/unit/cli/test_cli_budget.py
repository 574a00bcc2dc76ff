"""Which budget the options ask for: one that is given counts, alone too."""

import pytest

from partgate.cli._budget import read_budget
from partgate_engines.anomaly import Budget
from partgate_station import ConfigError


def test_nothing_asked_for_is_no_budget() -> None:
    assert read_budget(None, None, None) is None


def test_each_option_counts_alone() -> None:
    assert read_budget(None, None, 0.99) == Budget(confidence=0.99)
    assert read_budget(None, None, None, commissioning=True) == Budget(commissioning=True)
    assert read_budget("1/500", None, None) == Budget(review_one_in=50, reject_one_in=500)
    assert read_budget("1/500", "1/40", 0.9, commissioning=True) == Budget(
        review_one_in=40, reject_one_in=500, confidence=0.9, commissioning=True
    )


def test_reviews_go_with_rejects() -> None:
    with pytest.raises(ConfigError, match="goes with --false-rejects 1/N"):
        read_budget(None, "1/40", 0.99)
