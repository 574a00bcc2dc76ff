"""What every test is held to: it leaves no thread and no child process behind."""

import os
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

GRACE_S = 5.0


def _children() -> set[int]:
    """Return the process ids of this process's living children, whichever thread started them."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(int(pid) for pid in (task / "children").read_text().split())
        except OSError:  # the thread ended while we looked
            continue
    return {pid for pid in found if not _is_zombie(pid)}


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _left_over(threads: set[threading.Thread], children: set[int]) -> list[str]:
    names = [f"thread {t.name}" for t in threading.enumerate() if t not in threads and t.is_alive()]
    tracker = resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]
    return names + [f"process {pid}" for pid in _children() - children if pid != tracker]


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Fail a test that leaves a thread or a child process running."""
    threads, children = set(threading.enumerate()), _children()
    yield
    deadline = time.monotonic() + GRACE_S
    while (left := _left_over(threads, children)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left, f"left running: {', '.join(left)}"


@pytest.fixture(autouse=True)
def home_in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point PARTGATE_HOME into the test's own folder, so that no test touches a real home."""
    home = tmp_path / "home"
    monkeypatch.setenv("PARTGATE_HOME", str(home))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("PARTGATE_DEBUG", raising=False)
    assert os.environ["PARTGATE_HOME"] == str(home)
    return home
