"""The faults of a soak: how each is put in, what shows it, and how soon it must be seen and over."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._soak_cameras import order
from benchmarks._soak_log import Said, StationLog
from benchmarks._soak_watch import children

SEEN_WITHIN_S, BACK_WITHIN_S = 1.0, 2.0
DEADLINE_S = 0.5  # of the soak's recipe
HANG_S = {"camera": 5.0, "sim": 0.0}  # beyond a part's deadline: what is read from files gets longer
SILENT_S = 2.0  # of a process that nobody asks for a frame: no deadline is missed
NEVER_S = 40.0

Order = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How a station got over a fault."""

    fault: str
    seen_s: float | None = None
    """Until the station said that it was not ready, beyond what the fault may take to show."""

    back_s: float | None = None
    """From the return of what was lost to its proof."""

    ready: bool = True
    """Whether the station was ready in the end."""


class Faults:
    """Puts faults into a station, one after the other.

    Args:
        line: the station's process.
        folder: where cameras look for orders.
        log: what the station says.
        tell: gives the station an order.
        chance: what comes next.
    """

    def __init__(self, line: int, folder: Path, log: StationLog, tell: Order, chance: random.Random) -> None:
        self._line, self._folder, self._log, self._tell, self.chance = line, folder, log, tell, chance
        self.kinds: Mapping[str, Callable[[], Recovery]] = {
            "camera killed": lambda: self._camera("camera", signal.SIGKILL),
            "simulator killed": lambda: self._camera("sim", signal.SIGKILL),
            "camera stopped": lambda: self._camera("camera", signal.SIGSTOP),
            "simulator stopped": lambda: self._camera("sim", signal.SIGSTOP),
            "recorder killed": lambda: self._recorder(signal.SIGKILL),
            "recorder stopped": lambda: self._recorder(signal.SIGSTOP),
            "model stalled": self._stall,
            "gate deaf": lambda: self._gate("gate deaf", loss=0.9, stuck=False, drop=False),
            "gate hung": lambda: self._gate("gate hung", loss=0.0, stuck=True, drop=False),
            "gate's line cut": lambda: self._gate("gate's line cut", loss=0.0, stuck=False, drop=True),
            "frames dropped": lambda: self._frames("frames dropped", "drop"),
            "frames repeated": lambda: self._frames("frames repeated", "repeat"),
            "light failed": lambda: self._frames("light failed", "dark"),
            "triggers flooded": self._flood,
        }

    def put_in(self, kind: str) -> Recovery:
        """Put one fault in, and wait until the station is over it; parts of that time are counted as its."""
        self._tell(do="fault", name=kind)
        try:
            return self.kinds[kind]()
        finally:
            self._tell(do="fault over")

    def shuffled(self) -> list[str]:
        """Return every kind once, in a random order."""
        return self.chance.sample(sorted(self.kinds), len(self.kinds))

    def _camera(self, work: str, how: signal.Signals) -> Recovery:
        name = f"{'simulator' if work == 'sim' else work} {'killed' if how is signal.SIGKILL else 'stopped'}"
        pid = self._one_of(work)
        if pid is None:
            return Recovery(fault=name, ready=self._log.wait_ready(NEVER_S))
        began_s = self._signalled(pid, how)
        shows_after_s = 0.0 if how is signal.SIGKILL else DEADLINE_S + HANG_S[work]
        lost = self._log.wait_for(_unproven("camera "), since_s=began_s, timeout_s=NEVER_S)
        if lost is None:
            return Recovery(fault=name, ready=self._log.wait_ready(NEVER_S))
        if "was silent" in str(lost.fields.get("why")):
            shows_after_s = SILENT_S
        proof = str(lost.fields["proof"])
        returned = self._log.wait_for(
            lambda said: said.event == f"{proof}: back", since_s=began_s, timeout_s=NEVER_S
        )
        proven = self._log.wait_for(_proven(proof), since_s=lost.at_s, timeout_s=NEVER_S)
        return Recovery(
            fault=name,
            seen_s=max(0.0, lost.at_s - began_s - shows_after_s),
            back_s=None if returned is None or proven is None else max(0.0, proven.at_s - returned.at_s),
            ready=self._log.wait_ready(NEVER_S),
        )

    def _recorder(self, how: signal.Signals) -> Recovery:
        name = f"recorder {'killed' if how is signal.SIGKILL else 'stopped'}"
        pid = self._one_of("recorder")
        if pid is not None:
            self._signalled(pid, how)
            time.sleep(1.0)
        return Recovery(fault=name, ready=self._log.wait_ready(NEVER_S))

    def _stall(self) -> Recovery:
        self._tell(do="stall", for_s=self.chance.uniform(0.6, 1.5))
        time.sleep(2.0)
        return Recovery(fault="model stalled", ready=self._log.wait_ready(NEVER_S))

    def _gate(self, name: str, **how: Any) -> Recovery:
        began_s = time.time()
        self._tell(do="gate", **how)
        lost = self._log.wait_for(_unproven("output"), since_s=began_s, timeout_s=5.0)
        time.sleep(self.chance.uniform(0.2, 1.0))
        ended_s = time.time()
        self._tell(do="gate", loss=0.0, stuck=False, drop=False)
        if lost is None:
            return Recovery(fault=name, ready=self._log.wait_ready(NEVER_S))
        proven = self._log.wait_for(_proven("output"), since_s=lost.at_s, timeout_s=NEVER_S)
        return Recovery(
            fault=name,
            seen_s=lost.at_s - began_s,
            back_s=None if proven is None else max(0.0, proven.at_s - ended_s),
            ready=self._log.wait_ready(NEVER_S),
        )

    def _frames(self, name: str, fault: str) -> Recovery:
        for_s = self.chance.uniform(0.2, 1.0)
        order(self._folder, self.chance.choice(("top", "side", "sim")), fault, for_s=for_s)
        time.sleep(for_s + 1.0)
        return Recovery(fault=name, ready=self._log.wait_ready(NEVER_S))

    def _flood(self) -> Recovery:
        self._tell(do="flood", edges=self.chance.randrange(50, 300))
        time.sleep(3.0)
        return Recovery(fault="triggers flooded", ready=self._log.wait_ready(NEVER_S))

    def _one_of(self, work: str) -> int | None:
        found = [pid for of, pid in children(self._line) if of == work]
        return self.chance.choice(found) if found else None

    def _signalled(self, pid: int, how: signal.Signals) -> float:
        began_s = time.time()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        return began_s


def _unproven(begins: str) -> Callable[[Said], bool]:
    return lambda said: said.event == "not proven" and str(said.fields["proof"]).startswith(begins)


def _proven(proof: str) -> Callable[[Said], bool]:
    return lambda said: said.event == "proven" and said.fields["proof"] == proof
