"""Which cores judge: as a station's file says, and as a running station does it."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

from partgate.fitness._check import Check, ok
from partgate.records import Holder
from partgate_engines import CoreSplit, on_cores, split_cores, split_of
from partgate_station import ConfigError, StationConfig


def cores_set_aside(config: StationConfig) -> Iterator[Check]:
    """Say which cores a station would judge on.

    Raises:
        ConfigError: too few would be left.
    """
    if not config.judging.cores:
        yield ok("judging cores", "none set aside: everything runs everywhere")
    else:
        yield ok("judging cores", str(split_cores(config.judging.cores)))


def judging_cores(config: StationConfig) -> AbstractContextManager[None]:
    """Have the calling thread, and what it starts meanwhile, where the station would judge.

    Anywhere if too few cores would be left: `cores_set_aside` says that, and the rest is looked at too.
    """
    if config.judging.cores:
        with contextlib.suppress(ConfigError):
            return on_cores(split_cores(config.judging.cores).judging)
    return contextlib.nullcontext()


def cores_of(holder: Holder | None) -> CoreSplit | None:
    """Return which cores a running station judges on, read from its threads; None where it has no own."""
    return None if holder is None or holder.pid is None else split_of(holder.pid)
