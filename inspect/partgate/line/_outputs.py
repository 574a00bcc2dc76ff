"""Where the verdict leaves the station."""

from typing import Protocol

from partgate.line._part import Outcome


class Output(Protocol):
    """The reject gate, or what stands for it."""

    def signal(self, outcome: Outcome) -> None:
        """Tell the gate what to do with this part. Called once per part, in order of triggers."""
        ...


class NoOutput:
    """A station without a gate: verdicts are recorded and shown, nothing is moved."""

    def signal(self, outcome: Outcome) -> None:
        """Do nothing."""
