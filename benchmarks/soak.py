"""`make soak`: a station with two virtual cameras and the GenICam simulator, and everything that goes wrong.

First the highest rate that the machine holds is found. Then faults come at random (the same seed, the same
faults), one after the other, at 0.7 of that rate: most parts are judged, and a fault can be caught up with.
The exit code is 1 if the ledger does not balance, a process grows, or the station does not end ready.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._result import busy_cores
from benchmarks._soak_faults import BACK_WITHIN_S, SEEN_WITHIN_S, Faults, Recovery
from benchmarks._soak_log import StationLog
from benchmarks._soak_tally import QUIET
from benchmarks._soak_watch import Watched
from partgate.records import Balance, Database, Home, balance, count_orphans, count_unconfirmed

STATION_ID = "soak"
START_S, END_S, READY_S = 120.0, 60.0, 60.0
PACE_S = 300.0  # to find the rate
QUIET_S = (1.0, 3.0)  # between two faults
LOOK_S = 1.0
MOST_MB_PER_HOUR, LEAST_MB = 30.0, 10.0
"""A process grows if it does so faster than this, and by more than its memory moves anyway."""

FAILED = 1


@dataclass
class Soak:
    """What a soak came to."""

    recoveries: list[Recovery] = field(default_factory=list)
    watched: Watched = field(default_factory=Watched)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    period_s: float = 0.0
    held_per_s: float | None = None
    """The highest rate that was held; None where it was given."""

    ended_ready: bool = False
    last_words: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, print what came of it, and return the exit code."""
    asked = _parser().parse_args(arguments)
    seconds = asked.seconds or (asked.hours or 0) * 3600 + (asked.minutes or 0) * 60 or 600.0
    busy = busy_cores()
    with tempfile.TemporaryDirectory(prefix="partgate-soak-") as name:
        folder = Path(name)
        home = _home(folder, asked.model)
        print(f"soaking for {seconds / 60:.1f} min, seed {asked.seed} ...", file=sys.stderr, flush=True)
        soak = _soaked(folder, home, asked, seconds)
        with contextlib.closing(Database.open(home)) as database, database.read() as session:
            found = balance(session, STATION_ID)
            unconfirmed = count_unconfirmed(session, STATION_ID)
            orphans = count_orphans(session, STATION_ID)
        if asked.log is not None:
            asked.log.write_bytes((folder / "station.log").read_bytes())
    wrong = [*_wrong(soak, found)]
    print(_report(soak, found, unconfirmed, orphans, busy))
    for why in wrong:
        print(f"FAILED: {why}")
    return FAILED if wrong else 0


def _home(folder: Path, model: str) -> Home:
    """Return a home; learning is done in it where a model is wanted."""
    if model == "stub":
        return Home.open(folder / "home")
    from benchmarks._soak_home import learned_home

    return learned_home(folder)


def _soaked(folder: Path, home: Home, asked: argparse.Namespace, seconds: float) -> Soak:
    orders = folder / "orders"
    orders.mkdir()
    command = [sys.executable, "-m", "benchmarks._soak_station", str(home.path), str(orders), asked.model]
    process = subprocess.Popen(
        [*command, str(asked.period_s), str(asked.seed)],
        env={**os.environ, "PARTGATE_LOG": "json"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    soak, over = Soak(), threading.Event()
    looker = threading.Thread(target=_look, args=(process.pid, soak.watched, over), name="soak-look")
    try:
        log = StationLog(_stream(process.stderr), folder / "station.log", station_id=STATION_ID)
        tell = _teller(_stream(process.stdin))
        if log.wait_ready(START_S) and _found_pace(soak, process, tell):
            looker.start()
            faults = Faults(process.pid, orders, log, tell, random.Random(asked.seed))
            _put_in(faults, soak, process, seconds=seconds)
            soak.ended_ready = log.wait_ready(READY_S)
        soak.last_words = list(log.unread)
        _end(process, soak)
        log.join()
    finally:
        over.set()
        process.kill()
        process.wait()
        if looker.ident is not None:
            looker.join()
    return soak


def _teller(stdin: Any) -> Callable[..., None]:
    def tell(**what: Any) -> None:
        with contextlib.suppress(OSError):  # a station that has gone is seen by its exit code
            stdin.write(json.dumps(what) + "\n")
            stdin.flush()

    return tell


def _found_pace(soak: Soak, process: subprocess.Popen[str], tell: Callable[..., None]) -> bool:
    """Have the station find its rate; return whether it has one."""
    tell(do="begin")
    watchdog = threading.Timer(PACE_S, process.kill)
    watchdog.start()
    try:
        said = _stream(process.stdout).readline()
    finally:
        watchdog.cancel()
    if not said:
        return False
    found = json.loads(said)
    soak.period_s, soak.held_per_s = found["period_s"], found["held_per_s"]
    return True


def _put_in(faults: Faults, soak: Soak, process: subprocess.Popen[str], *, seconds: float) -> None:
    """Put in every kind of fault in turn, in another order each time."""
    until_s = time.monotonic() + seconds
    waiting: list[str] = []
    while time.monotonic() < until_s and process.poll() is None:
        waiting = waiting or faults.shuffled()
        time.sleep(faults.chance.uniform(*QUIET_S))
        soak.recoveries.append(faults.put_in(waiting.pop()))


def _end(process: subprocess.Popen[str], soak: Soak) -> None:
    try:
        out, _ = process.communicate('{"do": "end"}\n', timeout=END_S)
    except (subprocess.TimeoutExpired, BrokenPipeError, ValueError):
        return
    soak.exit_code = process.returncode
    lines = out.strip().splitlines()
    soak.summary = json.loads(lines[-1]) if lines else {}


def _look(pid: int, watched: Watched, over: threading.Event) -> None:
    while not over.wait(LOOK_S):
        watched.look(pid)


def _stream(stream: Any) -> Any:
    if stream is None:
        raise RuntimeError("the station was started without its streams")
    return stream


def _wrong(soak: Soak, found: Balance) -> Sequence[str]:
    """Return what must not be."""
    wrong = []
    if soak.exit_code != 0:
        wrong.append(f"the station ended with {soak.exit_code}: {' | '.join(soak.last_words[-5:])}")
    if not found.balanced or found.open:
        wrong.append(f"the ledger does not balance: {found}")
    if soak.summary and soak.summary["parts"] != found.triggers:
        wrong.append(f"{soak.summary['parts']} parts, and {found.triggers} triggers in the ledger")
    if soak.summary and soak.summary["gate"]["refused"]:
        wrong.append("the gate was told two verdicts of one part")
    if not soak.ended_ready:
        wrong.append("the station did not end ready")
    wrong += [f"not ready after: {one.fault}" for one in soak.recoveries if not one.ready]
    for work, growth in soak.watched.growth().items():
        grown_mb = growth.last_mb - growth.first_mb
        if (growth.mb_per_hour or 0.0) > MOST_MB_PER_HOUR and grown_mb > LEAST_MB:
            wrong.append(f"{work} grows by {growth.mb_per_hour:.0f} MB/h ({grown_mb:+.1f} MB)")
    return wrong


def _report(soak: Soak, found: Balance, unconfirmed: int, orphans: int, busy: float) -> str:
    lines = [f"other work took {busy:g} cores before it began"]
    if soak.period_s:
        lines.append(f"triggers: {_rate(soak)}")
    if soak.summary:
        lines += _part_lines(soak.summary)
        gate = ", ".join(f"{count} {name}" for name, count in soak.summary["gate"].items())
        lines.append(f"gate: {gate}; {unconfirmed} signals not confirmed")
    verdicts = (
        f"{found.accept} accept + {found.review} review + {found.reject} reject + {found.undecided} undecided"
    )
    balanced = "balanced" if found.balanced else "NOT BALANCED"
    lines.append(f"ledger: {found.triggers} triggers = {verdicts}: {balanced}; orphan frames: {orphans}")
    by_fault = soak.summary.get("by_fault", {})
    lines += ["", *_recovery_lines(soak.recoveries, by_fault), "", *_growth_lines(soak.watched)]
    return "\n".join(lines)


def _rate(soak: Soak) -> str:
    """Say how fast triggers came, and why so."""
    rate = f"one every {soak.period_s * 1000:.1f} ms ({1 / soak.period_s:.1f}/s)"
    if soak.held_per_s is None:
        return f"{rate}, as given"
    return f"{rate}; the highest rate that was held before any fault: {soak.held_per_s:.1f}/s"


def _part_lines(summary: dict[str, Any]) -> Sequence[str]:
    """Say what became of the parts, without those that the rate was found with."""
    by_fault = summary["by_fault"].values()
    judged, undecided = (sum(of[name] for of in by_fault) for name in ("judged", "undecided"))
    counted = judged + undecided
    found_with = summary["parts"] - counted
    share = f"{100 * judged / counted:.1f} %" if counted else "none"
    ran = f"{summary['parts']} in {summary['ran_s'] / 60:.1f} min, {found_with} of them to find the rate"
    lines = [
        f"parts: {ran}; of the other {counted}, {share} judged; {summary['flooded']} came in floods",
        f"{'':4}" + ", ".join(f"{name} {count}" for name, count in summary["outcomes"].items()),
    ]
    for when, latency in summary["latency_ms"].items():
        figures = ", ".join(f"{name.replace('_', '.')} {value:.1f}" for name, value in latency.items())
        lines.append(f"trigger to verdict of what was judged, {when}, ms: {figures}")
    return lines


def _recovery_lines(
    recoveries: Sequence[Recovery], by_fault: Mapping[str, Mapping[str, int]]
) -> Sequence[str]:
    counted = Counter(one.fault for one in recoveries)
    seen, back = "seen after, s (median, max)", "back after, s (median, max)"
    lines = [f"{'fault':20} {'times':>5}  {'undecided parts':18} {seen:28} {back}"]
    for fault, times in sorted(counted.items()):
        of_it = [one for one in recoveries if one.fault == fault]
        seen = _figures([one.seen_s for one in of_it], SEEN_WITHIN_S if _is_camera(fault) else None)
        back = _figures([one.back_s for one in of_it], BACK_WITHIN_S if _is_camera(fault) else None)
        lines.append(f"{fault:20} {times:5}  {_undecided(by_fault.get(fault)):18} {seen:28} {back}")
    lines.append(f"{'between faults':20} {'':5}  {_undecided(by_fault.get(QUIET))}")
    return [*lines, f"{sum(counted.values())} faults in all"]


def _undecided(of: Mapping[str, int] | None) -> str:
    return "-" if of is None else f"{of['undecided']} of {of['undecided'] + of['judged']}"


def _is_camera(fault: str) -> bool:
    return fault.startswith(("camera", "simulator"))


def _figures(values: Sequence[float | None], bound_s: float | None) -> str:
    known = sorted(value for value in values if value is not None)
    if not known:
        return "-"
    late = 0 if bound_s is None else sum(value > bound_s for value in known)
    verdict = "" if not late else f", {late} over {bound_s:g} s"
    return f"{known[len(known) // 2]:.2f}, {known[-1]:.2f}{verdict}"


def _growth_lines(watched: Watched) -> Sequence[str]:
    lines = [f"{'process':10} {'lived, s':>8} {'MB':>15} {'MB/h':>8} {'descriptors':>13} {'threads':>10}"]
    for work, growth in watched.growth().items():
        slope = "too short" if growth.mb_per_hour is None else f"{growth.mb_per_hour:+.1f}"
        memory = f"{growth.first_mb:.1f} to {growth.last_mb:.1f}"
        descriptors = "{} to {}".format(*growth.descriptors)
        threads = "{} to {}".format(*growth.threads)
        lines.append(
            f"{work:10} {growth.lived_s:8.0f} {memory:>15} {slope:>8} {descriptors:>13} {threads:>10}"
        )
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--hours", type=float, help="how long")
    parser.add_argument("--minutes", type=float, help="how long (10)")
    parser.add_argument("--seconds", type=float, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--model", choices=["learned", "stub"], default="learned", help="who judges")
    parser.add_argument("--period-s", type=float, default=0.0, help="between two triggers; 0: find the rate")
    parser.add_argument("--log", type=Path, help="keep the station's log there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
