"""The systemd unit that is shipped: what it promises is what the program does."""

import shutil
import subprocess
from pathlib import Path

import pytest

from partgate.records import StoreBusy
from partgate.records._recorder_priority import NICENESS
from partgate_station import AlreadyRunning, ConfigError, Unavailable, load_station

UNIT = Path(__file__).parents[3] / "station_config/systemd/partgate@.service"


def settings(text: str) -> dict[str, list[str]]:
    """Return the unit's settings by section and name; some may be given several times."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(f"{section}.{name}", []).append(value)
    return found


def test_a_wrong_file_is_not_tried_again_and_a_camera_that_is_off_is() -> None:
    unit = settings(UNIT.read_text())
    prevented = {int(code) for code in unit["Service.RestartPreventExitStatus"][0].split()}
    assert unit["Service.Restart"] == ["on-failure"]
    assert {ConfigError.exit_code, AlreadyRunning.exit_code, 2} == prevented
    assert not {Unavailable.exit_code, StoreBusy.exit_code} & prevented
    assert unit["Unit.StartLimitIntervalSec"] == ["0"]


def test_what_is_expendable_may_go_and_what_was_handed_over_is_written() -> None:
    unit = settings(UNIT.read_text())
    # `stop` would end the station when the kernel takes a camera or the recorder, which it starts again.
    assert unit["Service.OOMPolicy"] == ["continue"]
    # `mixed` kills the recorder at once when the station was killed, with verdicts that it has in hand.
    assert unit["Service.KillMode"] == ["control-group"]


def test_the_manager_is_told_and_tells_the_station() -> None:
    unit = settings(UNIT.read_text())
    assert unit["Service.Type"] == ["notify"]
    assert unit["Service.NotifyAccess"] == ["main"]
    assert float(unit["Service.WatchdogSec"][0]) >= 10
    assert unit["Service.TimeoutStopSec"] == ["10"]


def test_the_recorder_may_come_back_from_what_is_left_over() -> None:
    unit = settings(UNIT.read_text())
    assert int(unit["Service.LimitNICE"][0]) == int(unit["Service.Nice"][0]) + NICENESS
    assert unit["Service.LimitNICE"][0].startswith("+")  # otherwise it is no niceness, but 20 less it


def test_it_may_write_its_home_and_nothing_else() -> None:
    unit = settings(UNIT.read_text())
    assert unit["Service.ProtectSystem"] == ["strict"]
    assert unit["Service.NoNewPrivileges"] == ["yes"]
    assert unit["Service.PrivateTmp"] == ["yes"]
    assert unit["Service.User"] not in (["root"], [""])
    home = unit["Service.ReadWritePaths"]
    assert home == ["/var/lib/partgate"]
    assert f"PARTGATE_HOME={home[0]}" in unit["Service.Environment"][0].split()
    assert "Service.MemoryMax" in unit
    # Both end it: compiled code is made at run time, and two stations share a user.
    assert "Service.MemoryDenyWriteExecute" not in unit
    assert "Service.RemoveIPC" not in unit


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here to ask")
def test_systemd_reads_all_of_it(tmp_path: Path) -> None:
    text = UNIT.read_text()
    program = settings(text)["Service.ExecStart"][0].split()[0]
    copied = tmp_path / UNIT.name
    copied.write_text(
        text.replace(program, "/bin/true")
        .replace("User=partgate", "User=root")
        .replace("Group=partgate", "Group=root")
    )
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "partgate@line1.service"), str(copied)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    said = [line for line in verified.stderr.splitlines() if "partgate@" in line]
    assert (verified.returncode, said) == (0, [])


STATION = """\
station_id = "one"
[[cameras]]
kind = "virtual"
camera_id = "top"
"""


def test_nobody_can_ask_unless_the_file_says_so_and_then_only_this_machine(tmp_path: Path) -> None:
    file = tmp_path / "station.toml"
    file.write_text(STATION)
    assert load_station(file).health is None
    file.write_text(f"{STATION}[health]\nport = 9464\n")
    health = load_station(file).health
    assert health is not None
    assert (health.host, health.port) == ("127.0.0.1", 9464)


@pytest.mark.parametrize(
    "bad", ["", "port = 65536", "port = -1", 'port = "http"', 'port = 1\nhost = ""', "port = 1\ntls = true"]
)
def test_a_health_section_that_is_wrong_is_refused(bad: str, tmp_path: Path) -> None:
    file = tmp_path / "station.toml"
    file.write_text(f"{STATION}[health]\n{bad}\n")
    with pytest.raises(ConfigError, match="health"):
        load_station(file)
