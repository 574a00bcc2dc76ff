"""`partgate doctor` and `partgate check`: what they print, and what they end with."""

import json
from pathlib import Path

import pytest

from commands import STATIONS, in_process
from partgate.fitness import Check, State, StationFitness
from partgate.fitness._check import note, ok, unfit
from partgate.records import Database, Home

VIRTUAL = STATIONS / "virtual.toml"


def found(*checks: Check) -> tuple[Check, ...]:
    return checks


def test_doctor_on_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = in_process("doctor", "--json", home=tmp_path / "home", capsys=capsys)
    said = json.loads(done.stdout)
    assert done.returncode == (0 if said["fit"] else 69)
    assert said["fit"] == all(check["state"] != "unfit" for check in said["checks"])
    assert {"runtime", "openvino", "disk sync", "sqlite"} <= {check["name"] for check in said["checks"]}
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("checks", "code", "last"),
    [
        pytest.param(found(ok("clock", "now"), note("gpu", "none", "buy one")), 0,
                     "This machine is fit for a station: 2 looked at, 0 unfit, 1 to note.", id="fit"),
        pytest.param(found(unfit("disk", "full", "empty it", exit_code=73)), 69,
                     "This machine is NOT FIT for a station: 1 looked at, 1 unfit, 0 to note.", id="unfit"),
    ],
)  # fmt: skip
def test_doctor_says_what_to_do(
    checks: tuple[Check, ...],
    code: int,
    last: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("partgate.fitness.examine", lambda home, on_look: checks)
    done = in_process("doctor", home=tmp_path, capsys=capsys)
    assert done.returncode == code
    lines = done.stdout.splitlines()
    assert lines[-1] == last
    check = checks[-1]
    assert lines[-2] == f"{check.state.value:5} {check.name}: {check.value} -> {check.advice}"


def test_check_of_a_virtual_station_without_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home.open(tmp_path / "home")
    Database.open(home).close()
    done = in_process("check", VIRTUAL, "--json", home=home.path, capsys=capsys)
    said = json.loads(done.stdout)
    checks = {check["name"]: check for check in said["checks"]}
    assert (said["station"], said["fit"], said["exit_code"], done.returncode) == ("virtual", False, 66, 66)
    assert checks["camera top"]["state"] == "ok"
    assert checks["camera top"]["value"].startswith("256×256 grey in ")
    assert checks["disk lasts"]["value"].endswith("GiB; then the oldest images of accepted parts make room")


def test_check_of_the_simulator_and_without_its_cameras(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = STATIONS / "genicam_simulator.toml"
    done = in_process("check", config, home=tmp_path, capsys=capsys)
    assert done.returncode == 0, done.stdout
    assert "camera top: 480×360 colour in " in done.stdout
    assert "Station 'simulator' is fit to run here" in done.stdout
    done = in_process("check", config, "--no-cameras", home=tmp_path, capsys=capsys)
    assert done.returncode == 0
    assert "cameras: not opened" in done.stdout


def test_check_ends_with_the_code_of_the_first_unfit_thing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = found(ok("a", ""), unfit("b", "", exit_code=75), unfit("c", "", exit_code=65))
    result = StationFitness(station_id="line1", checks=checks)
    monkeypatch.setattr("partgate.fitness.examine_station", lambda *_, **__: result)
    assert in_process("check", VIRTUAL, home=tmp_path, capsys=capsys).returncode == 75


def test_check_names_every_problem_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('station_id = "A B"\nproduct = 3\ncameras = []\n')
    done = in_process("check", path, home=tmp_path / "home", capsys=capsys)
    assert done.returncode == 78
    problems = [line for line in done.stdout.splitlines() if line.startswith(State.UNFIT.value)]
    assert len(problems) == 3
    assert "Traceback" not in done.stderr
