"""The station, recorder on and every image kept: its throughput against the bare runtime, and its latency.

Throughput is closed loop, on the same frames. Latency is open loop: parts come at a fixed rate whether or not
the last one is done, and each counts from the moment it was due, so that a station that is too slow shows it.
"""

import contextlib
import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._arms import interval
from benchmarks._frames import parts
from benchmarks._line_watch import STAGES, LineWatch
from benchmarks._ours import score
from benchmarks._prepared_home import PRODUCT, prepared_home
from benchmarks._result import Bound, Result, result
from partgate.line import Outcome, run_station
from partgate.records import Home
from partgate_engines import Bundle, open_runtime
from partgate_station import ContinuousTrigger, FolderCamera, IntervalTrigger, StationConfig

FRAMES = 200
FRAME_FOLDER = "frames"
BOUND = Bound(value=0.9)
RATES = (20, 50)  # parts a second
MOST_PARTS, MOST_ROUNDS = 10_000, 30  # so many at the highest rate with so many rounds, fewer with fewer
DEADLINES_MS = (20, 30, 60)
TAIL_BOUND = Bound(relation="<=", value=3)
STAGES_BOUND = Bound(value=0.98)
WARM_UP_PARTS = 50


def run(*, rounds: int, folder: Path) -> list[Result]:
    """Judge the same frames bare and through the station, in turn; the median ratio counts."""
    home, config = _prepared(folder)
    latencies = [one for rate in RATES for one in _latency(home, config, rate=rate, rounds=rounds)]
    rounds = max(3, rounds // 10)
    pairs = [(_bare(home), _station(home, config)) for _ in range(rounds)]
    ratios = [bare / whole for bare, whole in pairs]
    bare_s, whole_s = (statistics.median(took) for took in zip(*pairs, strict=True))
    return [
        result(
            "parts per second of the station, every image kept, against the bare runtime",
            ours=FRAMES / whole_s,
            other=FRAMES / bare_s,
            ratio=statistics.median(ratios),
            interval=interval(ratios),
            unit="parts/s",
            n=rounds * FRAMES,
            bound=BOUND,
            note="frames read from files on both sides; the ratio is ours / other",
        ),
        *latencies,
    ]


def _latency(home: Home, config: StationConfig, *, rate: int, rounds: int) -> list[Result]:
    """Run the station at a fixed rate; every image kept, so that the recorder is busy."""
    count = WARM_UP_PARTS + MOST_PARTS * min(rounds, MOST_ROUNDS) // MOST_ROUNDS * rate // RATES[-1]
    camera = FolderCamera(kind="folder", camera_id="top", folder=_many_frames(home, count))
    trigger = IntervalTrigger(kind="interval", period_s=1 / rate)
    at_rate = config.model_copy(
        update={"station_id": f"bench-{rate}", "trigger": trigger, "cameras": (camera,)}
    )
    outcomes: list[Outcome] = []
    with LineWatch().watching() as watch:
        ran = run_station(at_rate, home, stop=threading.Event(), on_outcome=outcomes.append)
    if not ran.balance.balanced:
        raise RuntimeError(f"the ledger does not balance: {ran.balance}")
    took = np.array([outcome.latency_ms for outcome in outcomes[WARM_UP_PARTS:]])
    return [_tail(rate, took), _stages(rate, took, watch.parts[WARM_UP_PARTS:])]


def _tail(rate: int, took: NDArray[np.float64]) -> Result:
    p50, p99, p99_9 = (float(np.quantile(took, q)) for q in (0.5, 0.99, 0.999))
    late = ", ".join(f"{np.mean(took > limit):.2%} over {limit} ms" for limit in DEADLINES_MS)
    return result(
        f"station at {rate} parts/s, trigger to verdict, p99.9 against p50",
        ours=p99_9,
        other=p50,
        ratio=p99_9 / p50,
        n=len(took),
        bound=TAIL_BOUND,
        note=f"open loop, recorder busy; p50 {p50:.1f}, p99 {p99:.1f}, p99.9 {p99_9:.1f},"
        f" max {took.max():.1f} ms; {late}{_fallen_behind(rate, took)}",
    )


def _fallen_behind(rate: int, took: NDArray[np.float64]) -> str:
    """Say if parts came ever later: then the figures tell how long the run was, not how good the line is."""
    tenth = max(len(took) // 10, 1)
    later_ms = float(np.median(took[-tenth:]) - np.median(took[:tenth]))
    return "; DID NOT KEEP UP: no figures of a line" if later_ms > 1500 / rate else ""


def _stages(rate: int, took: NDArray[np.float64], parts: Sequence[Mapping[str, float]]) -> Result:
    means = {stage: statistics.fmean(part.get(stage, 0.0) for part in parts) for stage in STAGES}
    whole = float(took.mean())
    return result(
        f"station at {rate} parts/s, stages of the latency against the whole",
        ours=sum(means.values()),
        other=whole,
        ratio=min(sum(means.values()), whole) / max(sum(means.values()), whole),
        n=len(parts),
        bound=STAGES_BOUND,
        note="means: " + ", ".join(f"{stage} {mean:.2f} ms" for stage, mean in means.items()),
    )


def _many_frames(home: Home, count: int) -> Path:
    """Return a folder with so many frames: the same ones again and again, by links."""
    frames = sorted((home.path.parent / FRAME_FOLDER).iterdir())
    folder = home.path.parent / f"{FRAME_FOLDER}-{count}"
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"{number:06}.bmp").hardlink_to(frames[number % len(frames)])
    return folder


def _prepared(folder: Path) -> tuple[Home, StationConfig]:
    """Learn a product and write the frames that both sides read."""
    import cv2

    home = prepared_home(folder, "station-home")
    frames = folder / FRAME_FOLDER
    frames.mkdir()
    for number, pixels in enumerate(parts(FRAMES)):
        cv2.imwrite(str(frames / f"{number:04}.bmp"), pixels)
    camera = FolderCamera(kind="folder", camera_id="top", folder=frames)
    trigger = ContinuousTrigger(kind="continuous")
    return home, StationConfig(station_id="bench", product=PRODUCT, trigger=trigger, cameras=(camera,))


def _bare(home: Home) -> float:
    """Read and score every frame, and nothing else; return the seconds."""
    from partgate_cameras import list_images, read_image

    (bundle,) = [Bundle.open(path.parent, trusted=None) for path in home.bundles_path.glob("*/manifest.json")]
    with contextlib.closing(open_runtime(bundle, engines=home.graphs_path)) as runtime:
        paths = list_images(home.path.parent / FRAME_FOLDER)
        score(runtime, read_image(paths[0]))
        started_s = time.perf_counter()
        for path in paths:
            score(runtime, read_image(path))
        return time.perf_counter() - started_s


def _station(home: Home, config: StationConfig) -> float:
    """Run the station over the same frames; return the seconds from first trigger to last signal."""
    moments: list[float] = []

    def note(outcome: object) -> None:
        del outcome
        moments.append(time.perf_counter())

    result = run_station(config, home, stop=threading.Event(), on_outcome=note)
    if not result.balance.balanced:
        raise RuntimeError(f"the ledger does not balance: {result.balance}")
    # The first part is left out on both ends: what is timed are the parts after it.
    return (moments[-1] - moments[0]) * FRAMES / (FRAMES - 1)
