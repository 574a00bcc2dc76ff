"""What the station's benchmark counts and compares, without running a station."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from partgate_engines import split_cores
from partgate_station import ConfigError, StationConfig, VirtualCamera

ROOT = Path(__file__).parents[2]
BURN = """
import time
while time.process_time() < 0.3:
    pass
print("done", flush=True)
input()
"""


@pytest.fixture(autouse=True)
def root_on_path() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield


def burn(seconds: float) -> None:
    until_s = time.process_time() + seconds
    while time.process_time() < until_s:
        pass


def test_processor_time_is_told_by_process_and_part() -> None:
    from benchmarks._processor_time import Meter

    meter = Meter()
    with subprocess.Popen(
        [sys.executable, "-c", f"{BURN}# recorder"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        meter.begin()
        burn(0.1)
        assert child.stdout.readline() == "done\n"
        meter.end()
        child.communicate("\n", timeout=20)
    by_part = meter.ms_by_part(10)
    assert by_part.keys() == {"line", "recorder"}
    assert by_part["line"] >= 10
    assert 1 <= by_part["recorder"] <= 40
    meter.begin()
    meter.end()
    assert meter.ms_by_part(10).keys() == {"line"}, "who has ended is not counted"


def test_what_the_host_takes_is_a_share_of_what_was_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from benchmarks import _processor_time

    monkeypatch.setattr(_processor_time, "_PROC", tmp_path)
    (tmp_path / "stat").write_text("cpu  100 10 20 5000 70 3 4 13 0 0\ncpu0 1 2 3\n")
    host = _processor_time.Host()
    assert host.stolen_share() == 0.0
    (tmp_path / "stat").write_text("cpu  160 10 30 9000 90 3 4 23 50 0\ncpu0 1 2 3\n")
    assert host.stolen_share() == pytest.approx(10 / 80)


def test_how_many_parts_make_a_tail() -> None:
    from benchmarks.station import _parts

    assert [_parts(rounds, rate) for rounds, rate in ((30, 50), (30, 20), (10, 50), (60, 50))] == [
        10_000, 4_000, 3_333, 10_000,
    ]  # fmt: skip


def test_the_second_row_has_cores_set_aside_that_there_are() -> None:
    from benchmarks.station import _with_cores_set_aside

    camera = VirtualCamera(kind="virtual", camera_id="top")
    config = StationConfig(station_id="bench", cameras=(camera,))
    try:
        split_cores(1)
    except ConfigError:
        assert _with_cores_set_aside(config) == []
        return
    (divided,) = _with_cores_set_aside(config)
    assert divided.station_id != config.station_id
    assert split_cores(divided.judging.cores).others
