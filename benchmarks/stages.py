"""Where the time of one judgement goes: stages that add up to the whole.

The runtime is left as it is; what it calls is watched: `Placement.cut`, OpenVINO's requests and, around
both, the graph's own `run_in_halves`, whose time without theirs is the stage "hand over": Python that binds
arrays and stitches the map. Inside the inference, OpenVINO's own profile says which operator took how long,
and each is counted to the resize, the backbone or the head by where it stands: the backbone's operators
carry the name of the feature extractor, what runs before the first of them is the resize, what runs after is
the head. So is all of the map's half, which begins with the features.

The stages come from the watch, the whole from a clock around `judge`; what the stages leave is not known
to any. Watching costs time itself: the whole is told with and without it.
"""

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any

from benchmarks import _ours
from benchmarks._arms import Arm, Work, arm
from benchmarks._bundles import LITE0, RESNET18, Backbone, learned_product, saved
from benchmarks._frames import Pixels, large_frames, parts
from benchmarks._result import Bound, Result, result

FIRST = 40
BOUND = Bound(value=0.98)  # of the whole, by the stages that were measured
_ROUNDS_DROPPED = 3
_BACKBONE = "feature_extractor"

# What OpenVINO's requests are asked for, and to which stage it belongs.
_REQUEST = {
    "set_tensor": "bind",
    "infer": "infer",
    "start_async": "infer",
    "wait": "infer",
    "wait_for": "infer",
    "get_tensor": "read",
}
_RUNS = ("infer", "start_async")
PARTS = ("resize", "backbone", "head")
TOTALS = ("whole", "cut", "hand over", "bind", "infer", "read", *PARTS)


class Watch:
    """Adds up what is spent in which stage; what a watched call spends in another one is the other's."""

    def __init__(self) -> None:
        self.spent_ms: dict[str, float] = defaultdict(float)
        self.runs: Counter[Any] = Counter()
        """OpenVINO's requests, and how often each was run."""
        self._inner_ms = [0.0]
        """Of every call that is under way, what it has spent in watched calls."""

    def around(self, call: Callable[..., Any], stage: str) -> Callable[..., Any]:
        """Return the same call, watched."""

        @wraps(call)
        def watched(*arguments: Any, **named: Any) -> Any:
            if getattr(call, "__name__", None) in _RUNS:
                self.runs[arguments[0]] += 1
            self._inner_ms.append(0.0)
            started_s = time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                took_ms = 1000 * (time.perf_counter() - started_s)
                self.spent_ms[stage] += took_ms - self._inner_ms.pop()
                self._inner_ms[-1] += took_ms

        return watched


def watched_arm(bundle: Path, large: bool) -> Work:  # noqa: FBT001 - arms take what they are given by name
    """Judge a frame under the watch; the answers are milliseconds since the start, as in `TOTALS`."""
    import openvino  # type: ignore[import-untyped]  # the wheel ships no annotations

    from partgate_engines import _openvino, _openvino_bands, _placement

    watch = Watch()
    _profile(openvino)
    for method, stage in _REQUEST.items():
        watched = watch.around(getattr(openvino.InferRequest, method), stage)
        setattr(openvino.InferRequest, method, watched)
    cut = watch.around(_placement.Placement.cut, "cut")
    _placement.Placement.cut = cut  # type: ignore[method-assign]  # nobody offers to be watched
    blocks = watch.around(_openvino_bands.Bands.cut, "cut")
    _openvino_bands.Bands.cut = blocks  # type: ignore[method-assign]  # likewise
    run = watch.around(_openvino.OpenVinoGraph.run_in_halves, "hand over")
    _openvino.OpenVinoGraph.run_in_halves = run  # type: ignore[method-assign]  # likewise
    # Not the others' engines: these are compiled with their profile.
    runtime = _ours.opened(bundle, "watched-engines")[1]
    frame = _frame(large=large)
    watch.runs.clear()  # what was run to choose a precision was run by other engines

    def judged() -> list[float]:
        started_s = time.perf_counter()
        runtime.judge(frame)
        watch.spent_ms["whole"] += 1000 * (time.perf_counter() - started_s)
        spent = watch.spent_ms | _inside(watch.runs)
        return [spent[total] for total in TOTALS]

    return Work(run=judged, facts={})


def plain_arm(bundle: Path, large: bool) -> Work:  # noqa: FBT001 - likewise
    """Judge a frame unwatched."""
    runtime, frame = _ours.opened(bundle)[1], _frame(large=large)
    return Work(run=lambda: [float(runtime.judge(frame).anomaly_map.max())], facts={})


def _frame(*, large: bool) -> Pixels:
    return large_frames(1, colour=False, first=FIRST)[0] if large else parts(1, first=FIRST)[0]


def _profile(openvino: Any) -> None:
    """Have every graph compiled with its profile."""
    compile_model = openvino.Core.compile_model
    import_model = openvino.Core.import_model

    def compiled(core: Any, model: Any, device: Any = None, config: Any = None, **named: Any) -> Any:
        return compile_model(core, model, device, {**(config or {}), "PERF_COUNT": True}, **named)

    def imported(core: Any, stream: Any, device: Any, config: Any = None, **named: Any) -> Any:
        return import_model(core, stream, device, {**(config or {}), "PERF_COUNT": True}, **named)

    openvino.Core.compile_model = compiled
    openvino.Core.import_model = imported


def _operators(request: Any, runs: int) -> list[tuple[str, float]]:
    """Return the names and total milliseconds of the operators that a request ran, in their order.

    OpenVINO's profile has each operator's mean over all runs.
    """
    return [
        (info.node_name, runs * info.real_time.total_seconds() * 1000)
        for info in request.get_profiling_info()
        if info.real_time.total_seconds() > 0
    ]


def _inside(runs: Mapping[Any, int]) -> dict[str, float]:
    """Return what all requests' operators took: of those that begin with features all is the head's."""
    total = dict.fromkeys(PARTS, 0.0)
    for request, count in runs.items():
        operators = _operators(request, count)
        has_frames = any("frames" in one.names for one in request.model_inputs)
        found = by_part(operators) if has_frames else {"head": sum(took for _, took in operators)}
        for part, took_ms in found.items():
            total[part] += took_ms
    return total


def by_part(operators: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Count an inference's operators to resize, backbone and head."""
    inside = [number for number, (name, _) in enumerate(operators) if _BACKBONE in name]
    if not inside:
        raise AssertionError(f"no operator is named {_BACKBONE}; the graph has another shape than known")
    first, last = inside[0], inside[-1]
    took = [took_ms for _, took_ms in operators]
    return {
        "resize": sum(took[:first]),
        "backbone": sum(took[first : last + 1]),
        "head": sum(took[last + 1 :]),
    }


def run(*, rounds: int, folder: Path) -> list[Result]:
    """Account for a small frame and a large one, on both backbones."""
    results: list[Result] = []
    for backbone, large, rows in ((LITE0, False, 2048), (RESNET18, True, 2048)):
        learned = learned_product(folder, backbone=backbone, bank_rows=rows)
        bundle = saved(learned, folder, backbone=backbone).folder
        told = {"bundle": bundle, "large": large}
        with arm(watched_arm, **told) as watched, arm(plain_arm, **told) as plain:
            results += _accounted(watched, plain, rounds, _title(backbone, large=large))
    return results


def _title(backbone: Backbone, *, large: bool) -> str:
    return f"{backbone.title}, {'5 Mpx grey' if large else '320 px'} frame, bank of 2,048"


def _accounted(watched: Arm, plain: Arm, rounds: int, title: str) -> list[Result]:
    for _ in range(_ROUNDS_DROPPED):
        begun = watched.round()[1]
        plain.round()
    took = [(watched.round()[1], plain.round()[0]) for _ in range(rounds)]
    ended, unwatched_ms = took[-1][0], statistics.median(ms for _, ms in took)
    means = {total: (last - first) / rounds for total, first, last in zip(TOTALS, begun, ended, strict=True)}
    stages = stages_of(means)
    whole_ms = means["whole"]
    say = partial(result, other=whole_ms, unit="ms", n=rounds)
    together = say(
        f"stages of a judgement together, against the whole, {title}",
        ours=sum(stages.values()),
        ratio=sum(stages.values()) / whole_ms,
        bound=BOUND,
        note=f"means; unwatched, the whole takes {unwatched_ms:.2f} ms; what the stages leave no watch saw",
    )
    return [together, *(_stage(say, name, ms, whole_ms) for name, ms in stages.items())]


def stages_of(means: Mapping[str, float]) -> dict[str, float]:
    """Return what each stage takes, the inference divided by its operators."""
    inside = {part: means[part] for part in PARTS}
    between = means["infer"] - sum(inside.values())
    before = {stage: means[stage] for stage in ("cut", "hand over", "bind")}
    return {**before, **inside, "between operators": between, "read": means["read"]}


def _stage(say: Callable[..., Result], name: str, took_ms: float, whole_ms: float) -> Result:
    share = "the ratio is its share of the whole"
    return say(f"stage of it: {name}", ours=took_ms, ratio=took_ms / whole_ms, note=share)
