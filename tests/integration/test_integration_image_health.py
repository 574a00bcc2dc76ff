"""A station of the demo whose light fails: from the recipe that learning wrote to the ledger."""

import json
from pathlib import Path

import pytest

from commands import in_process, partgate
from partgate_cameras import draw_part
from partgate_station import VirtualCamera
from video_files import write_video

STATION = """
schema_version = 1
station_id = "dark"
product = "brick"

[trigger]
kind = "continuous"

[[cameras]]
kind = "virtual"
camera_id = "top"
seed = 7
defect_rate = 0.0
"""


def test_f10_a_learned_station_stops_deciding_in_the_dark_and_goes_on_in_the_light(
    copied_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "dark.toml"
    file.write_text(STATION + "light_fails_at = 4\nlight_fails_for = 6\n")
    done = partgate("run", file, "--parts", "20", home=copied_home)
    assert done.returncode == 0, done.stderr
    assert "image health: parts are UNDECIDED" in done.stderr
    said = in_process("ledger", "--station", "dark", "--json", home=copied_home, capsys=capsys)
    ledger = json.loads(said.stdout)
    # Parts 5 to 10 are dark: two are decided on before the alarm, four more parts see the light come back.
    assert (ledger["triggers"], ledger["undecided"], ledger["balanced"]) == (20, 8, True)
    assert [(one["first_trigger_id"], one["last_trigger_id"]) for one in ledger["suspect"]] == [(5, 6)]
    said = in_process("status", "--json", home=copied_home, capsys=capsys)
    (station,) = (one for one in json.loads(said.stdout)["stations"] if one["station"] == "dark")
    assert station["undecided_last_hour"] == {"IMAGE_HEALTH": 8}
    said = in_process("ledger", "--station", "dark", home=copied_home, capsys=capsys)
    assert "their images led to an alarm" in said.stdout


def test_check_says_that_the_frames_are_as_learned(
    copied_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "light.toml"
    file.write_text(STATION)
    said = in_process("check", file, home=copied_home, capsys=capsys)
    assert "images top: as learned: brightness" in said.stdout


def test_a_video_is_judged_as_the_frames_it_is_made_of(
    copied_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = VirtualCamera(kind="virtual", camera_id="top", texture="brick", seed=11, defect_rate=0.4)
    drawn = [draw_part(line, number) for number in range(10)]
    write_video(tmp_path / "parts.mkv", [part.image for part in drawn])
    file = tmp_path / "video.toml"
    file.write_text(STATION.partition("[[cameras]]")[0] + VIDEO)
    done = partgate("run", file, home=copied_home)
    assert done.returncode == 0, done.stderr
    said = in_process("ledger", "--station", "dark", "--json", home=copied_home, capsys=capsys)
    ledger = json.loads(said.stdout)
    assert (ledger["triggers"], ledger["undecided"], ledger["balanced"]) == (10, 0, True)
    assert ledger["accept"] == sum(part.defect is None for part in drawn)


VIDEO = """
[[cameras]]
kind = "video"
camera_id = "top"
source = "parts.mkv"
"""
