"""The station of a soak, in a process of its own: the real one, with handles where faults are put in.

    python -m benchmarks._soak_station HOME FOLDER MODEL PERIOD_S SEED

It takes orders from standard input, a JSON object a line, and prints what came of it at the end.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks import _soak_cameras
from benchmarks._soak_pace import FIRST_PER_S, SHARE, Climb, Pulses
from benchmarks._soak_stub import DEADLINE_MS, StubJudges
from benchmarks._soak_tally import Tally
from partgate.cli._output import start_logging
from partgate.line import Outcome, _make_output, _station, _wiring, run_station
from partgate.line._judge import load_judge
from partgate.line._simulated_gate import SimulatedGate
from partgate.records import Home
from partgate_cameras import ProcessCamera
from partgate_station import (
    DigitalInputTrigger,
    GenicamCamera,
    Health,
    SimulatedOutput,
    StationConfig,
    VirtualCamera,
)

STATION_ID, PRODUCT = "soak", "brick"
SIZE_PX, TURN_S = 320, 0.1
FINISH_S, NEVER_S = 20.0, 1e6
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
        self.stop, self.told_to_begin = threading.Event(), threading.Event()
        self.stall_s = 0.0
        self.gate: Any = None
        self.input: Any = None
        self.tally = Tally()
        self.flooded = 0
        self.climb: Climb | None = None
        """While the rate is being found; parts are not counted then."""

    def run(self, home: Home, config: StationConfig) -> Any:
        """Run a station whose parts can be reached."""
        with (
            mock.patch.multiple(
                _station, ProcessCamera=self._camera, load_judge=self._load, **self._judging()
            ),
            mock.patch.object(_make_output, "SimulatedGate", self._made("gate", SimulatedGate)),
            mock.patch.object(_wiring, "SimulatedInput", self._made("input", Pulses)),
        ):
            return run_station(config, home, stop=self.stop, on_outcome=self._note)

    def obey(self, said: dict[str, Any]) -> None:
        """Put a fault in; in the thread that reads orders."""
        match said:
            case {"do": "begin"}:
                self.told_to_begin.set()
            case {"do": "end"}:
                self._let_finish()
                self.stop.set()
            case {"do": "stall", "for_s": for_s}:
                self.stall_s = for_s
            case {"do": "gate", "loss": loss, "stuck": stuck, "drop": drop} if self.gate is not None:
                self.gate.loss, self.gate.is_stuck = loss, stuck
                if drop:
                    self.gate.drop_line()
            case {"do": "flood", "edges": edges} if self.input is not None:
                self.flooded += edges
                for _ in range(edges):
                    self.input.fire()
            case {"do": "fault", "name": str(name)}:
                self.tally.begin(name)
            case {"do": "fault over"}:
                self.tally.end()
            case _:
                raise ValueError(f"{said} is no order")

    def _let_finish(self) -> None:
        """Have no more parts come, and wait until those that wait are judged."""
        if self.input is not None:
            self.input.pace(NEVER_S)
        until_s, done = time.monotonic() + FINISH_S, -1
        while done != self.tally.parts and time.monotonic() < until_s:
            done = self.tally.parts
            time.sleep(2 * DEADLINE_MS / 1000)

    def find_pace(self) -> float:
        """Raise the rate until the station does not hold it; return the highest that it held, per second.

        The station must run in another thread; it is left at a share of that rate.
        """
        self.climb = Climb(pace=self.input.pace, deadline_s=DEADLINE_MS / 1000, stop=self.stop)
        try:
            return self.climb.find()
        finally:
            self.climb = None

    def _note(self, outcome: Outcome) -> None:
        if (climb := self.climb) is not None:
            climb.done(outcome)
        else:
            self.tally.add(outcome)

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


def settle_pace(seat: Seat, period_s: float) -> None:
    """Once the station is ready, have its rate found unless it is given; then print both."""
    while not seat.told_to_begin.wait(TURN_S) and not seat.stop.is_set():
        pass
    held_per_s = seat.find_pace() if not period_s else None
    seat.tally = Tally()  # without the parts from before
    found = {"period_s": period_s or 1 / (SHARE * (held_per_s or FIRST_PER_S)), "held_per_s": held_per_s}
    print(json.dumps(found), flush=True)


def main() -> None:
    """Run until told to end."""
    home_path, folder, model, period, seed = sys.argv[1:]
    start_logging()
    home, seat = Home.open(Path(home_path)), Seat(Path(folder), model)
    period_s = float(period)
    threading.Thread(target=listen, args=(seat,), name="soak-orders", daemon=True).start()
    threading.Thread(target=settle_pace, args=(seat, period_s), name="soak-pace", daemon=True).start()
    trigger = DigitalInputTrigger(
        kind="digital_input", simulated_period_s=period_s or 1 / FIRST_PER_S, debounce_ms=0
    )
    began_s = time.monotonic()
    result = seat.run(home, config_of(STATION_ID, trigger, int(seed)))
    summary = {
        "parts": result.parts,
        "ran_s": time.monotonic() - began_s,
        "flooded": seat.flooded,
        "gate": {name: getattr(seat.gate, name) for name in ("accepted", "duplicates", "refused")},
    }
    print(json.dumps(summary | seat.tally.shown()), flush=True)


if __name__ == "__main__":
    main()
