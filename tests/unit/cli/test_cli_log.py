"""The log of a program: readable by people, and line by line by programs."""

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.contextvars import bound_contextvars

from partgate.cli._log import _Stderr, start_logging


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
