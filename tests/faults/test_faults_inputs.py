"""Bad inputs (robustness B05, B06, B10, B23, B46, B48, B51, B52), most of them in the real program."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlmodel import select

from commands import STATIONS, Done, opened, partgate
from partgate.records import (
    ClosedPart,
    Database,
    Frame,
    Home,
    OpenPart,
    Part,
    RecordedFrame,
    RecorderProcess,
    balance,
)
from partgate_station import ConfigError, Verdict, load_station

COLLECTING = """\
station_id = "inputs"
[trigger]
kind = "continuous"
[[cameras]]
kind = "virtual"
camera_id = "top"
size_px = 64
"""


@dataclass(frozen=True)
class Bad:
    name: str
    content: str
    says: str


B05 = [
    Bad("a password in an address", 'source = "rtsp://viewer:geheim@127.0.0.1:1/s"', "cameras[0].source"),
    Bad("without a name", 'source = "rtsp://:geheim@127.0.0.1:1/s"', "cameras[0].source"),
    Bad("in the query", 'source = "http://127.0.0.1:1/s?user=a&pwd=geheim"', "cameras[0].source"),
    Bad("in the path", 'source = "rtsp://127.0.0.1:1/user=a_password=geheim_1"', "cameras[0].source"),
    Bad(
        "a header",
        'source = "tcp://127.0.0.1:1"\noptions = {headers = "Authorization: Basic geheim"}',
        "cameras[0].options.headers",
    ),
    Bad(
        "by its name",
        'source = "tcp://127.0.0.1:1"\noptions = {http_token = "geheim"}',
        "cameras[0].options.http_token",
    ),
]
NO_SECRET = {
    "no password": 'source = "rtsp://viewer@127.0.0.1:1/s"',
    "an empty one": 'source = "rtsp://viewer:@127.0.0.1:1/s"',
    "words like it": 'source = "http://127.0.0.1:1/s?monkey=1&keyframe=2&passage"',
    "a port": 'source = "tcp://127.0.0.1:8554"',
}


def with_video(folder: Path, settings: str, *, mode: int) -> Path:
    """Write a station file whose only camera is a video."""
    path = folder / "station.toml"
    path.write_text(f'station_id = "one"\n[[cameras]]\nkind = "video"\ncamera_id = "top"\n{settings}\n')
    path.chmod(mode)
    return path


@pytest.mark.parametrize("bad", B05, ids=lambda bad: bad.name)
def test_b05_a_password_in_a_file_that_others_can_read_is_refused(bad: Bad, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_station(with_video(tmp_path, bad.content, mode=0o644))
    (problem,) = caught.value.problems
    assert problem == (
        f"station.toml: {bad.says} contains a password and the file is readable by others (mode 0644);"
        f" chmod 600 {tmp_path}/station.toml, or keep the password in a password_file"
    )
    assert "geheim" not in str(caught.value)
    for mode in (0o600, 0o640):  # a service's group may read it
        load_station(with_video(tmp_path, bad.content, mode=mode))


@pytest.mark.parametrize("name", NO_SECRET)
def test_b05_a_file_without_a_password_may_be_read_by_all(name: str, tmp_path: Path) -> None:
    load_station(with_video(tmp_path, NO_SECRET[name], mode=0o644))


def test_b05_a_password_file_is_kept_as_close(tmp_path: Path) -> None:
    secret = tmp_path / "camera.password"
    secret.write_text("geheim")
    secret.chmod(0o604)
    settings = 'source = "rtsp://viewer@127.0.0.1:1/s"\npassword_file = "camera.password"'
    station = with_video(tmp_path, settings, mode=0o644)
    with pytest.raises(
        ConfigError, match=r"camera\.password is readable by others \(mode 0604\); chmod 600 "
    ):
        load_station(station)
    secret.chmod(0o440)
    load_station(station)


@pytest.mark.parametrize("command", ["check", "run"])
def test_b05_neither_check_nor_run_takes_such_a_file(command: str, tmp_path: Path) -> None:
    station = with_video(tmp_path, B05[0].content, mode=0o644)
    done = partgate(command, station, home=tmp_path / "home")
    assert done.returncode == 78
    said = done.stdout + done.stderr
    assert "cameras[0].source contains a password" in " ".join(said.split())
    assert "geheim" not in said
    assert "Traceback" not in said


B10 = [
    Bad("a key twice", f'station_id = "one"\n{COLLECTING}', "station.toml:2:"),
    Bad("a table twice", COLLECTING + '[trigger]\nkind = "continuous"\n', "station.toml"),
    Bad("yaml", "station_id: one\ncameras:\n  - kind: virtual\n", "invalid TOML"),
    Bad("yaml that makes objects", "!!python/object/apply:os.system ['touch pwned']\n", "invalid TOML"),
    Bad("yes for true", COLLECTING.replace('"continuous"', "yes"), "invalid TOML"),
]


@pytest.mark.parametrize("bad", B10, ids=lambda bad: bad.name)
def test_b10_what_is_not_plain_toml_is_refused_with_its_place(bad: Bad, tmp_path: Path) -> None:
    path = tmp_path / "station.toml"
    path.write_text(bad.content)
    with pytest.raises(ConfigError) as caught:
        load_station(path)
    assert bad.says in str(caught.value)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "ticks_ns",
    [0, 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, None],
    ids=["zero", "one", "far future", "largest", "beyond SQL", "64 bit", "none"],
)
def test_b23_a_cameras_clock_is_noted_as_it_is_and_nothing_counts_on_it(
    ticks_ns: int | None, tmp_path: Path
) -> None:
    home = Home.open(tmp_path / "home")
    now, part = datetime.now(UTC), OpenPart(trigger_id=1, triggered_at=datetime.now(UTC))
    frame = RecordedFrame(
        camera_id="top",
        frame_id=1,
        received_at=now,
        image=np.zeros((4, 4), np.uint8),
        camera_timestamp_ns=ticks_ns,
    )
    with Database.open(home) as database:
        with RecorderProcess(database, station_id="one", keep="all") as recorder:
            recorder.open_part(part).result(30)
            recorder.close_part(ClosedPart(part_id=part.part_id, verdict=Verdict.ACCEPT, frames=(frame,)))
        with database.read() as session:
            (row,) = session.exec(select(Frame)).all()
            assert row.received_at == now
            assert row.camera_timestamp_ns == (ticks_ns if ticks_ns is None or ticks_ns < 2**63 else None)
            assert balance(session).balanced


def command(*arguments: str, home: Path, **environment: str) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "partgate", *arguments],
        env={**os.environ, "PARTGATE_HOME": str(home), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    return Done(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Usage:"),
        (("runn",), "No such command 'runn'"),
        (("run",), "Missing argument"),
        (("run", "x.toml", "--part", "3"), "No such option"),
    ],
    ids=["no arguments", "unknown command", "no file", "unknown option"],
)
def test_b51_what_is_typed_wrong_is_answered_with_help(
    arguments: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    done = command(*arguments, home=tmp_path)
    assert done.returncode == 2
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir()), "nothing was made"


def test_b51_a_reader_that_goes_costs_the_line_nothing_and_leaves_no_traceback(tmp_path: Path) -> None:
    config = tmp_path / "station.toml"
    config.write_text(COLLECTING)
    reading, writing = os.pipe()
    os.close(reading)  # as `| head -0` does
    try:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "partgate",
                "run",
                str(config),
                "--parts",
                "5",
                "--home",
                str(tmp_path / "line"),
            ],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=55,
            check=False,
        )
    finally:
        os.close(writing)
    assert "Traceback" not in done.stderr
    with opened(tmp_path / "line") as database, database.read() as session:
        assert balance(session).undecided == 5
        assert balance(session).balanced


# A shell that starts a program in the background has it ignore Ctrl-C.
LISTENS = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from partgate.__main__ import main
main()
"""


def test_b51_ctrl_c_ends_a_command_without_a_traceback(tmp_path: Path) -> None:
    """`run` ends in order with 0 (tests/integration holds that); any other command with 130."""
    home = tmp_path / "line"
    config = tmp_path / "station.toml"
    config.write_text(COLLECTING)
    assert partgate("run", config, "--parts", "1", home=home).returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENS, "review", "--port", "0", "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        while "http" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode in {0, 130}
    assert "Traceback" not in said


def test_b52_a_plain_locale_a_strange_path_and_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    strange = tmp_path / "Prüfstand ☃ 検査"
    strange.mkdir()
    config = strange / "Zelle ä.toml"
    config.write_text(COLLECTING + 'texture = "brick"\n', encoding="utf-8")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "HOME": "/nonexistent", "TERM": ""}
    done = command("run", str(config), "--parts", "3", home=strange / "line", **plain)
    assert done.returncode == 0, done.stderr
    assert "3 triggers = 0 accept + 0 review + 0 reject + 3 undecided: balanced" in done.stdout
    missing = command("run", str(strange / "keine Ähnliche.toml"), home=strange / "line", **plain)
    assert missing.returncode == 66
    assert "Traceback" not in missing.stderr
    assert "hnliche.toml" in missing.stderr


def test_b48_and_b46_a_part_keeps_what_was_in_force_at_its_trigger(tmp_path: Path) -> None:
    """The number of a part is taken once: a second trigger with it is said, and shifts nothing."""
    home = Home.open(tmp_path / "home")
    first = OpenPart(trigger_id=1, triggered_at=datetime.now(UTC) - timedelta(seconds=1), runtime="one")
    again = OpenPart(trigger_id=1, triggered_at=datetime.now(UTC), runtime="two")
    third = OpenPart(trigger_id=2, triggered_at=datetime.now(UTC), runtime="two")
    with Database.open(home) as database:
        recorder = RecorderProcess(database, station_id="one", keep="all")
        for part in (first, again, third):
            recorder.open_part(part).result(30)
        for part in (first, third):
            recorder.close_part(ClosedPart(part_id=part.part_id, verdict=Verdict.ACCEPT))
        time.sleep(0.1)
        with pytest.raises(Exception, match="1 parts could not be recorded"):
            recorder.close()
        with database.read() as session:
            rows = session.exec(select(Part).order_by(Part.trigger_id)).all()  # type: ignore[arg-type]
            assert [(row.id, row.trigger_id, row.runtime) for row in rows] == [
                (first.part_id, 1, "one"),
                (third.part_id, 2, "two"),
            ]


def test_the_examples_name_an_output(tmp_path: Path) -> None:
    assert {
        load_station(path).output.kind for path in STATIONS.glob("*.toml") if path.name != "folder.toml"
    } == {"simulator"}


def test_b06_a_variable_of_the_environment_changes_no_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "station.toml"
    path.write_text(COLLECTING)
    said = load_station(path)
    for name in (
        "STATION_ID",
        "PARTGATE_STATION_ID",
        "PARTGATE_TRIGGER__KIND",
        "STATION_CAMERAS__0__SIZE_PX",
    ):
        monkeypatch.setenv(name, "abc")
    assert load_station(path) == said


def test_b09_a_home_that_is_a_file_or_may_not_be_written_is_named(tmp_path: Path) -> None:
    config, home = tmp_path / "station.toml", tmp_path / "a file"
    config.write_text(COLLECTING)
    home.write_text("not a folder")
    done = command("run", str(config), "--parts", "1", home=home)
    assert done.returncode == 73
    assert str(home) in done.stderr
    assert "Traceback" not in done.stderr
    assert home.read_text() == "not a folder"
