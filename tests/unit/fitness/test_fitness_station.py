"""What is said of a station before there is a model; the integration tests go on from there."""

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disks import GIB, disk_of
from partgate.fitness import State, StationFitness, examine_station, exit_code
from partgate.fitness._cameras import Seen, look_at_camera
from partgate.fitness._judging import Pace, deadline, precision
from partgate.fitness._supply import rate, supply
from partgate.fitness._windows import windows
from partgate.records import Database, Home
from partgate_cameras import CameraUnavailable, Frame, FrameTimeout
from partgate_engines import split_cores
from partgate_station import (
    CameraTrigger,
    ConfigError,
    ContinuousTrigger,
    DigitalInputTrigger,
    FolderCamera,
    GenicamCamera,
    IntervalTrigger,
    PartgateError,
    Records,
    StationConfig,
    VideoCamera,
    VirtualCamera,
)

TOP = VirtualCamera(kind="virtual", camera_id="top")
PACE = Pace(grab_ms=20, judge_ms=30, map_bytes=4096)


class OneFrame:
    """A camera that gives the same frame, or raises."""

    def __init__(self, error: PartgateError | None = None, *, shape: tuple[int, ...] = (48, 64)) -> None:
        self.camera_id = "top"
        self.exhausted = False
        self.error, self.shape = error, shape
        self.acts: list[str] = []

    def open(self) -> None:
        self.acts.append("open")

    def grab(self, timeout_s: float) -> Frame:
        self.acts.append("grab")
        if self.error is not None:
            raise self.error
        return frame(self.shape)

    def close(self) -> None:
        self.acts.append("close")


def frame(shape: tuple[int, ...] = (48, 64)) -> Frame:
    image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    return Frame(image=image, camera_id="top", frame_id=1, camera_timestamp_ns=None,
                 received_at=datetime.now(UTC))  # fmt: skip


@pytest.fixture
def station_file(tmp_path: Path) -> Path:
    path = tmp_path / "line.toml"
    path.write_text('station_id = "line1"\n[[cameras]]\nkind = "virtual"\ncamera_id = "top"\n')
    return path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    opened = Home.open(tmp_path / "home")
    Database.open(opened).close()
    return opened


def by_name(found: StationFitness) -> dict[str, tuple[str, str]]:
    return {check.name: (check.state.value, check.value) for check in found.checks}


def test_cores_that_cannot_be_spared_are_unfit(station_file: Path, home: Home) -> None:
    there = len(os.sched_getaffinity(0))
    whole = station_file.read_text()
    assert by_name(examine_station(station_file, home, cameras=False))["judging cores"] == (
        "ok",
        "none set aside: everything runs everywhere",
    )
    station_file.write_text(f"{whole}[judging]\ncores = {there}\n")
    found = examine_station(station_file, home, cameras=False)
    state, said = by_name(found)["judging cores"]
    assert (state, exit_code(found.checks)) == ("unfit", 78)
    assert f"{there} to be set aside, and this station may use " in said
    station_file.write_text(f"{whole}[judging]\ncores = 1\n")
    try:
        expected = ("ok", str(split_cores(1)))
    except ConfigError as error:  # this machine has but one
        expected = ("unfit", str(error))
    assert by_name(examine_station(station_file, home, cameras=False))["judging cores"] == expected


def test_a_station_without_a_product_is_fit_and_says_that_it_collects(station_file: Path, home: Home) -> None:
    camera = OneFrame(shape=(48, 64, 3))
    found = examine_station(station_file, home, make=lambda _: camera)
    assert exit_code(found.checks) == 0
    assert by_name(found)["camera top"][1].startswith("64×48 colour in ")
    assert by_name(found)["product"][0] == "note"
    assert camera.acts == ["open", "grab", "close"]


def test_every_problem_of_the_file_is_named(tmp_path: Path, home: Home) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        'station_id = "Line 1"\nruntim = "auto"\n[[cameras]]\nkind = "virtual"\ncamera_id = "t"\n'
    )
    found = examine_station(path, home)
    assert found.station_id is None
    assert [check.exit_code for check in found.checks] == [78, 78]
    assert any("did you mean runtime?" in check.value for check in found.checks)


def test_no_file(tmp_path: Path, home: Home) -> None:
    assert exit_code(examine_station(tmp_path / "none.toml", home).checks) == 66


def test_a_port_that_another_program_has_is_unfit(station_file: Path, home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        content = station_file.read_text(encoding="utf-8")
        station_file.write_text(f"{content}\n[health]\nport = {port}\n", encoding="utf-8")
        state, value = by_name(examine_station(station_file, home, cameras=False))["health pages"]
    assert state == "unfit"
    assert value.startswith(f"[health] port {port} on 127.0.0.1: another program has it")
    assert by_name(examine_station(station_file, home, cameras=False))["health pages"][0] == "ok"


def test_a_station_that_runs_keeps_its_cameras(station_file: Path, home: Home) -> None:
    camera = OneFrame()
    with home.lock("station-line1"):
        found = examine_station(station_file, home, make=lambda _: camera)
    assert exit_code(found.checks) == 75
    assert "pid" in by_name(found)["station"][1]
    assert by_name(found)["cameras"] == ("note", "not opened")
    assert camera.acts == []


def test_a_product_without_a_model_is_unfit(station_file: Path, home: Home) -> None:
    station_file.write_text('product = "tile"\n' + station_file.read_text())
    found = examine_station(station_file, home, cameras=False)
    assert exit_code(found.checks) == 66
    assert by_name(found)["product"] == ("unfit", "'tile' has no active recipe")


def test_the_home_is_not_made(station_file: Path, tmp_path: Path) -> None:
    examine_station(station_file, Home(path=tmp_path / "none"), cameras=False)
    assert not (tmp_path / "none").exists()


SOFT = GenicamCamera(kind="genicam", camera_id="soft", producer="x.cti", trigger="software")
SIDE = SOFT.model_copy(update={"camera_id": "side", "trigger": "line", "latest_ms": 50.0})
NET = VideoCamera(kind="video", camera_id="net", source="rtsp://h/x")
FILE = VideoCamera(kind="video", camera_id="file", source="parts.mkv")
INTERVAL = IntervalTrigger(kind="interval", period_s=1)


@pytest.mark.parametrize(
    ("trigger", "noted"),
    [
        (INTERVAL, ["soft", "net"]),
        (CameraTrigger(kind="camera", camera_id="side"), ["soft", "net"]),
        (DigitalInputTrigger(kind="digital_input"), ["soft", "net"]),
        (ContinuousTrigger(kind="continuous"), []),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_a_camera_that_may_photograph_another_part_is_noted(trigger: Any, noted: list[str]) -> None:
    config = StationConfig(station_id="one", trigger=trigger, cameras=(SOFT, SIDE, NET, FILE, TOP))
    checks = list(windows(config))
    assert [check.name for check in checks] == [f"window of {camera_id}" for camera_id in noted]
    assert all(check.state is State.NOTE and "latest_ms = " in check.advice for check in checks)
    limited = tuple(camera.model_copy(update={"latest_ms": 50.0}) for camera in (SOFT, SIDE, NET))
    assert list(windows(config.model_copy(update={"cameras": limited}))) == []


def test_the_windows_are_looked_at_with_the_station(station_file: Path, home: Home) -> None:
    station_file.write_text(
        'station_id = "line1"\ntrigger = {kind = "interval", period_s = 1}\n[[cameras]]\nkind = "genicam"\n'
        'camera_id = "top"\nproducer = "x.cti"\ntrigger = "software"\n'
    )
    found = by_name(examine_station(station_file, home, cameras=False))
    assert found["window of top"][0] == "note"


LINE = {"TriggerMode": "On", "TriggerSource": "Line1"}


@pytest.mark.parametrize(
    ("error", "features", "state", "code"),
    [
        pytest.param(CameraUnavailable("camera top: gone"), {}, "unfit", 69, id="gone"),
        pytest.param(FrameTimeout("camera top: none"), {}, "unfit", 69, id="no frame"),
        pytest.param(FrameTimeout("camera top: none"), LINE, "note", 0, id="waits for its line"),
    ],
)
def test_a_camera_without_a_frame(
    error: PartgateError, features: dict[str, str], state: str, code: int
) -> None:
    camera = OneFrame(error)
    config = GenicamCamera(kind="genicam", camera_id="top", producer="x.cti", features=dict(features))
    check, seen = look_at_camera(config, lambda _: camera)
    assert (check.state.value, check.exit_code, seen) == (state, code, None)
    assert check.advice
    assert camera.acts == ["open", "grab", "close"]


def test_a_folder_says_how_many_images_it_has(tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    config = FolderCamera(kind="folder", camera_id="top", folder=tmp_path)
    check, _ = look_at_camera(config, lambda _: OneFrame())
    assert check.value.startswith("2 images (1 other files), the first 64×48 grey in ")


def test_a_folder_camera_as_the_line_opens_it(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n not really")
    check, seen = look_at_camera(FolderCamera(kind="folder", camera_id="top", folder=tmp_path))
    assert (check.state, check.exit_code, seen) == (State.UNFIT, 65, None)
    assert "1.png" in check.value


@pytest.mark.parametrize(("deadline_ms", "state"), [(1000, "ok"), (80, "note"), (40, "unfit")])
def test_a_deadline_against_what_a_part_takes(deadline_ms: int, state: str) -> None:
    check = deadline(deadline_ms, PACE, golden=False)
    assert check.state.value == state
    assert check.value.startswith(f"50 of {deadline_ms} ms: grabbed in 20 ms, judged in 30.0")
    assert "a golden frame" in deadline(deadline_ms, PACE, golden=True).value


def station(period_s: float | None = 0.1, images: str = "all", room_share: float = 0.1) -> StationConfig:
    return StationConfig(
        station_id="line1",
        cameras=(TOP,),
        records=Records.model_validate({"images": images, "room_share": room_share}),
        trigger=ContinuousTrigger(kind="continuous")
        if period_s is None
        else IntervalTrigger(kind="interval", period_s=period_s),
    )


@pytest.mark.parametrize(("period_s", "states"), [(0.1, ["ok"]), (0.02, ["unfit"]), (None, [])])
def test_whether_the_station_keeps_up(period_s: float | None, states: list[str]) -> None:
    assert [check.state.value for check in rate(station(period_s), PACE)] == states


def test_for_how_long_the_disk_lasts_and_what_happens_then() -> None:
    seen = [Seen(frame=frame(), grab_ms=20)]
    rows = disk_of(100 * GIB)
    much, little = disk_of(900 * GIB, device=2), disk_of(102 * GIB, device=2)
    (long,) = supply(station(0.1), seen, PACE, much, rows)
    (short,) = supply(station(0.1), seen, PACE, little, rows)
    assert (long.state, short.state) == (State.OK, State.NOTE)
    hours, unit = short.value.split(":")[0].split()
    kept_bytes = 48 * 64 + 900 + 4096  # noise is not compressed; rows; map
    assert unit == "hours"
    # A tenth of the disk stays free.
    assert float(hours) == pytest.approx(2 * GIB / kept_bytes / 10 / 3_600, rel=0.2)
    assert short.value.endswith("then the oldest images of accepted parts make room")
    assert short.advice == "a larger disk keeps them for longer"
    assert list(supply(station(0.1), [], PACE, little, rows)) == []
    assert list(supply(station(None), seen, None, little, rows)) == []


def test_what_happens_to_a_disk_that_nobody_makes_room_on() -> None:
    seen = [Seen(frame=frame(), grab_ms=20)]
    little, rows = disk_of(2 * GIB, device=2), disk_of(100 * GIB)
    (flagged,) = supply(station(0.1, "flagged"), seen, PACE, little, rows)
    (kept,) = supply(station(0.1, room_share=0), seen, PACE, little, rows)
    (full,) = supply(station(0.1, room_share=0), seen, PACE, disk_of(0, device=2), rows)
    assert "if every part is flagged; then images are not kept" in flagged.value
    assert "into 1.0 GiB; then images are not kept" in kept.value
    assert 'images = "flagged" or a room_share' in kept.advice
    assert full.value.startswith("0.0 hours")


@pytest.mark.parametrize(
    ("asked", "found", "said"),
    [
        ("auto", "f32", []),
        ("f32", "int8", []),
        ("bf16", "bf16", []),
        ("bf16", "int8, bf16", []),
        ("bf16", "f32", ["the file asks for bf16, which this processor lacks: it computes in f32"]),
    ],
)
def test_whether_the_processor_has_the_precision_asked_for(asked: str, found: str, said: list[str]) -> None:
    checks = list(precision(asked, found))
    assert [check.value for check in checks] == said
    assert all(check.state is State.NOTE and "auto" in str(check.advice) for check in checks)
