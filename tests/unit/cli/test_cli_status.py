"""`partgate status`: the same whether the station runs or not."""

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import Session

from commands import in_process
from disks import GIB, disk_of
from partgate.cli._status_disks import Disks
from partgate.cli._status_text import age
from partgate.records import Database, Home, Part, add_station
from partgate_engines import keep_process_on, let_go, on_cores
from partgate_station import Verdict


@pytest.fixture
def home(tmp_path: Path) -> Home:
    opened = Home.open(tmp_path / "home")
    with Database.open(opened) as database:
        database.write(inspect_three).result(timeout=10)
    return opened


def inspect_three(session: Session) -> None:
    add_station(session, station_id="line1", name="Line 1")
    now = datetime.now(UTC)
    verdicts = [Verdict.ACCEPT, Verdict.REJECT, Verdict.UNDECIDED]
    for number, verdict in enumerate(verdicts, start=1):
        at = now - timedelta(seconds=10 * (3 - number))
        reason = "CAMERA_TIMEOUT: none came" if verdict is Verdict.UNDECIDED else None
        session.add(Part(station_id="line1", trigger_id=number, triggered_at=at, verdict=verdict,
                         reason=reason, closed_at=at, latency_ms=20.0))  # fmt: skip


def open_fourth(session: Session) -> None:
    session.add(Part(station_id="line1", trigger_id=4, triggered_at=datetime.now(UTC)))


def test_a_station_that_is_down(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    done = in_process("status", "--json", home=home.path, capsys=capsys)
    said = json.loads(done.stdout)
    (station,) = said["stations"]
    assert (station["station"], station["name"], station["running"], station["pid"]) == (
        "line1", "Line 1", False, None,
    )  # fmt: skip
    assert station["ledger"] == {
        "triggers": 3, "accept": 1, "review": 0, "reject": 1, "undecided": 1, "open": 0, "balanced": True,
    }  # fmt: skip
    assert station["parts_last_minute"] == 3
    assert station["undecided_last_hour"] == {"CAMERA_TIMEOUT": 1}
    assert station["last_part"]["verdict"] == "UNDECIDED"
    assert 0 <= station["last_part"]["age_s"] < 3600
    assert said["disk"]["total_bytes"] > said["disk"]["free_bytes"] > 0
    assert list(said["disks"]) == ["home", "images", "maps"]
    assert said["disks"]["images"]["free_bytes"] > 0
    text = in_process("status", home=home.path, capsys=capsys).stdout
    assert "Station 'line1' (Line 1): not running" in text
    assert "balanced" in text


def test_a_station_that_runs_with_a_part_in_work(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    with Database.open(home) as database:
        database.write(open_fourth).result(timeout=10)
    with home.lock("station-line1"):
        text = in_process("status", home=home.path, capsys=capsys).stdout
        said = json.loads(in_process("status", "--json", home=home.path, capsys=capsys).stdout)
    assert f"running, pid {os.getpid()}, since 20" in text
    assert "balanced, 1 more in work" in text
    assert (said["stations"][0]["pid"], said["stations"][0]["running"]) == (os.getpid(), True)
    text = in_process("status", home=home.path, capsys=capsys).stdout
    assert "1 open: NOT BALANCED" in text, "nobody works on it"


def test_which_cores_a_station_judges_on(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    here = os.sched_getaffinity(0)
    last, end = {max(here)}, threading.Event()
    rest = here - last
    with home.lock("station-line1"):
        said = json.loads(in_process("status", "--json", home=home.path, capsys=capsys).stdout)
        assert said["stations"][0]["cores"] is None, "all threads may run everywhere"
        if not rest:  # of one core none can be set aside
            return
        before = keep_process_on(rest)
        other = threading.Thread(target=end.wait, args=(50,))
        other.start()
        with on_cores(last):
            text = in_process("status", home=home.path, capsys=capsys).stdout
            said = json.loads(in_process("status", "--json", home=home.path, capsys=capsys).stdout)
        end.set()
        other.join(10)
        let_go(before)
    assert f"judging on {max(here)}, everything else on " in text
    assert said["stations"][0]["cores"] == {"judging": sorted(last), "others": sorted(rest)}


def go_dark(session: Session) -> None:
    now = datetime.now(UTC)
    why = "IMAGE_HEALTH: camera top: brightness is 3.1, 91.4 to 133 is allowed"
    session.add(Part(station_id="line1", trigger_id=4, triggered_at=now, verdict=Verdict.UNDECIDED,
                     reason=why, closed_at=now))  # fmt: skip
    session.add(Part(station_id="line1", trigger_id=5, triggered_at=now))  # in work


def test_f10_a_camera_whose_light_has_failed_is_an_alarm(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    with Database.open(home) as database:
        database.write(go_dark).result(timeout=10)
    with home.lock("station-line1"):
        text = in_process("status", home=home.path, capsys=capsys).stdout
        said = json.loads(in_process("status", "--json", home=home.path, capsys=capsys).stdout)
    alarm = "camera top: brightness is 3.1, 91.4 to 133 is allowed"
    assert f"ALARM     {alarm}; parts are UNDECIDED" in text
    assert said["stations"][0]["image_health_alarm"] == alarm
    text = in_process("status", home=home.path, capsys=capsys).stdout
    assert "ALARM" not in text, "a station that is down has none"


def test_a_station_that_has_just_started_for_the_first_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home.open(tmp_path / "new")
    Database.open(home).close()
    text = in_process("status", home=home.path, capsys=capsys).stdout
    assert "No station has run in this home yet" in text
    with home.lock("station-fresh"):
        text = in_process("status", home=home.path, capsys=capsys).stdout
    assert "Station 'fresh': running" in text


def test_no_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("status", home=tmp_path / "none", capsys=capsys).returncode == 66


def test_watching_ends_with_ctrl_c(home: Home) -> None:
    command = [sys.executable, "-m", "partgate", "status", "--watch", "--json", "--every", "0.2"]
    with subprocess.Popen(
        [*command, "--home", str(home.path)], stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        looks = [json.loads(watching.stdout.readline()) for _ in range(2)]
        watching.send_signal(signal.SIGINT)
        assert watching.wait(timeout=30) == 0
    assert [look["stations"][0]["ledger"]["triggers"] for look in looks] == [3, 3]


ELSEWHERE = {"images": 2, "maps": 2}


@pytest.mark.parametrize(
    ("free", "device", "lines"),
    [
        pytest.param({}, {}, [("disk", "500.00 GiB of 1000.00 GiB free", "")], id="room"),
        pytest.param(
            {"images": 90},
            ELSEWHERE,
            [
                ("disk", "500.00 GiB of 1000.00 GiB free", ""),
                ("images", "90.00 GiB of 1000.00 GiB free", "yellow"),
            ],
            id="nearly-full",
        ),
        pytest.param(
            {"images": 0.9},
            ELSEWHERE,
            [
                ("disk", "500.00 GiB of 1000.00 GiB free", ""),
                ("images", "0.90 GiB of 1000.00 GiB free: no images of accepted parts are kept", "bold red"),
            ],
            id="floor",
        ),
        pytest.param(
            dict.fromkeys(("home", "images", "maps"), 0.5),
            {},
            [("disk", "0.50 GiB of 1000.00 GiB free: no images are kept", "bold red")],
            id="shared",
        ),
        pytest.param(
            {"home": 0.1},
            ELSEWHERE,
            [
                (
                    "disk",
                    "0.10 GiB of 1000.00 GiB free: rows can soon not be written, the station is not ready",
                    "bold red",
                ),
                ("images", "500.00 GiB of 1000.00 GiB free", ""),
            ],
            id="rows",
        ),
    ],
)
def test_how_full_the_disks_are(
    free: dict[str, float], device: dict[str, int], lines: list[tuple[str, str, str]]
) -> None:
    rooms = {
        name: disk_of(free.get(name, 500) * GIB, device=device.get(name, 1))
        for name in ("home", "images", "maps")
    }
    assert list(Disks(rooms=rooms).lines()) == lines


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(-5, "0 s"), (0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7_300, "2 h"), (200_000, "2 days")],
)
def test_an_age_in_words(seconds: float, says: str) -> None:
    assert age(timedelta(seconds=seconds)) == says
