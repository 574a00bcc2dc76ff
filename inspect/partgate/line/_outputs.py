"""Where the verdict leaves the station, and how it is known that it arrived."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from partgate.line._part import Outcome
from partgate.records import SignalState


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What became of a signal."""

    state: SignalState
    took_ms: float
    """From the first sending to the confirmation, or to giving up."""

    sends: int
    """How often it was sent."""


class Output(Protocol):
    """The reject gate, or what stands for it: shut for a part unless it confirmed that it may open."""

    def ready(self, *, parts_may_come: bool) -> None:
        """Show whether parts may come. Told again and again; must not wait; for any thread."""
        ...

    def signal(self, outcome: Outcome) -> Future[Confirmation] | None:
        """Tell the gate what to do with this part, without waiting. Called once per part, in order.

        Returns:
            What becomes of it, within a bounded time and never as an error; None where nobody confirms.
        """
        ...

    def close(self) -> None:
        """Say that parts must not come any more, and let go: the gate shuts by itself."""
        ...


@runtime_checkable
class CheckedOutput(Output, Protocol):
    """An output that knows whether the gate can be told: the station is ready only if it can."""

    @property
    def problem(self) -> str | None:
        """Why the gate cannot be told; None if it can. Must not wait; for any thread."""
        ...


class NoOutput:
    """A station without a gate: verdicts are recorded and shown, nothing is moved."""

    def ready(self, *, parts_may_come: bool) -> None:
        """Do nothing."""

    def signal(self, outcome: Outcome) -> Future[Confirmation] | None:
        """Do nothing."""
        del outcome
        return None

    def close(self) -> None:
        """Do nothing."""
