"""Tests in real time are run again if they failed while the machine stood still, and only then."""

import ctypes
import time
from pathlib import Path

import pytest

from standstill import Standstill

STANDS_US = 60_000
folders: list[Path] = []


def stand_still() -> None:
    """Sleep with Python's lock held: no other thread is woken."""
    ctypes.PyDLL(None).usleep(STANDS_US)


def test_a_standstill_is_measured_and_a_test_that_sleeps_is_none() -> None:
    with Standstill() as standstill:
        time.sleep(0.1)
        before_s = standstill.longest_s
        stand_still()
    assert standstill.longest_s > max(before_s, STANDS_US / 2e6)


@pytest.mark.real_time(bears_s=0.03)
def test_a_failure_in_a_standstill_is_run_again_from_the_start(tmp_path: Path) -> None:
    folders.append(tmp_path)
    if len(folders) < 3:
        stand_still()
        pytest.fail("twice")
    assert len(set(folders)) == 3
