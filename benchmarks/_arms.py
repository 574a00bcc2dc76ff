"""Two arms in processes of their own, timed in turn.

Source: protocol of the project's performance reference: same work, same answer first, interleaved
rounds, each runtime alone in its process (thread pools of two runtimes in one process fight).
"""

import contextlib
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

Answers = list[float]
Setup = Callable[..., Callable[[], Answers]]
"""Prepares one arm and returns the work: called once per round, it returns its answers."""

REPLY_TIMEOUT_S = 600
WARM_UP_ROUNDS = 2
_DRAWS = 4000


class ArmFailed(RuntimeError):
    """An arm could not be made ready, or ended; its own traceback says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """An arm's work, and what is to be known of how it is done."""

    run: Callable[[], Answers]
    facts: Mapping[str, str]
    """Such as the precision that the runtime chose."""
    proof: Answers = field(default_factory=list)
    """What it says of frames that both sides must say the same of, where the timed ones reach the
    models in different ways."""

    def __call__(self) -> Answers:
        return self.run()


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
    interval: tuple[float, float]
    """In which the ratio lies with 95 % confidence, by bootstrap over the rounds."""
    said: tuple[Answers, Answers]
    """Ours and the other's answers of the round that was compared."""


def _serve(connection: Connection, setup: Setup, arguments: dict[str, Any]) -> None:
    sys.stdout = sys.stderr  # only tables go to stdout
    work = setup(**arguments)
    known = work if isinstance(work, Work) else Work(run=work, facts={})
    connection.send((dict(known.facts), list(known.proof)))
    while connection.recv() == "go":
        started_s = time.perf_counter()
        answers = work()
        connection.send(((time.perf_counter() - started_s) * 1000, answers))


class Arm:
    """One side of a comparison, in its own process."""

    def __init__(self, setup: Setup, **arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = setup.__name__
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, setup, arguments), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self.facts: Mapping[str, str]
            self.proof: Answers
            self.facts, self.proof = self._receive()
        except BaseException:
            self.close()
            raise

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
        self._connection.close()

    def _receive(self) -> Any:
        if not self._connection.poll(REPLY_TIMEOUT_S):
            raise TimeoutError(f"{self.name} did not answer within {REPLY_TIMEOUT_S} s")
        try:
            return self._connection.recv()
        except EOFError as error:
            raise ArmFailed(f"{self.name} ended; its traceback stands above") from error


@contextlib.contextmanager
def arm(setup: Setup, **arguments: Any) -> Iterator[Arm]:
    """Open an arm, and close it whatever happens."""
    with contextlib.closing(Arm(setup, **arguments)) as opened:
        yield opened


@contextlib.contextmanager
def both(ours: Arm, other: Arm) -> Iterator[tuple[Arm, Arm]]:
    """Close both arms whatever happens."""
    with contextlib.closing(ours), contextlib.closing(other):
        yield ours, other


def finite(ours: Answers, other: Answers) -> None:
    """Refuse answers that are none."""
    if not (np.isfinite(ours).all() and np.isfinite(other).all()):
        raise AssertionError(f"not finite: {ours}, {other}")


def compare(ours: Arm, other: Arm, *, rounds: int, same: Callable[[Answers, Answers], None]) -> Comparison:
    """Hold the answers against each other, then time the arms in turn.

    Args:
        same: raises if the answers are not the same; called before anything is timed.
    """
    for _ in range(WARM_UP_ROUNDS):  # the last of them is compared
        answers = [ours.round()[1], other.round()[1]]
    same(*answers)
    pairs = [_in_turn(ours, other, number) for number in range(rounds)]
    count = len(answers[0])
    ratios = [b / a for a, b in pairs]
    return Comparison(
        ours_ms=statistics.median(a for a, _ in pairs) / count,
        other_ms=statistics.median(b for _, b in pairs) / count,
        ratio=statistics.median(ratios),
        rounds=rounds,
        answers=count,
        interval=interval(ratios),
        said=(answers[0], answers[1]),
    )


def _in_turn(ours: Arm, other: Arm, number: int) -> tuple[float, float]:
    """Time both once. Who goes first changes: the second finds the clock and caches the first left."""
    if number % 2:
        other_ms = other.round()[0]
        return ours.round()[0], other_ms
    ours_ms = ours.round()[0]
    return ours_ms, other.round()[0]


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Return in which interval the median of the ratios lies with 95 % confidence.

    Source: percentile bootstrap, 4,000 draws with replacement, seed 0.
    """
    drawn = np.random.default_rng(0).choice(np.array(ratios), (_DRAWS, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return float(low), float(high)
