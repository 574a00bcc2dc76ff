"""The whole story on a virtual line: learn a product, inspect parts, count what went wrong.

The parts are drawn, so the demo knows the truth about each one; the line does not.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from partgate.line import Outcome, StationRun, run_station
from partgate.records import Database, Home, active
from partgate.retraining import LearnedProduct, learn_product
from partgate_cameras import Defect, draw_part
from partgate_engines.anomaly import GoodImage, LearnSettings, Progress
from partgate_station import ContinuousTrigger, RecipeSettings, StationConfig, VirtualCamera

PRODUCT = "brick"
STATION = "virtual"
LEARN_PARTS = 40
# Parts to learn from come from a line of their own: none of them is ever inspected.
LEARN_SEED_OFFSET = 1_000_003


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What the demo's run came to, measured against the truth."""

    run: StationRun
    defective: int
    escapes: int
    """Defective parts the gate let pass."""
    false_rejects: int
    """Good parts the gate did not let pass."""
    latency_ms: dict[str, float]


def _camera(seed: int, **settings: Any) -> VirtualCamera:
    return VirtualCamera(kind="virtual", camera_id="top", texture="brick", seed=seed, **settings)


def _station(camera: VirtualCamera) -> StationConfig:
    """Return the demo's station: parts come as fast as they are judged."""
    return StationConfig(
        station_id=STATION,
        name="Virtual line",
        product=PRODUCT,
        trigger=ContinuousTrigger(kind="continuous"),
        cameras=(camera,),
    )


def learn_demo_product(
    home: Home, database: Database, *, seed: int, by: str, progress: Progress
) -> LearnedProduct | None:
    """Learn the demo's product from good virtual parts; None if this home knows it already."""
    with database.read() as session:
        if active(session, PRODUCT) is not None:
            return None
    line = _camera(seed + LEARN_SEED_OFFSET, defect_rate=0)
    good = [
        GoodImage(pixels=draw_part(line, number).image, origin=f"virtual part {number}")
        for number in range(LEARN_PARTS)
    ]
    return learn_product(
        home, database, PRODUCT, good=good, recipe=RecipeSettings(), settings=LearnSettings(),
        by=by, progress=progress,
    )  # fmt: skip


def inspect_virtual_parts(
    home: Home,
    *,
    seed: int,
    parts: int,
    stop: threading.Event,
    on_part: Callable[[Outcome, Defect | None], None],
) -> DemoResult:
    """Run the virtual station and compare every outcome with the truth.

    Args:
        on_part: called with each outcome and the part's real defect, None for a good part.
    """
    camera = _camera(seed)
    seen: list[tuple[Outcome, bool]] = []

    def compare(outcome: Outcome) -> None:
        # The virtual camera draws part n for trigger n + 1; drawing it again tells the truth.
        defect = draw_part(camera, outcome.trigger_id - 1).defect
        seen.append((outcome, defect is not None))
        on_part(outcome, defect)

    run = run_station(_station(camera), home, stop=stop, parts=parts, on_outcome=compare)
    return DemoResult(
        run=run,
        defective=sum(defective for _, defective in seen),
        escapes=sum(defective and outcome.gate_open for outcome, defective in seen),
        false_rejects=sum(not defective and not outcome.gate_open for outcome, defective in seen),
        latency_ms=percentiles([outcome.latency_ms for outcome, _ in seen]),
    )


def percentiles(latency_ms: list[float]) -> dict[str, float]:
    """Return p50, p99, p99.9 and the maximum; zeros where nothing was measured."""
    values = np.asarray(latency_ms or [0.0])
    p50, p99, p99_9 = np.percentile(values, [50, 99, 99.9])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3),
            "p99_9": round(float(p99_9), 3), "max": round(float(values.max()), 3)}  # fmt: skip
