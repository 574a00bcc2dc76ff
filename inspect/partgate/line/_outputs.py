"""Where the verdict leaves the station."""

from typing import Protocol, runtime_checkable

from partgate.line._part import Outcome


class Output(Protocol):
    """The reject gate, or what stands for it."""

    def signal(self, outcome: Outcome) -> None:
        """Tell the gate what to do with this part. Called once per part, in order of triggers."""
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

    def signal(self, outcome: Outcome) -> None:
        """Do nothing."""
