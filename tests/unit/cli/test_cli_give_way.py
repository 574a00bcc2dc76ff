"""Learning beside a station that runs."""

import os
from pathlib import Path
from unittest import mock

import pytest

from partgate.cli._give_way import NICENESS, give_way
from partgate.records import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


def test_beside_a_station_that_runs_learning_takes_what_it_leaves(home: Home) -> None:
    # Not really: who is no root could not take it back, and the tests after this one would be slow.
    with home.lock("station-line1"), mock.patch("os.nice") as nice:
        give_way(home)
    nice.assert_called_once_with(NICENESS)


def test_where_no_station_runs_learning_has_the_machine(home: Home) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with home.lock("station-line1"):
        pass
    give_way(home)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
