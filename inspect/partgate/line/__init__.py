"""The way of a part, from trigger to verdict to reject signal."""

from partgate.line._part import Decision, Outcome, Reason, Trigger
from partgate.line._station import StationRun, run_station

__all__ = ["Decision", "Outcome", "Reason", "StationRun", "Trigger", "run_station"]
