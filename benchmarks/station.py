"""The station, recorder on and every image kept: its throughput against the bare runtime, and its latency.

Throughput is closed loop, on the same frames: while a part is judged the next one stands behind it, as on a
line that is as fast as its station, and as the bare runtime has its next file. Latency is open loop: parts
come at a fixed rate whether or not the last one is done, and each counts from the moment it was due, so that
a station that is too slow shows it.
Both with all cores for everything, and with some set aside for judging, which the bare runtime has as well.
"""

import contextlib
import os
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._apart import alone
from benchmarks._arms import interval
from benchmarks._frames import parts
from benchmarks._line_watch import STAGES, LineWatch
from benchmarks._ours import score
from benchmarks._prepared_home import PRODUCT, prepared_home
from benchmarks._processor_time import Host, Meter
from benchmarks._result import Bound, Result, result
from partgate.line import Outcome, run_station
from partgate.records import Home
from partgate_engines import Bundle, OpenVinoOptions, on_cores, open_runtime, split_cores
from partgate_station import (
    ConfigError,
    ContinuousTrigger,
    FolderCamera,
    IntervalTrigger,
    Judging,
    StationConfig,
)

FRAMES = 200
BOUND = Bound(value=0.9)
RATES = (20, 50)  # parts a second
MOST_PARTS, MOST_ROUNDS = 10_000, 30  # so many at the highest rate with so many rounds, fewer with fewer
DEADLINES_MS = (20, 30, 60)
TAIL_BOUND = Bound(relation="<=", value=3)
STAGES_BOUND = Bound(value=0.98)
WARM_UP_PARTS = 50
WAITING_PARTS = 1

Run = tuple[float, Mapping[str, float]]


def run(*, rounds: int, folder: Path, parts: int | None = None) -> list[Result]:
    """Judge the same frames bare and through the station, in turn; the median ratio counts.

    Args:
        rounds: to interleave.
        folder: of what was learned and exported before.
        parts: how many to run at each fixed rate; None by the rounds.
    """
    home, config = _prepared(folder)
    divided = [config, *_with_cores_set_aside(config)]
    latencies = [
        one
        for each in divided
        for rate in RATES
        for one in alone(_latency, home.path, each, rate, parts or _parts(rounds, rate))
    ]
    return [*(_throughput(home, each, max(5, rounds // 5)) for each in divided), *latencies]


def _parts(rounds: int, rate: int) -> int:
    return MOST_PARTS * min(rounds, MOST_ROUNDS) // MOST_ROUNDS * rate // RATES[-1]


def _with_cores_set_aside(config: StationConfig) -> Sequence[StationConfig]:
    """Return the station with three quarters of the cores for judging, one of two; nothing on one core."""
    for most in range(len(os.sched_getaffinity(0)) - 1, 0, -1):
        with contextlib.suppress(ConfigError):  # hyperthreads or a quota: fewer are there than are counted
            split_cores(most)
            judging = Judging(cores=max(1, most * 3 // 4))
            return [config.model_copy(update={"judging": judging, "station_id": f"{config.station_id}-own"})]
    return []


def _titled(config: StationConfig) -> str:
    cores = config.judging.cores
    return f", {cores} core{'s' if cores > 1 else ''} set aside for judging" if cores else ""


def _throughput(home: Home, config: StationConfig, rounds: int) -> Result:
    pairs = [_pair(home, config) for _ in range(rounds)]
    ratios = [bare_s / whole_s for (bare_s, _), (whole_s, _) in pairs]
    bare_s, whole_s = (statistics.median(one[side][0] for one in pairs) for side in (0, 1))
    bare, whole = (_by_part([one[side][1] for one in pairs]) for side in (0, 1))
    return result(
        f"parts per second of the station, every image kept, against the bare runtime{_titled(config)}",
        ours=FRAMES / whole_s,
        other=FRAMES / bare_s,
        ratio=statistics.median(ratios),
        interval=interval(ratios),
        unit="parts/s",
        n=rounds * FRAMES,
        bound=BOUND,
        note=f"frames read from files on both sides; the ratio is ours / other; processor time a part: bare"
        f" {bare}, station {whole}",
    )


def _pair(home: Home, config: StationConfig) -> tuple[Run, Run]:
    frames = _new_frames(home, FRAMES)
    looking = _looking_at(config, frames)
    return alone(_bare, home.path, looking, frames), alone(_station, home.path, looking)


def _by_part(found: Sequence[Mapping[str, float]]) -> str:
    means = {what: statistics.fmean(one.get(what, 0.0) for one in found) for what in found[0]}
    text = ", ".join(f"{what} {mean_ms:.1f}" for what, mean_ms in means.items())
    return f"{sum(means.values()):.1f} ms" + (f" ({text})" if len(means) > 1 else "")


def _latency(home_path: Path, config: StationConfig, rate: int, count: int) -> list[Result]:
    """Run the station at a fixed rate; every image kept, so that the recorder is busy."""
    home = Home.open(home_path)
    trigger = IntervalTrigger(kind="interval", period_s=1 / rate)
    station_id = f"{config.station_id}-{rate}"
    at_rate = config.model_copy(update={"station_id": station_id, "trigger": trigger})
    outcomes: list[Outcome] = []
    at_rate = _looking_at(at_rate, _new_frames(home, WARM_UP_PARTS + count))
    host = Host()
    with LineWatch().watching() as watch:
        ran = run_station(at_rate, home, stop=threading.Event(), on_outcome=outcomes.append)
    if not ran.balance.balanced:
        raise RuntimeError(f"the ledger does not balance: {ran.balance}")
    took = np.array([outcome.latency_ms for outcome in outcomes[WARM_UP_PARTS:]])
    title = f"station at {rate} parts/s{_titled(config)}"
    return [
        _tail(title, rate, took, stolen=host.stolen_share(), journal_ms=watch.journal_ms),
        _stages(title, took, watch.parts[WARM_UP_PARTS:]),
    ]


def _tail(
    title: str, rate: int, took: NDArray[np.float64], *, stolen: float, journal_ms: Sequence[float]
) -> Result:
    p50, p99, p99_9 = (float(np.quantile(took, q)) for q in (0.5, 0.99, 0.999))
    late = ", ".join(f"{np.mean(took > limit):.2%} over {limit} ms" for limit in DEADLINES_MS)
    behind = _falls_behind(rate, took)
    found = result(
        f"{title}, trigger to verdict, p99.9 against p50{', DID NOT KEEP UP' if behind else ''}",
        ours=p99_9,
        other=p50,
        ratio=p99_9 / p50,
        n=len(took),
        bound=TAIL_BOUND,
        note=f"open loop, recorder busy; p50 {p50:.1f}, p99 {p99:.1f}, p99.9 {p99_9:.1f},"
        f" max {took.max():.1f} ms; {late}; the host gave {stolen:.1%} of the time wanted to others;"
        f" writes to the journal p99 {np.quantile(journal_ms, 0.99):.1f}, max {max(journal_ms):.1f} ms",
    )
    return replace(found, passed=False) if behind else found


def _falls_behind(rate: int, took: NDArray[np.float64]) -> bool:
    """Return whether parts came ever later: the figures then tell how long the run was, not of a line."""
    tenth = max(len(took) // 10, 1)
    later_ms = float(np.median(took[-tenth:]) - np.median(took[:tenth]))
    return later_ms > 1500 / rate


def _stages(title: str, took: NDArray[np.float64], parts: Sequence[Mapping[str, float]]) -> Result:
    means = {stage: statistics.fmean(part.get(stage, 0.0) for part in parts) for stage in STAGES}
    whole = float(took.mean())
    return result(
        f"{title}, stages of the latency against the whole",
        ours=sum(means.values()),
        other=whole,
        ratio=min(sum(means.values()), whole) / max(sum(means.values()), whole),
        n=len(parts),
        bound=STAGES_BOUND,
        note="means: " + ", ".join(f"{stage} {mean:.2f} ms" for stage, mean in means.items()),
    )


def _new_frames(home: Home, count: int) -> Path:
    """Return a folder with so many frames, each of them different from all that there ever were in this home.

    As on a line: the image store does not write what it has. They differ in the last bits of some pixels.
    They are on the disk when this returns, and stay there until all is measured: of a file that is deleted
    the disk may be told later, and may have to be waited for then.
    """
    base = parts(FRAMES)
    folder = Path(tempfile.mkdtemp(prefix="frames-", dir=home.path.parent))
    for number in range(count):
        _write_frame(folder / f"{number:06}.bmp", base[number % len(base)], mark=uuid.uuid4())
    os.sync()
    return folder


def _write_frame(path: Path, pixels: NDArray[np.uint8], *, mark: uuid.UUID) -> None:
    import cv2

    marked = pixels.copy()
    bits = np.unpackbits(np.frombuffer(mark.bytes, np.uint8))
    marked.flat[: bits.size] = (marked.flat[: bits.size] & 0xFE) | bits
    cv2.imwrite(str(path), marked)


def _prepared(folder: Path) -> tuple[Home, StationConfig]:
    """Learn a product and describe a station; its frames are made for each run."""
    home = prepared_home(folder, "station-home")
    camera = FolderCamera(kind="folder", camera_id="top", folder=folder)
    trigger = ContinuousTrigger(kind="continuous", waiting_parts=WAITING_PARTS)
    return home, StationConfig(station_id="bench", product=PRODUCT, trigger=trigger, cameras=(camera,))


def _looking_at(config: StationConfig, frames: Path) -> StationConfig:
    cameras = tuple(camera.model_copy(update={"folder": frames}) for camera in config.cameras)
    return config.model_copy(update={"cameras": cameras})


def _bare(home_path: Path, config: StationConfig, frames: Path) -> Run:
    """Read and score every frame, and nothing else; return the seconds, and processor time by part."""
    from partgate_cameras import list_images, read_image

    home = Home.open(home_path)
    (bundle,) = [Bundle.open(path.parent, trusted=None) for path in home.bundles_path.glob("*/manifest.json")]
    options, meter = OpenVinoOptions.of_station(config), Meter()
    with contextlib.ExitStack() as stack:
        if cores := config.judging.cores:
            stack.enter_context(on_cores(split_cores(cores).judging))
        opened = open_runtime(bundle, config.runtime, engines=home.graphs_path, openvino=options)
        runtime = stack.enter_context(contextlib.closing(opened))
        paths = list_images(frames)
        score(runtime, read_image(paths[0]))
        meter.begin()
        started_s = time.perf_counter()
        for path in paths:
            score(runtime, read_image(path))
        took_s = time.perf_counter() - started_s
        meter.end()
    return took_s, meter.ms_by_part(FRAMES)


def _station(home_path: Path, config: StationConfig) -> Run:
    """Run the station over the same frames.

    Returns:
        The seconds from first trigger to last signal, and milliseconds of processor time by part.
    """
    home = Home.open(home_path)
    moments, meter = list[float](), Meter()

    def note(outcome: object) -> None:
        del outcome
        if len(moments) == 0:
            meter.begin()
        moments.append(time.perf_counter())
        if len(moments) == FRAMES:
            meter.end()

    ran = run_station(config, home, stop=threading.Event(), on_outcome=note)
    if not ran.balance.balanced:
        raise RuntimeError(f"the ledger does not balance: {ran.balance}")
    # The first part is left out on both ends: what is timed are the parts after it.
    return (moments[-1] - moments[0]) * FRAMES / (FRAMES - 1), meter.ms_by_part(FRAMES - 1)
