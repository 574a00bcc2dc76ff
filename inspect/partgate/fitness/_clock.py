"""The clock: what rows are dated by, and what deadlines are counted on."""

import ctypes
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from partgate.fitness._check import Check, note, ok, unfit

CLOCK_SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""Before this program was written no clock can be right."""

COARSEST_S = 1e-3
_TIMEX_BYTES = 512  # struct timex is 208 on 64 bit; the kernel writes no more than it is long
_NOT_SYNCHRONISED = 5  # what adjtimex returns: TIME_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockFacts:
    """What the machine says of its clocks."""

    now: datetime
    synchronised: bool | None
    """Whether the kernel believes that its time is right; None where it does not say."""

    resolution_s: float
    """Of the monotonic clock."""

    source: str
    """What the kernel counts by; empty where it does not say."""


def clock(facts: ClockFacts | None = None) -> Iterator[Check]:
    """Say whether the date can be right, is kept right, and time is fine enough to count deadlines."""
    found = _facts() if facts is None else facts
    shown = found.now.isoformat(timespec="seconds")
    if found.now < EARLIEST:
        yield unfit("clock", f"{shown}, before this program was made", "set the time: timedatectl set-time")
    elif found.synchronised is False:
        yield note("clock", f"{shown}, not synchronised", "switch NTP on: timedatectl set-ntp true")
    else:
        yield ok("clock", shown + (", synchronised" if found.synchronised else ""))
    yield from _monotonic(found)


def _monotonic(found: ClockFacts) -> Iterator[Check]:
    value = f"steps of {found.resolution_s * 1e9:g} ns" + (f", by {found.source}" if found.source else "")
    if found.resolution_s > COARSEST_S:
        yield unfit(
            "monotonic clock", value, "deadlines are counted in milliseconds: another kernel is needed"
        )
    else:
        yield ok("monotonic clock", value)


def _facts() -> ClockFacts:
    return ClockFacts(
        now=datetime.now(UTC),
        synchronised=_synchronised(),
        resolution_s=time.get_clock_info("monotonic").resolution,
        source=_source(),
    )


def _synchronised() -> bool | None:
    """Ask the kernel, which chrony, ntpd and systemd-timesyncd all tell.

    Source: adjtimex(2); with `modes` 0, as here, it changes nothing and needs no right.
    """
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    if adjtimex is None:
        return None
    said = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return None if said < 0 else said != _NOT_SYNCHRONISED


def _source() -> str:
    try:
        return CLOCK_SOURCE.read_text(encoding="ascii").strip()
    except OSError:
        return ""
