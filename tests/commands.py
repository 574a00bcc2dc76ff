"""Commands as a user types them, in processes of their own, for the tests that need the whole program."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, col, select

from partgate.cli import main
from partgate.records import Database, Finding, Home, Part, Review, User, balance
from partgate_station import Verdict

ROOT = Path(__file__).parents[1]
STATIONS = ROOT / "station_config" / "stations"
DEMO_PARTS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


def partgate(*arguments: str | Path, home: Path, timeout_s: float = 300) -> Done:
    """Run a command as a user would, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "partgate", *map(str, arguments)],
        env={**os.environ, "PARTGATE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Done(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)


def in_process(*arguments: str | Path, home: Path, capsys: pytest.CaptureFixture[str]) -> Done:
    """Run a command in this process: quicker, for what does not need a process of its own."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments), "--home", str(home)])
    code = ended.value.code
    printed = capsys.readouterr()
    return Done(returncode=code if isinstance(code, int) else 1, stdout=printed.out, stderr=printed.err)


def last_json(done: Done) -> dict[str, Any]:
    """Return the object on the last line a command printed."""
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return value


@contextlib.contextmanager
def opened(home: Path) -> Iterator[Database]:
    with contextlib.closing(Database.open(Home.open(home, create=False))) as database:
        yield database


def review_rejected(home: Path, findings: Sequence[Finding]) -> list[Part]:
    """Record what QA found the first rejected parts to be, as the review site does; return them."""
    with opened(home) as database:
        with database.read() as session:
            rejected = select(Part).where(Part.verdict == Verdict.REJECT).order_by(col(Part.trigger_id))
            parts = list(session.exec(rejected.limit(len(findings))))
            session.expunge_all()

        def decide(session: Session) -> None:
            user = User(name="qa", password_hash="unused")
            session.add(user)
            session.flush()
            for part, finding in zip(parts, findings, strict=True):
                session.add(Review(part_id=part.id, finding=finding, reviewer_id=user.id or 0))

        database.write(decide).result()
    return parts


@contextlib.contextmanager
def station(home: Path, config: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a station in a process of its own; it is gone when the test is."""
    process = subprocess.Popen(
        [sys.executable, "-m", "partgate", "run", str(config), "--home", str(home)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def wait_for(condition: Callable[[], bool], timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def wait_for_parts(home: Path, triggers: int) -> None:
    def there() -> bool:
        with opened(home) as database, database.read() as session:
            return balance(session).triggers >= triggers

    wait_for(there)


def model_of_last_part(home: Path) -> str | None:
    with opened(home) as database, database.read() as session:
        part = session.exec(select(Part).order_by(col(Part.trigger_id).desc()).limit(1)).one()
        return part.model_id
