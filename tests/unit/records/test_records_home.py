import os
import subprocess
import sys
from pathlib import Path

import pytest

from partgate.records import Database, Home
from partgate_station import AlreadyRunning, CannotWrite, MissingInput


def test_a_new_home_has_its_folders(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "a" / "b")
    assert home.path == tmp_path / "a" / "b"
    for folder in (home.images_path, home.maps_path, home.bundles_path, home.graphs_path):
        assert folder.is_dir()
    assert home.database_path == home.path / "partgate.db"
    assert Home.open(home.path) == home


def test_a_home_that_is_not_there_is_not_made_unasked(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="no such home"):
        Home.open(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


def test_a_folder_that_is_no_home_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(MissingInput):
        Home.open(tmp_path, create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_home_with_records_is_found(home: Home) -> None:
    Database.open(home).close()
    assert Home.open(home.path, create=False) == home


def test_a_file_in_the_homes_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CannotWrite, match="is a file"):
        Home.open(tmp_path / "file")
    with pytest.raises(CannotWrite, match="cannot be made"):
        Home.open(tmp_path / "file" / "below")


def test_a_lock_names_its_holder_and_goes_with_it(home: Home) -> None:
    with home.lock("station-one"):
        with (
            pytest.raises(
                AlreadyRunning, match=rf"station-one is already running, pid {os.getpid()}, since 20"
            ),
            home.lock("station-one"),
        ):
            pass
        with home.lock("station-two"):
            pass
    with home.lock("station-one"):
        pass


def test_a_killed_holder_holds_nothing(home: Home) -> None:
    script = (
        "import sys, os, signal; from pathlib import Path; from partgate.records import Home\n"
        "lock = Home(path=Path(sys.argv[1])).lock('line')\n"
        "lock.__enter__(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(home.path)], timeout=50, check=False)
    assert killed.returncode == -9
    with home.lock("line"):
        pass


def test_a_holder_that_has_not_written_its_name_yet(home: Home) -> None:
    with home.lock("line"):
        (home.path / "locks" / "line.lock").write_text("")
        with pytest.raises(AlreadyRunning, match="just started"), home.lock("line", timeout_s=0.05):
            pass


def test_a_full_disk_keeps_nobody_from_a_lock(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who holds it is a courtesy: without room for it every command ended in a traceback."""

    def full(descriptor: int, content: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    with home.lock("station-line1"):
        pass
    monkeypatch.setattr("os.pwrite", full)
    with home.lock("station-line1"):
        assert home.holder("station-line1") is not None


def test_a_lock_names_its_holder_whatever_stood_there(home: Home) -> None:
    (home.path / "locks").mkdir(exist_ok=True)
    (home.path / "locks" / "station-line1.lock").write_text("x" * 100)
    with home.lock("station-line1"):
        holder = home.holder("station-line1")
        assert holder is not None
        assert holder.pid is not None
