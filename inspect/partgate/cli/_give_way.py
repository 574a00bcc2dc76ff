"""Learning on the machine of a station that runs: the station goes first."""

import os

import structlog

from partgate.records import Home

NICENESS = 15  # below the recorder's 10: parts are recorded before a person is answered

log = structlog.get_logger(__name__)


def give_way(home: Home) -> None:
    """Take from now on what running stations of this home leave of the processors; all where none runs."""
    from partgate.fitness import running_stations

    if stations := running_stations(home):
        log.info("a station runs here and goes first: this takes longer", stations=", ".join(stations))
        os.nice(NICENESS)
