"""From `exec` to READY: a station's process, started with and without caches in its home.

Cold: `graphs` (compiled graphs) and `parity` (what came of golden frames here) are empty, which the home
promises may be deleted at any time; the files themselves are in the operating system's memory, as they
are on the second start of a day. Warm: the same home once more.
"""

import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks._arms import interval
from benchmarks._prepared_home import prepared_home, station_file
from benchmarks._result import Bound, Result, result
from partgate.records import Home

READY = "station ready"
TIMEOUT_S = 120
BOUND = Bound(of="ours", relation="<=", value=3)


def run(*, rounds: int, folder: Path) -> list[Result]:
    """Start cold and warm, in turn."""
    rounds = max(3, rounds // 3)
    home, station = prepared_home(folder, "startup-home"), station_file(folder)
    ready_s(home, station)  # Python's own byte code is written by the first
    pairs = [(_cold_s(home, station), ready_s(home, station)) for _ in range(rounds)]
    ratios = [cold / warm for cold, warm in pairs]
    cold_s, warm_s = (statistics.median(took) for took in zip(*pairs, strict=True))
    return [
        result(
            "start of a station to ready, warm, against cold",
            ours=warm_s,
            other=cold_s,
            ratio=statistics.median(ratios),
            interval=interval(ratios),
            unit="s",
            n=rounds,
            bound=BOUND,
            note="`partgate run` from exec to 'station ready'; cold: no compiled graphs and no proofs in"
            " the home",
        )
    ]


def _cold_s(home: Home, station: Path) -> float:
    for cache in (home.graphs_path, home.parity_path):
        shutil.rmtree(cache, ignore_errors=True)
    return ready_s(home, station)


def ready_s(home: Home, station: Path) -> float:
    """Start a station for one part; return the seconds until its log says that it is ready.

    Raises:
        RuntimeError: it ended, or was ended after its time, without saying so.
    """
    command = [
        sys.executable,
        "-m",
        "partgate",
        "run",
        str(station),
        "--home",
        str(home.path),
        "--parts",
        "1",
    ]
    started_s = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(TIMEOUT_S, process.kill)
    watchdog.start()
    said: list[str] = []
    found_s: float | None = None
    try:
        for line in process.stderr or ():
            said.append(line)
            if found_s is None and READY in line:
                found_s = time.perf_counter() - started_s
        code = process.wait(timeout=TIMEOUT_S)
    finally:
        watchdog.cancel()
        watchdog.join()
        process.kill()
        process.wait()
    if found_s is None or code != 0:
        raise RuntimeError(f"the station ended with {code}: {''.join(said[-5:])}")
    return found_s
