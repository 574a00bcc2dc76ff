"""Whether a machine, and a station on it, is fit to judge parts; and what to do if not."""

from partgate.fitness._check import Check, State, exit_code
from partgate.fitness._cores import cores_of
from partgate.fitness._doctor import examine
from partgate.fitness._home import running as running_stations
from partgate.fitness._station import StationFitness, examine_station

__all__ = [
    "Check",
    "State",
    "StationFitness",
    "cores_of",
    "examine",
    "examine_station",
    "exit_code",
    "running_stations",
]
