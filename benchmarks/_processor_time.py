"""Processor time of a station's processes, by part: other work on the machine hardly touches it."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

_PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM = 11, 12  # of the fields of /proc/PID/stat after the command's name
_PARENT = 1
_CHILDREN = {"recorder": "recorder", "partgate_cameras": "camera"}  # by what their command lines have in them


class Meter:
    """Reads what this process and its children have used, at two moments."""

    def __init__(self) -> None:
        self._began: Mapping[str, float] = {}
        self._ended: Mapping[str, float] = {}

    def begin(self) -> None:
        """Count from now on."""
        self._began = _used_s()

    def end(self) -> None:
        """Count no further."""
        self._ended = _used_s()

    def ms_by_part(self, parts: int) -> dict[str, float]:
        """Return milliseconds a part of the line and, where they lived throughout, recorder and cameras."""
        known = self._began.keys() & self._ended.keys()
        return {what: 1000 * (self._ended[what] - self._began[what]) / parts for what in sorted(known)}


class Host:
    """Sees how much of the processor time that this virtual machine wants its host gives to others."""

    def __init__(self) -> None:
        self._before = wanted_and_stolen()

    def stolen_share(self) -> float:
        """Return what share of the time that was wanted since this was made was not had: 0..1."""
        wanted, stolen = (now - before for now, before in zip(wanted_and_stolen(), self._before, strict=True))
        return stolen / wanted if wanted else 0.0


def wanted_and_stolen() -> tuple[int, int]:
    """Return for how many ticks all cores have worked or were kept from it, and for how many kept."""
    user, nice, system, _, _, irq, soft, steal = map(int, (_PROC / "stat").read_text().split()[1:9])
    return user + nice + system + irq + soft + steal, steal


def _used_s() -> dict[str, float]:
    used = {"line": time.process_time()}
    for path in _PROC.glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            command = (path.parent / "cmdline").read_text()
        except OSError:  # it has ended
            continue
        what = next((name for text, name in _CHILDREN.items() if text in command), None)
        if what is not None and int(fields[_PARENT]) == os.getpid():
            used[what] = used.get(what, 0.0) + (int(fields[_USER]) + int(fields[_SYSTEM])) * _TICK_S
    return used
