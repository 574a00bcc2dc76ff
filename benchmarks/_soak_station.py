"""The station of a soak, in a process of its own: the real one, with handles where faults are put in.

    python -m benchmarks._soak_station HOME FOLDER MODEL PERIOD_S SEED

It takes orders from standard input, a JSON object a line, and prints what came of it at the end.
"""

import json
import math
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks import _soak_cameras
from benchmarks._soak_stub import StubJudges
from partgate.cli._output import start_logging
from partgate.line import Outcome, _make_output, _station, _wiring, run_station
from partgate.line._digital_input import SimulatedInput
from partgate.line._judge import load_judge
from partgate.line._simulated_gate import SimulatedGate
from partgate.records import Home
from partgate_cameras import ProcessCamera
from partgate_station import (
    ContinuousTrigger,
    DigitalInputTrigger,
    GenicamCamera,
    Health,
    SimulatedOutput,
    StationConfig,
    VirtualCamera,
)

STATION_ID, PRODUCT = "soak", "brick"
SIZE_PX = 320
SIMULATOR = GenicamCamera(
    kind="genicam",
    camera_id="sim",
    producer="viky.cti",
    serial_number="0",
    frozen_after=0,  # the ball may rest
    features={"PixelFormat": "Mono8", "Width": 480, "Height": 360, "AcquisitionFrameRate": 60.0},
)
VIRTUAL = tuple(
    VirtualCamera(kind="virtual", camera_id=name, seed=seed, size_px=SIZE_PX)
    for seed, name in enumerate(("top", "side"), start=1)
)
PACE_PARTS, SHARE = 120, 0.6  # of what it does without faults: the rest is for catching up
LOWEST_MS, HIGHEST_MS, BINS = 0.1, 60_000.0, 1200


class Latencies:
    """Counts in bins 1.1 % apart: a soak of days must not keep a number per part."""

    def __init__(self) -> None:
        self._bins = np.zeros(BINS, np.int64)
        self._step = math.log(HIGHEST_MS / LOWEST_MS) / BINS
        self.highest_ms = 0.0

    def add(self, latency_ms: float) -> None:
        """Count one."""
        where = int(math.log(max(latency_ms, LOWEST_MS) / LOWEST_MS) / self._step)
        self._bins[min(where, BINS - 1)] += 1
        self.highest_ms = max(self.highest_ms, latency_ms)

    def quantile(self, share: float) -> float:
        """Return the latency that such a share keep within; 0 where there are none."""
        whole = int(self._bins.sum())
        if not whole:
            return 0.0
        where = int(np.searchsorted(np.cumsum(self._bins), share * whole))
        return float(LOWEST_MS * math.exp((where + 1) * self._step))


class Slow:
    """A runtime that can be told to stand still for a while."""

    def __init__(self, runtime: Any, seat: "Seat") -> None:
        self._runtime, self._seat = runtime, seat

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def scores(self, *arguments: Any) -> Any:
        """Answer, later if so ordered."""
        stall_s, self._seat.stall_s = self._seat.stall_s, 0.0
        time.sleep(stall_s)
        return self._runtime.scores(*arguments)


class Seat:
    """Where faults are put in: what the station has made of its parts."""

    def __init__(self, folder: Path, model: str) -> None:
        self._folder, self._model = folder, model
        self.stop = threading.Event()
        self.stall_s = 0.0
        self.gate: Any = None
        self.input: Any = None
        self.outcomes: Counter[str] = Counter()
        self.latencies = Latencies()

    def run(self, home: Home, config: StationConfig, *, parts: int | None = None) -> Any:
        """Run a station whose parts can be reached."""
        with (
            mock.patch.multiple(
                _station, ProcessCamera=self._camera, load_judge=self._load, **self._judging()
            ),
            mock.patch.object(_make_output, "SimulatedGate", self._made("gate", SimulatedGate)),
            mock.patch.object(_wiring, "SimulatedInput", self._made("input", SimulatedInput)),
        ):
            return run_station(config, home, stop=self.stop, parts=parts, on_outcome=self._note)

    def obey(self, said: dict[str, Any]) -> None:
        """Put a fault in; in the thread that reads orders."""
        match said:
            case {"do": "end"}:
                self.stop.set()
            case {"do": "stall", "for_s": for_s}:
                self.stall_s = for_s
            case {"do": "gate", "loss": loss, "stuck": stuck, "drop": drop} if self.gate is not None:
                self.gate.loss, self.gate.is_stuck = loss, stuck
                if drop:
                    self.gate.drop_line()
            case {"do": "flood", "edges": edges} if self.input is not None:
                for _ in range(edges):
                    self.input.fire()
            case _:
                raise ValueError(f"{said} is no order")

    def _note(self, outcome: Outcome) -> None:
        reason = (outcome.decision.reason or "").partition(":")[0]
        self.outcomes[outcome.decision.verdict.value + (f" {reason}" if reason else "")] += 1
        if not reason:
            self.latencies.add(outcome.latency_ms)

    def _camera(self, config: Any, **named: Any) -> ProcessCamera:
        make = partial(_soak_cameras.faulty, make=_soak_cameras.resumed, folder=self._folder)
        return ProcessCamera(config, make=make, **named)

    def _load(self, *arguments: Any, **named: Any) -> Any:
        judge = load_judge(*arguments, **named)
        return replace(judge, runtime=Slow(judge.runtime, self))

    def _judging(self) -> dict[str, Any]:
        if self._model != "stub":
            return {}
        return {"_judging": lambda *_: StubJudges(lambda runtime: Slow(runtime, self))}

    def _made(self, name: str, kind: Callable[..., Any]) -> Callable[..., Any]:
        def made(**named: Any) -> Any:
            setattr(self, name, kind(**named))
            return getattr(self, name)

        return made


def listen(seat: Seat) -> None:
    """Read orders until there are no more."""
    try:
        for line in sys.stdin:
            seat.obey(json.loads(line))
    finally:  # who gave orders has gone
        seat.stop.set()


def config_of(station_id: str, trigger: Any, seed: int) -> StationConfig:
    """Return the soak's station file."""
    return StationConfig(
        station_id=station_id,
        product=PRODUCT,
        runtime="openvino",
        cameras=(*VIRTUAL, SIMULATOR),
        trigger=trigger,
        output=SimulatedOutput(kind="simulator", latency_ms=2, seed=seed),
        health=Health(port=0),
    )


def pace_s(seat: Seat, home: Home, seed: int) -> float:
    """Return the period of the highest rate that this machine holds."""
    began: list[float] = []
    config = config_of("soak-pace", ContinuousTrigger(kind="continuous"), seed)

    def note(_: Outcome) -> None:
        began.append(time.monotonic())

    with mock.patch.object(seat, "_note", note):
        seat.run(home, config.model_copy(update={"health": None}), parts=PACE_PARTS)
    half = began[len(began) // 2 :]  # the first ones warm up
    return (half[-1] - half[0]) / (len(half) - 1) / SHARE


def main() -> None:
    """Run until told to end."""
    home_path, folder, model, period, seed = sys.argv[1:]
    start_logging()
    home, seat = Home.open(Path(home_path)), Seat(Path(folder), model)
    period_s = float(period) or pace_s(seat, home, int(seed))
    print(json.dumps({"period_s": period_s}), flush=True)
    threading.Thread(target=listen, args=(seat,), name="soak-orders", daemon=True).start()
    trigger = DigitalInputTrigger(kind="digital_input", simulated_period_s=period_s, debounce_ms=0)
    began_s = time.monotonic()
    result = seat.run(home, config_of(STATION_ID, trigger, int(seed)))
    summary = {
        "parts": result.parts,
        "ran_s": time.monotonic() - began_s,
        "outcomes": dict(seat.outcomes.most_common()),
        "latency_ms": {
            "p50": seat.latencies.quantile(0.5),
            "p99": seat.latencies.quantile(0.99),
            "p99_9": seat.latencies.quantile(0.999),
            "max": seat.latencies.highest_ms,
        },
        "gate": {name: getattr(seat.gate, name) for name in ("accepted", "duplicates", "refused")},
    }
    print(json.dumps(summary), flush=True)


if __name__ == "__main__":
    main()
