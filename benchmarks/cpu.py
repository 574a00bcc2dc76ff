"""Judging on the CPU in every way that a station file can ask for. Run by `python -m benchmarks.cpu`.

    cold, kept, resident    a runtime opened with an empty home, with a filled one, and beside another product
    f32, bf16, f16          what the choice of precision measures here
    1, 2, 4 frames          of one part: one after the other, all handed over, in streams
    changeover              the first frame of another resident product, against the next of the same

Rounds are taken in turn and medians shown: on a busy machine only ratios mean anything.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partgate_cameras import draw_part
from partgate_engines import Bundle, OpenVinoOptions, precision_choice
from partgate_engines._openvino_engines import ResidentEngines
from partgate_engines._openvino_runtime import OpenVinoRuntime
from partgate_station import VirtualCamera

LINE = VirtualCamera(kind="virtual", camera_id="top", seed=1, size_px=320, defect_rate=0.0)
LEARNED_FROM = 24
PER_PART = (1, 2, 4)

Frames = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table."""

    name: str
    median_ms: float
    p99_ms: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="judge with this bundle; else bricks are learned")
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="partgate-openvino-") as folder:
        home = Path(folder)
        bundle = Bundle.open(arguments.bundle, trusted=None) if arguments.bundle else learned(home, 2048)
        figures = [*opening(bundle, home / "engines"), *parts(bundle, arguments.rounds)]
        figures += changeover(bundle, arguments.rounds)
        for line in precision_lines(bundle, home / "engines"):
            print(line)
    for figure in figures:
        print(f"{figure.name:<44} median {figure.median_ms:8.2f} ms   p99 {figure.p99_ms:8.2f} ms")


def learned(home: Path, bank_rows: int) -> Bundle:
    """Learn the bricks."""
    from partgate_engines.anomaly import GoodImage, LearnSettings, learn

    good = [GoodImage(pixels=draw_part(LINE, n).image, origin=str(n)) for n in range(LEARNED_FROM)]
    found = learn(good, settings=LearnSettings(bank_rows=bank_rows), graphs=home / "graphs")
    return found.save(home / "bundles", product="brick", good=good)


def opening(bundle: Bundle, engines: Path) -> Iterator[Figure]:
    """Open a runtime with nothing kept, with the engine kept, and where the graph is resident."""
    options = OpenVinoOptions(engines=engines, precision="f32")
    with contextlib.closing(OpenVinoRuntime(bundle, OpenVinoOptions(), resident=ResidentEngines())):
        yield _opened("opened cold, the engine compiled and kept", bundle, options, ResidentEngines())
        for _ in range(3):
            yield _opened("opened with the engine kept", bundle, options, ResidentEngines())
        resident = ResidentEngines()
        _opened("", bundle, options, resident)
        yield _opened("opened beside a product with the same graph", bundle, options, resident)


def _opened(name: str, bundle: Bundle, options: OpenVinoOptions, resident: ResidentEngines) -> Figure:
    started_s = time.perf_counter()
    OpenVinoRuntime(bundle, options, resident=resident).close()
    taken_ms = (time.perf_counter() - started_s) * 1000
    return Figure(name=name, median_ms=taken_ms, p99_ms=taken_ms)


def precision_lines(bundle: Bundle, engines: Path) -> Iterator[str]:
    """Let the precision be chosen and say what it was chosen by."""
    OpenVinoRuntime(bundle, OpenVinoOptions(engines=engines), resident=ResidentEngines()).close()
    choice = precision_choice(bundle, engines)
    for trial in choice.trials if choice else ():
        yield f"precision {trial.precision}: {trial.outcome}, {trial.why}"


def parts(bundle: Bundle, rounds: int) -> list[Figure]:
    """Judge parts of several frames in every mode; all modes must say the same."""
    frames = [draw_part(LINE, number).image for number in range(100, 100 + max(PER_PART))]
    with contextlib.ExitStack() as stack:
        modes = {
            "one after the other": (_runtime(stack, bundle, OpenVinoOptions(mode="latency")), _one_by_one),
            "handed over, latency": (_runtime(stack, bundle, OpenVinoOptions(mode="latency")), _together),
            "handed over, throughput": (
                _runtime(stack, bundle, OpenVinoOptions(mode="throughput", cameras=2)), _together,
            ),
        }  # fmt: skip
        said = [judge(runtime, frames) for runtime, judge in modes.values()]
        np.testing.assert_allclose(said[1:], [said[0]] * (len(said) - 1), rtol=1e-4)
        arms: dict[str, Callable[[], object]] = {
            f"{count} frames, {name}": partial(judge, runtime, frames[:count])
            for count in PER_PART
            for name, (runtime, judge) in modes.items()
        }
        return timed(arms, rounds)


def changeover(bundle: Bundle, rounds: int) -> list[Figure]:
    """Judge with two resident products in turn, and with one of them twice."""
    frame = draw_part(LINE, 100).image
    resident = ResidentEngines()
    with contextlib.ExitStack() as stack:
        first, second = (
            stack.enter_context(contextlib.closing(OpenVinoRuntime(each, resident=resident)))
            for each in (bundle, replace(bundle, id="other"))
        )
        arms: dict[str, Callable[[], object]] = {
            "the frame before a changeover": lambda: first.judge(frame),
            "the first frame after it": lambda: second.judge(frame),
            "and the next": lambda: second.judge(frame),
        }
        return timed(arms, rounds)


def timed(arms: dict[str, Callable[[], object]], rounds: int) -> list[Figure]:
    """Do every arm's work in turn, after three rounds to warm up."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(rounds + 3):
        for name, work in arms.items():
            started_s = time.perf_counter()
            work()
            if number >= 3:
                times[name].append((time.perf_counter() - started_s) * 1000)
    return [
        Figure(name=name, median_ms=statistics.median(found), p99_ms=float(np.percentile(found, 99)))
        for name, found in times.items()
    ]


def _runtime(stack: contextlib.ExitStack, bundle: Bundle, options: OpenVinoOptions) -> OpenVinoRuntime:
    return stack.enter_context(contextlib.closing(OpenVinoRuntime(bundle, options)))


def _one_by_one(runtime: OpenVinoRuntime, frames: Frames) -> list[float]:
    return [score for frame in frames for score in _together(runtime, [frame])]


def _together(runtime: OpenVinoRuntime, frames: Frames) -> list[float]:
    answers = runtime.scores(frames, [()] * len(frames))
    errors = [answer for answer in answers if isinstance(answer, Exception)]
    if errors:
        raise errors[0]
    return [answer for answer in answers if isinstance(answer, float)]


if __name__ == "__main__":
    main()
