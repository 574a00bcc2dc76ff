"""The log of a program: readable by people, and line by line by programs."""

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.contextvars import bound_contextvars

from partgate.cli import _log
from partgate.cli._log import _Stderr, start_logging
from partgate.cli._log_budget import LineBudget


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before, config = list(root.handlers), structlog.get_config()
    yield
    structlog.configure(**config)
    for handler in root.handlers[:]:
        if handler not in before:
            root.removeHandler(handler)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_is_an_object_with_the_part_that_is_in_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARTGATE_LOG", "json")
    start_logging(colors=True)
    with bound_contextvars(trigger=7, part="01a2"):
        structlog.get_logger("line").warning("no frame", camera="top")
        logging.getLogger("partgate_cameras").warning("camera %s: lost", "top")
    try:
        int("unforeseen")
    except ValueError:
        structlog.get_logger("line").exception("the digital input failed")
    logging.getLogger("partgate_cameras").info("nobody is told")
    ours, theirs, fault = lines(capsys.readouterr().err)
    assert ours.items() >= {"event": "no frame", "level": "warning", "trigger": 7, "part": "01a2"}.items()
    assert theirs.items() >= {"event": "camera top: lost", "level": "warning", "trigger": 7}.items()
    assert ours["timestamp"].endswith("Z")
    assert theirs["timestamp"].endswith("Z")
    assert "ValueError: invalid literal" in fault["exception"]
    assert "trigger" not in fault


def test_people_read_plain_lines_each_once_however_often_it_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PARTGATE_LOG", raising=False)
    start_logging(colors=False)
    start_logging(colors=False)
    logging.getLogger("partgate_cameras").warning("camera top: lost")
    written = capsys.readouterr().err
    assert written.count("camera top: lost") == 1
    assert "[warning" in written
    assert sum(isinstance(handler, _Stderr) for handler in logging.getLogger().handlers) == 1


def test_threads_do_not_mix_their_lines(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARTGATE_LOG", "json")
    monkeypatch.setattr(_log, "LineBudget", lambda: LineBudget(lines=10_000))
    start_logging(colors=False)

    def ours() -> None:
        for number in range(300):
            structlog.get_logger("line").info("part flagged", number=number)

    def theirs() -> None:
        for number in range(300):
            logging.getLogger("partgate_cameras").warning("camera %d: lost", number)

    threads = [threading.Thread(target=target, name=target.__name__) for target in (ours, theirs) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(lines(capfd.readouterr().err)) == 4 * 300


def test_a_line_that_comes_with_every_part_is_counted_instead(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now_s = 0.0
    monkeypatch.setenv("PARTGATE_LOG", "json")
    monkeypatch.setattr(_log, "LineBudget", lambda: LineBudget(lines=3, window_s=60, clock=lambda: now_s))
    start_logging(colors=False)
    ours, theirs = structlog.get_logger("line"), logging.getLogger("partgate_cameras")
    for number in range(100):
        ours.info("part flagged", verdict="UNDECIDED", reason=f"CAMERA_LOST: away for {number} s")
        theirs.warning("camera top: frame %d came too late for its part", number)
    ours.info("part flagged", verdict="REJECT", reason=None)  # another kind
    theirs.warning("camera side: frame 1 came too late for its part")
    now_s = 60.0
    ours.info("part flagged", verdict="UNDECIDED", reason="CAMERA_LOST: away for 100 s")
    theirs.warning("camera top: frame 100 came too late for its part")
    said = lines(capsys.readouterr().err)
    assert len(said) == 3 + 3 + 2 + 2
    assert [line.get("not_shown") for line in said if line.get("verdict") == "UNDECIDED"] == [None] * 3 + [97]
    assert said[-1]["event"] == (
        "camera top: frame 100 came too late for its part (97 more like it were not shown)"
    )


def test_kinds_of_lines_are_told_apart_and_as_many_are_remembered_as_said() -> None:
    budget = LineBudget(lines=1, kinds=2, clock=lambda: 0.0)
    assert [budget.admit("a"), budget.admit("a"), budget.admit("b")] == [0, None, 0]
    assert budget.admit("a") is None
    assert budget.admit("c") == 0  # and `b`, not heard of for longest, is forgotten
    assert [budget.admit("a"), budget.admit("b")] == [None, 0]


def test_a_camera_keeps_the_figure_in_its_name() -> None:
    budget = LineBudget(lines=1)

    def shown(text: str) -> bool:
        return budget.record(logging.makeLogRecord({"msg": text}))

    assert shown("camera cam1: frame 7 came too late, 12.5 ms")
    assert not shown("camera cam1: frame 8 came too late, 3 ms")
    assert shown("camera cam2: frame 7 came too late, 12.5 ms")
    assert shown("camera cam-1: frame 7 came too late, 12.5 ms")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"camera": "top"}, {"camera": "side"}),
        ({"proof": "camera top"}, {"proof": "disk"}),
        ({"reason": "LATE: 3 ms"}, {"reason": "DARK: 3"}),
    ],
    ids=["camera", "proof", "reason"],
)
def test_what_one_camera_says_does_not_silence_another(first: dict[str, str], second: dict[str, str]) -> None:
    budget = LineBudget(lines=1)
    for fields in (first, second):
        assert budget.event(None, "warning", {"event": "no frame", **fields})
        with pytest.raises(structlog.DropEvent):
            budget.event(None, "warning", {"event": "no frame", **fields})
