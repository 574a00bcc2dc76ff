"""A steady stream of parts: how many a second, and how late each verdict is at a line's rate.

Closed loop: the next frame as soon as the last is judged. Open loop: frames come at a fixed rate
whether or not the last is judged, and a latency counts from the moment the frame was due, so that who
falls behind is seen to. A peer that cannot keep up gets later with every frame: its figures then say how
long the run was, and the note says so.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import _ours, _peer
from benchmarks._arms import Answers, Arm, Work, arm, interval
from benchmarks._bundles import LEARNED_FROM, LITE0, learned_product, saved, weights_of
from benchmarks._frames import Pixels, parts
from benchmarks._result import Result, result
from benchmarks.judging import same_scores
from partgate_engines import Bundle

RATES = (10, 17, 33)
FRAMES = 20
_FRAMES_PER_ROUND = 10
_ENOUGH_FOR_P99_9 = 10_000
_BEHIND = 1.5  # periods by which the last frames may be later than the first

Judge = Callable[[Pixels], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Frames to be judged one after the other."""

    frames: int
    rate: float | None
    """Frames per second; None for the next as soon as the last is done."""


def our_arm(bundle: Path, streams: Sequence[Stream]) -> Work:
    """Score streams with the bundle's graph."""
    found, runtime = _ours.opened(bundle)
    del found
    return _work(
        partial(_ours.score, runtime), streams, lambda frame: float(runtime.judge(frame).anomaly_map.max())
    )


def peer_arm(bundle: Path, weights: Path | None, streams: Sequence[Stream]) -> Work:
    """Judge streams with anomalib's torch model."""
    return _work(_peer.torch_scorer(Bundle.open(bundle, trusted=None), weights), streams)


def _work(judge: Judge, streams: Sequence[Stream], prove: Judge | None = None) -> Work:
    frames = parts(FRAMES, first=LEARNED_FROM)
    proof = [(prove or judge)(frame) for frame in frames]
    each: Iterator[Stream] = iter(streams)
    return Work(run=lambda: latencies_ms(judge, frames, next(each)), facts={}, proof=proof)


def latencies_ms(judge: Judge, frames: Sequence[Pixels], stream: Stream) -> Answers:
    """Judge a stream and return how late each answer came, from when its frame was due."""
    started_s = time.perf_counter()
    took: Answers = []
    for number in range(stream.frames):
        due_s = time.perf_counter() if stream.rate is None else started_s + number / stream.rate
        if (early_s := due_s - time.perf_counter()) > 0:
            time.sleep(early_s)
        judge(frames[number % len(frames)])
        took.append(1000 * (time.perf_counter() - due_s))
    return took


def run(*, rounds: int, folder: Path) -> list[Result]:
    """Compare throughput in turn, then latency at each rate; ten frames of every rate per round."""
    closed = [Stream(frames=FRAMES, rate=None)] * (1 + rounds)
    opened = [Stream(frames=_FRAMES_PER_ROUND * rounds, rate=rate) for rate in RATES]
    bundle, weights = saved(learned_product(folder), folder).folder, weights_of(LITE0, folder)
    told = {"bundle": bundle, "streams": [*closed, *opened]}
    with arm(our_arm, **told) as ours, arm(peer_arm, weights=weights, **told) as other:
        same_scores(ours.proof, other.proof, tolerance=_ours.SAME_REDUCED)
        results = [_throughput(ours, other, rounds)]
        for stream in opened:
            results += _latency(stream, ours.round()[1], other.round()[1])
    return results


def _throughput(ours: Arm, other: Arm, rounds: int) -> Result:
    for one in (ours, other):
        one.round()  # warms up
    pairs = [(sum(ours.round()[1]), sum(other.round()[1])) for _ in range(rounds)]
    ratios = [theirs / own for own, theirs in pairs]
    own_ms, their_ms = (float(np.median(took)) for took in zip(*pairs, strict=True))
    return result(
        "steady stream, parts per second, against anomalib's torch model",
        ours=1000 * FRAMES / own_ms,
        other=1000 * FRAMES / their_ms,
        ratio=float(np.median(ratios)),
        interval=interval(ratios),
        unit="parts/s",
        n=rounds * FRAMES,
        note="EfficientNet-Lite0 at 256 px, bank of 2,048; closed loop",
    )


def _latency(stream: Stream, own_ms: Answers, their_ms: Answers) -> list[Result]:
    note = f"open loop, from when the frame was due{_fallen_behind(stream, own_ms, their_ms)}"
    say = partial(result, n=stream.frames, note=note)
    quantile: dict[str, Callable[[NDArray[np.float64]], float]] = {
        "p50": lambda took: float(np.quantile(took, 0.5)),
        "p99": lambda took: float(np.quantile(took, 0.99)),
        "max": lambda took: float(took.max()),
    }
    if stream.frames >= _ENOUGH_FOR_P99_9:
        quantile["p99.9"] = lambda took: float(np.quantile(took, 0.999))
    return [
        say(
            f"{stream.rate} parts a second, {name} of the latency, against anomalib's torch model",
            ours=of(np.array(own_ms)),
            other=of(np.array(their_ms)),
        )
        for name, of in quantile.items()
    ]


def _fallen_behind(stream: Stream, own_ms: Answers, their_ms: Answers) -> str:
    who = [name for name, took in (("ours", own_ms), ("anomalib", their_ms)) if behind(stream, took)]
    return f"; {' and '.join(who)} did not keep up" if who else ""


def behind(stream: Stream, took: Answers) -> bool:
    """Return whether answers came ever later: the last tenth by more than a frame against the first."""
    if stream.rate is None:
        return False
    tenth = max(len(took) // 10, 1)
    return float(np.median(took[-tenth:]) - np.median(took[:tenth])) > 1000 * _BEHIND / stream.rate
