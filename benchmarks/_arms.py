"""Two arms in processes of their own, timed in turn.

Source: protocol of the project's performance reference: same work, same answer first, interleaved
rounds, each runtime alone in its process (thread pools of two runtimes in one process fight).
"""

import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

Answers = list[float]
Setup = Callable[..., Callable[[], Answers]]
"""Prepares one arm and returns the work: called once per round, it returns its answers."""

REPLY_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the rounds came to."""

    ours_ms: float
    """Median over the rounds, per answer."""
    other_ms: float
    ratio: float
    """Median over the rounds of other / ours: how many times faster ours is."""
    rounds: int
    answers: int
    """Per round."""


def _serve(connection: Connection, setup: Setup, arguments: dict[str, Any]) -> None:
    work = setup(**arguments)
    connection.send("ready")
    while connection.recv() == "go":
        started_s = time.perf_counter()
        answers = work()
        connection.send(((time.perf_counter() - started_s) * 1000, answers))


class Arm:
    """One side of a comparison, in its own process."""

    def __init__(self, setup: Setup, **arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, setup, arguments), daemon=True)
        self._process.start()
        theirs.close()
        self._receive()

    def round(self) -> tuple[float, Answers]:
        """Do the work once; return its milliseconds and answers."""
        self._connection.send("go")
        milliseconds, answers = self._receive()
        return milliseconds, answers

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._connection.send("end")
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _receive(self) -> Any:
        if not self._connection.poll(REPLY_TIMEOUT_S):
            raise TimeoutError(f"an arm did not answer within {REPLY_TIMEOUT_S} s")
        return self._connection.recv()


@contextlib.contextmanager
def both(ours: Arm, other: Arm) -> Iterator[tuple[Arm, Arm]]:
    """Close both arms whatever happens."""
    with contextlib.closing(ours), contextlib.closing(other):
        yield ours, other


def compare(ours: Arm, other: Arm, *, rounds: int, same: Callable[[Answers, Answers], None]) -> Comparison:
    """Hold the answers against each other, then time the arms in turn.

    Args:
        same: raises if the answers are not the same; called before anything is timed.
    """
    for _ in range(2):  # the first round warms caches up, the second is compared
        answers = [ours.round()[1], other.round()[1]]
    same(*answers)
    pairs = [(ours.round()[0], other.round()[0]) for _ in range(rounds)]
    count = len(answers[0])
    return Comparison(
        ours_ms=statistics.median(a for a, _ in pairs) / count,
        other_ms=statistics.median(b for _, b in pairs) / count,
        ratio=statistics.median(b / a for a, b in pairs),
        rounds=rounds,
        answers=count,
    )
