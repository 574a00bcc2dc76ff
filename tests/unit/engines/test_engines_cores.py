"""Cores set aside for judging: which ones, and that threads and processes keep to them."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from partgate_engines import (
    Bundle,
    CoreSplit,
    OpenVinoOptions,
    keep_process_on,
    let_go,
    on_cores,
    split_cores,
    split_of,
    thread_processors,
)
from partgate_engines._cores import core_list, listed_cores
from partgate_station import ConfigError, StationConfig

HERE = frozenset(os.sched_getaffinity(0))
LAST = frozenset({max(HERE)})


def machine(
    folder: Path,
    siblings: list[str],
    *,
    packages: dict[int, int] | None = None,
    khz: dict[int, int] | None = None,
) -> Path:
    """Write down a machine as its kernel would: one text of siblings for every core."""
    for text in siblings:
        for number in listed_cores(text):
            topology = folder / f"cpu{number}" / "topology"
            topology.mkdir(parents=True)
            (topology / "thread_siblings_list").write_text(f"{text}\n")
            (topology / "physical_package_id").write_text(f"{(packages or {}).get(number, 0)}\n")
            if khz is not None:
                (folder / f"cpu{number}" / "cpufreq").mkdir()
                (folder / f"cpu{number}" / "cpufreq" / "cpuinfo_max_freq").write_text(f"{khz[number]}\n")
    return folder


@pytest.mark.parametrize(
    ("siblings", "more", "allowed", "cores", "judging"),
    [
        (["0", "1"], {}, {0, 1}, 1, {1}),
        (["0", "1", "2", "3"], {}, {0, 1, 2, 3}, 3, {1, 2, 3}),
        (["0,4", "1,5", "2,6", "3,7"], {}, set(range(8)), 2, {2, 6, 3, 7}),
        (["0-1", "2-3", "4-5"], {}, set(range(6)), 1, {4, 5}),
        (["0,4", "1,5", "2,6", "3,7"], {}, {0, 1, 2, 4, 6}, 1, {2, 6}),
        (["0", "1", "2", "3"], {"packages": {1: 1, 3: 1}}, {0, 1, 2, 3}, 2, {1, 3}),
        (["0-1", "2-3", "4", "5"], {"khz": {0: 5, 1: 5, 2: 5, 3: 5, 4: 3, 5: 3}}, set(range(6)), 1, {2, 3}),
    ],
    ids=["two cores", "all but one", "hyperthreads", "neighbouring hyperthreads", "not all allowed",
         "of one package", "quick ones first"],
)  # fmt: skip
def test_whole_cores_are_set_aside(
    siblings: list[str],
    more: dict[str, dict[int, int]],
    allowed: set[int],
    cores: int,
    judging: set[int],
    tmp_path: Path,
) -> None:
    topology = machine(tmp_path, siblings, packages=more.get("packages"), khz=more.get("khz"))
    split = split_cores(cores, allowed=allowed, most=len(allowed), topology=topology)
    assert split == CoreSplit(judging=frozenset(judging), others=frozenset(allowed - judging))


@pytest.mark.parametrize(
    ("cores", "allowed", "most", "said"),
    [
        (2, {0, 1}, 2, "judging.cores: 2 to be set aside, and this station may use 2 (processors 0-1)"),
        (4, {0, 1, 2, 3, 8}, 3, "4 to be set aside, and this station may use 3 (processors 0-3,8)"),
        (2, {0, 1, 2, 3}, 4, "give at most 1, or 0"),
        (1, {5}, 1, "give 0: none can be set aside"),
    ],
    ids=["all of them", "beyond the quota", "hyperthreads are no cores", "there is only one"],
)
def test_one_core_must_be_left(cores: int, allowed: set[int], most: int, said: str, tmp_path: Path) -> None:
    siblings = ["0,2", "1,3"] if allowed == {0, 1, 2, 3} else [str(number) for number in allowed]
    with pytest.raises(ConfigError) as refused:
        split_cores(cores, allowed=allowed, most=most, topology=machine(tmp_path, siblings))
    assert said in str(refused.value)


def test_a_kernel_that_describes_nothing_has_a_core_for_each_processor(tmp_path: Path) -> None:
    split = split_cores(1, allowed={3, 4}, most=2, topology=tmp_path)
    assert str(split) == "judging on 4, everything else on 3"


@pytest.mark.parametrize("text", ["0", "0-3", "0-3,8", "1,3,5-6"])
def test_lists_are_read_and_written_as_the_kernel_does(text: str) -> None:
    assert core_list(listed_cores(f"{text}\n")) == text


def test_a_thread_is_kept_and_so_is_what_it_starts() -> None:
    found: list[frozenset[int]] = []
    with on_cores(LAST):
        thread = threading.Thread(target=lambda: found.append(frozenset(os.sched_getaffinity(0))))
        thread.start()
        thread.join(10)
        assert os.sched_getaffinity(0) == LAST
    assert found == [LAST]
    assert os.sched_getaffinity(0) == HERE


def test_processors_that_are_not_there_are_a_mistake_of_the_file() -> None:
    with pytest.raises(ConfigError, match=r"processors 4000 cannot be had"), on_cores({4000}):
        pass
    assert os.sched_getaffinity(0) == HERE


@contextmanager
def a_process() -> Iterator["subprocess.Popen[str]"]:
    """Run a process with two threads, until it is told to end; the first one narrows itself if it can."""
    code = "import threading; e = threading.Event(); threading.Thread(target=e.wait, args=(50,)).start();"
    code += "print('up', flush=True); input(); e.set()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
    finally:
        process.communicate("\n", timeout=20)


def test_all_threads_of_another_process_are_kept_and_let_go() -> None:
    with a_process() as process:
        before = keep_process_on(LAST, process.pid)
        assert len(before) == 2
        assert set(thread_processors(process.pid).values()) == {LAST}
        let_go(before)
        assert set(thread_processors(process.pid).values()) == {HERE}
    assert keep_process_on(LAST, process.pid) == {}, "one that has ended"


def test_who_judges_where_is_read_from_the_threads() -> None:
    with a_process() as process:
        assert split_of(process.pid) is None
        os.sched_setaffinity(process.pid, LAST)
        if len(HERE) == 1:
            return
        assert split_of(process.pid) is None, "the other thread may run there as well"
        (other,) = thread_processors(process.pid).keys() - {process.pid}
        os.sched_setaffinity(other, HERE - LAST)
        assert split_of(process.pid) == CoreSplit(judging=LAST, others=HERE - LAST)
    assert split_of(process.pid) is None


OPEN_AND_JUDGE = """
import json, sys
from pathlib import Path
import cv2  # cutting frames imports it, and its wheel starts threads of its own
import numpy as np
from partgate_engines import Bundle, OpenVinoOptions, on_cores, open_runtime, thread_processors
options, before = OpenVinoOptions(cores=1, precision="f32"), thread_processors()
with on_cores({int(sys.argv[2])}):
    runtime = open_runtime(Bundle.open(Path(sys.argv[1]), trusted=None), "openvino", openvino=options)
frame = np.full((96, 80), 77, np.uint8)
runtime.scores([frame], [()])
runtime.judge(frame)
after = thread_processors()
print(json.dumps([runtime.config.threads, [sorted(after[one]) for one in after.keys() - before.keys()]]))
"""


def test_what_openvino_starts_stays_where_the_runtime_was_opened(bundle: Bundle) -> None:
    # In a process of its own: OpenVINO takes up the threads of an engine that was let go of.
    command = [sys.executable, "-c", OPEN_AND_JUDGE, str(bundle.folder), str(max(HERE))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=55, check=True)
    threads, started = json.loads(done.stdout.splitlines()[-1])
    assert threads == 1
    assert started
    assert all(processors == [max(HERE)] for processors in started)


def test_cores_and_threads_of_a_stations_file() -> None:
    said = {"station_id": "one", "cameras": ({"kind": "virtual", "camera_id": "top"},)}
    config = StationConfig.model_validate({**said, "judging": {"cores": 3}})
    assert OpenVinoOptions.of_station(config).config("f32").threads == 3
    config = StationConfig.model_validate({**said, "judging": {"cores": 3}, "openvino": {"threads": 2}})
    assert OpenVinoOptions.of_station(config).config("f32").threads == 2
    with pytest.raises(ValueError, match=r"openvino\.threads \(4\) is more than judging\.cores \(3\)"):
        StationConfig.model_validate({**said, "judging": {"cores": 3}, "openvino": {"threads": 4}})
