"""`--part` takes what people can see of a part, and says so where that names none or several."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import Session

from commands import Done, in_process
from partgate.records import Database, Home, Part, Station

SEEN = [("one", 100, "SN-1"), ("two", 100, "SN-2"), ("two", 101, "SN-2"), ("two", 102, "1009")]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    def act(session: Session) -> None:
        session.add_all(Station(id=id_, name=id_) for id_ in ("one", "two"))
        session.flush()
        session.add_all(
            Part(station_id=station, trigger_id=trigger, triggered_at=datetime.now(UTC), serial_number=serial)
            for station, trigger, serial in [*SEEN, *(("one", n, "same") for n in range(1000, 1020))]
        )

    place = Home.open(tmp_path / "line")
    with Database.open(place) as database:
        database.write(act).result(10)
    return place.path


def forget(home: Path, capsys: pytest.CaptureFixture[str], *names: str) -> Done:
    return in_process("models", "forget", "brick", "--part", *names, "--dry-run", home=home, capsys=capsys)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["101"], id="trigger"),
        pytest.param(["SN-1"], id="serial number"),
        pytest.param(["100", "--station", "two"], id="trigger and station"),
        pytest.param(["01a22b38-6a1e-7c44-9f0b-2b1f6c1d8a55"], id="id"),
        pytest.param(["part:01a22b38-6a1e-7c44-9f0b-2b1f6c1d8a55"], id="id with its prefix"),
    ],
)
def test_one_part_is_found(names: list[str], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = forget(home, capsys, *names)
    assert "'brick' has no active model" in done.stderr, "what is missing is a model, not the part"
    assert "Traceback" not in done.stderr


def test_a_part_of_another_station_is_not_meant(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = forget(home, capsys, "102", "--station", "one")
    assert done.returncode == 66
    assert "no part of station 'one' has that id, trigger or serial number" in done.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("100", r"2 parts .*trigger 100 of station 'one' \(part:[0-9a-f-]{36}\), trigger 100 of "
                     r"station 'two' .*; say which with --station ID$", id="two stations"),
        pytest.param("SN-2", r"2 parts .*; give the id of the one you mean$", id="one station, twice"),
        pytest.param("1009", r"trigger 1009 of station 'one'.*trigger 102 of station 'two'",
                     id="a trigger, and a serial number"),
        pytest.param("same", r"more than 10 parts(.*part:[0-9a-f-]{36}){10}\); give the id", id="many"),
        pytest.param("7", r"--part '7': no part has that id, trigger or serial number", id="no such trigger"),
        pytest.param("9" * 5000, "no part has that", id="a number without end"),
        pytest.param("nonsense", "the review site shows them", id="nonsense"),
    ],
)  # fmt: skip
def test_none_or_several_are_told_apart(
    name: str, says: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = forget(home, capsys, name)
    assert done.returncode == 66
    assert re.search(says, done.stderr.strip()), done.stderr
