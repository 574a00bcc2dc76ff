"""`partgate cameras`: what is there, what it may be set to, and a picture of what it sees."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from commands import STATIONS, Done, in_process
from partgate.cli._cameras_text import allowed
from partgate.cli._picture_facts import picture_facts
from partgate.records import Home
from partgate_cameras import CameraFeature

SIMULATOR = STATIONS / "genicam_simulator.toml"
VIRTUAL = STATIONS / "virtual.toml"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


def test_the_simulators_cameras_are_listed(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    done = in_process("cameras", "list", "--json", home=home.path, capsys=capsys)
    (producer,) = json.loads(done.stdout)
    assert producer["producer"].endswith("viky.cti")
    assert [camera["serial_number"] for camera in producer["cameras"]] == ["0", "1", "2"]
    lines = in_process("cameras", "list", home=home.path, capsys=capsys).stdout.splitlines()
    assert len(lines) == 4, "one line each, for grep"


def test_a_producer_that_cannot_be_asked_is_named(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.cti").write_bytes(b"no library")
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(tmp_path))
    done = in_process("cameras", "list", home=home.path, capsys=capsys)
    assert done.returncode == 0
    assert "broken.cti" in done.stderr
    assert "Viky" in done.stdout, "the others are listed all the same"


def test_features_are_filtered_by_name(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("cameras", "features", SIMULATOR, "top", "--filter", "FORMAT")
    done = in_process(*arguments, "--json", home=home.path, capsys=capsys)
    (feature,) = json.loads(done.stdout)
    assert (feature["name"], feature["access"], feature["choices"]) == (
        "PixelFormat",
        "rw",
        ["Mono8", "RGBa8"],
    )
    done = in_process(*arguments, home=home.path, capsys=capsys)
    assert "1 features with 'FORMAT' in their names, 1 of them can be set now." in done.stdout
    assert "Mono8, RGBa8" in done.stdout


@pytest.mark.parametrize(
    ("feature", "says"),
    [
        pytest.param({"minimum": 1, "maximum": 200.5, "step": 0.5}, "1 to 200.5 in steps of 0.5", id="range"),
        pytest.param({"minimum": 0}, "0 to any", id="no upper bound"),
        pytest.param({}, "", id="nothing known"),
        pytest.param({"choices": ("On", "Off")}, "On, Off", id="choices"),
        pytest.param({"choices": tuple("abcdefghijklmn")}, "a, b, c, d, e, f, g, h, i, j, k, l and 2 more",
                     id="many choices"),
    ],
)  # fmt: skip
def test_what_a_feature_may_be(feature: dict[str, object], says: str) -> None:
    assert allowed(CameraFeature(name="X", kind="number", access="rw", **feature)) == says  # type: ignore[arg-type]


def test_a_picture_of_a_virtual_camera(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "part.png"
    target.write_text("is replaced")
    arguments = ("cameras", "grab", VIRTUAL, "top", "--out", target, "--frames", "3", "--json")
    said = json.loads(in_process(*arguments, home=home.path, capsys=capsys).stdout)
    image = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
    assert image is not None
    assert (said["width_px"], said["height_px"], said["channels"]) == (256, 256, 1)
    assert (said["darkest"], said["brightest"]) == (image.min(), image.max())
    assert said["mean"] == pytest.approx(float(image.mean()))
    assert (said["frames"], said["frame_id"]) == (3, 2)
    assert said["frames_per_s"] > 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_picture_of_the_simulator_in_its_colours(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = in_process("cameras", "grab", SIMULATOR, "top", "--out", tmp_path / "x.png", "--frames", "5",
                      home=home.path, capsys=capsys)  # fmt: skip
    assert "480×360 colour" in done.stdout
    assert "5 frames in " in done.stdout
    image = cv2.imread(str(tmp_path / "x.png"))
    assert image is not None
    assert image.shape == (360, 480, 3)


def refused(home: Home, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Done:
    done = in_process("cameras", *arguments, home=home.path, capsys=capsys)
    assert "Traceback" not in done.stderr
    return done


def test_mistakes_get_a_sentence(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = refused(home, capsys, "grab", VIRTUAL, "side")
    assert (done.returncode, "has no camera 'side', it has top" in done.stderr) == (66, True)
    done = refused(home, capsys, "features", VIRTUAL, "top")
    assert (done.returncode, "only genicam cameras have features" in done.stderr) == (78, True)
    done = refused(home, capsys, "grab", VIRTUAL, "top", "--out", tmp_path / "none" / "x.png")
    assert (done.returncode, "cannot be written" in done.stderr) == (73, True)


def test_a_station_that_runs_keeps_its_camera(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    with home.lock("station-virtual"):
        for arguments in (["list"], ["grab", VIRTUAL, "top"], ["features", VIRTUAL, "top"]):
            done = refused(home, capsys, *arguments)
            assert done.returncode == 75
            assert "station 'virtual' runs (pid" in done.stderr


def test_focus_grows_with_sharpness_and_light_is_measured() -> None:
    sharp = np.zeros((64, 64), np.uint8)
    sharp[:, ::8] = 255
    blurred = np.asarray(cv2.GaussianBlur(sharp, (9, 9), 3), np.uint8)
    assert picture_facts(sharp).focus > 10 * picture_facts(blurred).focus
    facts = picture_facts(np.repeat(sharp[:, :, None], 3, axis=2))
    assert (facts.darkest, facts.brightest) == (0, 255)
    assert (facts.black_share, facts.saturated_share) == (7 / 8, 1 / 8)
    assert facts.mean == pytest.approx(255 / 8)
