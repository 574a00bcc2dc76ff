"""What every test is held to: it leaves no thread and no child process behind."""

import os
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from standstill import Standstill

GRACE_S = 5.0
MOST_RUNS = 4
REAL_TIME = "real_time"
_run_again: list[str] = []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Function, nextitem: pytest.Item | None) -> bool | None:
    """Run a test in real time again if it failed while the machine stood still for longer than it can bear.

    Its parts come every few hundredths of a second, and a machine that does nothing for one of them is late:
    that says nothing of the line. One that fails while the machine runs fails at once.
    """
    marked = item.get_closest_marker(REAL_TIME)
    if marked is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for left in reversed(range(MOST_RUNS)):
        with Standstill() as standstill:
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
        failed = any(report.failed for report in reports)
        if left == 0 or not failed or standstill.longest_s < marked.kwargs["bears_s"]:
            break
        _run_again.append(f"{item.nodeid}: stood still for {standstill.longest_s:.3f} s")
        item._initrequest()
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests were run again: one that is named often hides something."""
    if _run_again:
        terminalreporter.section("run again after a standstill")
        for line in _run_again:
            terminalreporter.write_line(line)


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
