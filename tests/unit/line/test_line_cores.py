"""A station whose file sets cores aside: who of it runs where, while it runs and afterwards."""

import os
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from partgate.fitness._cores import cores_set_aside
from partgate.line import Outcome, run_station
from partgate.line._cores import StationCores
from partgate.records import Home
from partgate_engines import CoreSplit, split_cores, split_of, thread_processors
from partgate_station import ConfigError, Judging, StationConfig, VirtualCamera

HERE = frozenset(os.sched_getaffinity(0))


def split() -> CoreSplit | None:
    """Return what setting one core aside comes to here; None on a machine with a single core."""
    try:
        return split_cores(1)
    except ConfigError:
        return None


def station(cores: int) -> StationConfig:
    camera = VirtualCamera(kind="virtual", camera_id="top", size_px=64)
    return StationConfig(station_id="one", cameras=(camera,), judging=Judging(cores=cores))


def children() -> list[int]:
    tasks = Path("/proc/self/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


@pytest.mark.skipif(split() is None, reason="of one core none can be set aside; the next test is for that")
def test_the_loop_has_its_core_and_everything_else_the_others(tmp_path: Path) -> None:
    seen: list[tuple[frozenset[int], set[frozenset[int]], set[frozenset[int]]]] = []
    splits: list[CoreSplit | None] = []

    def look(outcome: Outcome) -> None:
        del outcome
        threads = thread_processors()
        loop = threads.pop(threading.get_native_id())
        processes = {one for pid in children() for one in thread_processors(pid).values()}
        seen.append((loop, set(threads.values()), processes))
        splits.append(split_of(os.getpid()))

    with capture_logs() as logs:
        run = run_station(station(1), Home.open(tmp_path), stop=threading.Event(), parts=2, on_outcome=look)
    expected = split()
    assert expected is not None
    judging, others = expected.judging, expected.others
    assert run.balance.balanced
    assert seen == [(judging, {others}, {others})] * 2
    assert splits == [expected] * 2
    assert [entry for entry in logs if entry["event"] == "cores set aside"]
    assert set(thread_processors().values()) == {HERE}, "afterwards everything is as it was"


def test_more_cores_than_can_be_spared_are_refused_before_anything_starts(tmp_path: Path) -> None:
    cores = len(HERE)
    with pytest.raises(ConfigError, match=rf"judging\.cores: {cores} to be set aside"):
        run_station(station(cores), Home.open(tmp_path), stop=threading.Event(), parts=1)
    assert set(thread_processors().values()) == {HERE}
    with pytest.raises(ConfigError, match="one must be left"):
        list(cores_set_aside(station(cores)))


def test_without_a_word_in_the_file_everything_runs_everywhere(tmp_path: Path) -> None:
    seen: list[set[frozenset[int]]] = []
    run_station(
        station(0),
        Home.open(tmp_path),
        stop=threading.Event(),
        parts=1,
        on_outcome=lambda outcome: seen.append(set(thread_processors().values())),
    )
    assert seen == [{HERE}]
    (check,) = cores_set_aside(station(0))
    assert check.value.startswith("none set aside")


def test_a_thread_on_both_sides_is_said() -> None:
    both = CoreSplit(judging=frozenset({min(HERE)}), others=HERE)  # as if OpenVINO's had been left astray
    with capture_logs() as logs:
        StationCores(both).verify()
    assert [(entry["log_level"], entry["threads"] > 0) for entry in logs] == [("warning", True)]
    apart = CoreSplit(judging=HERE, others=frozenset({4000}))
    with capture_logs() as logs:
        StationCores(apart).verify()
        StationCores().verify()
    assert logs == []
