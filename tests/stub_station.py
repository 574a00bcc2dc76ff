"""`partgate` with a model that fails as a test says: the real program, and its processes, around a stub.

    python tests/stub_station.py FAULT AT run STATION.toml ...

From the AT-th frame of its life on the model does as FAULT says: `hang` (in native code, for ever), `device`
(the runtime's device is poisoned), `memory` (no memory is left), `nan`, `slow` (0.6 s each), `none`.
"""

import contextlib
import ctypes
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from one_by_one import OneByOne
from partgate.__main__ import main
from partgate.line import _station
from partgate_engines import AnomalyResult, DeviceFailed
from partgate_station import Region
from watched_station import make_judge

DEADLINE_MS, SHORT_MS = 20_000, 300  # a busy machine must not look like a slow model


def _hang() -> float:
    ctypes.CDLL(None).sleep(600)
    return 0.0


def _poisoned() -> NoReturn:
    raise DeviceFailed("GPU: an illegal memory access was encountered; this process must end")


def _no_memory() -> NoReturn:
    raise MemoryError


def _slow() -> float:
    time.sleep(0.6)
    return 0.1


FAULTS: Mapping[str, Callable[[], float]] = {
    "hang": _hang,
    "device": _poisoned,
    "memory": _no_memory,
    "nan": lambda: float("nan"),
    "slow": _slow,
    "none": lambda: 0.1,
}


class StubRuntime(OneByOne):
    """Finds every part good until its fault."""

    name = "stub"

    def __init__(self, fault: str, at: int) -> None:
        self._fault, self._at, self._frames = FAULTS[fault], at, 0

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        self._frames += 1
        score = self._fault() if self._frames >= self._at else 0.1
        return AnomalyResult(score=score, anomaly_map=np.zeros((1, 1), np.float32))

    def close(self) -> None:
        """Hold nothing."""


class StubJudges:
    """One judge, whose rows need neither a recipe's nor a model's."""

    def __init__(self, fault: str, at: int) -> None:
        judge = make_judge()
        recipe = judge.recipe.model_copy(update={"deadline_ms": SHORT_MS if fault == "slow" else DEADLINE_MS})
        ids: Any = None
        runtime: Any = StubRuntime(fault, at)
        self.coming = replace(judge, recipe=recipe, runtime=runtime, recipe_id=ids, model_id=ids)

    def current(self) -> Any:
        """Return it."""
        return self.coming

    def reload(self, judge: object) -> None:
        """Do nothing."""

    def require_device(self) -> None:
        """Do nothing."""


def stand_in(fault: str, at: int) -> None:
    """Have every station of this process judge by the stub."""

    @contextlib.contextmanager
    def judging(*_: object) -> Iterator[StubJudges]:
        yield StubJudges(fault, at)

    _station._judging = judging  # type: ignore[assignment]


if __name__ == "__main__":
    stand_in(sys.argv[1], int(sys.argv[2]))
    sys.argv[1:] = sys.argv[3:]
    main()
