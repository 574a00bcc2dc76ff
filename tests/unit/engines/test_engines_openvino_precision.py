"""Which precision is taken on the CPU: the fastest that says the same, measured once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from one_by_one import OneByOne
from partgate_engines import (
    AnomalyResult,
    Bundle,
    GoldenFrame,
    GraphRefused,
    OpenVinoOptions,
    PrecisionChoice,
    RuntimeFacts,
    open_runtime,
    precision_choice,
)
from partgate_engines._openvino_device import Precision, capabilities
from partgate_engines._openvino_engines import FOLDER, ResidentEngines
from partgate_engines._openvino_precision import choose_precision
from partgate_engines._openvino_runtime import OpenVinoRuntime
from partgate_station import Region

F32: Precision = "f32"
ALL: tuple[Precision, ...] = ("f32", "bf16", "f16")


@dataclass
class Bench:
    """A processor of paper: how long a frame takes in each precision, and which ones say the same."""

    frames: Sequence[GoldenFrame]
    takes_ms: dict[Precision, float]
    wrong: frozenset[Precision] = frozenset()
    missing: frozenset[Precision] = frozenset()
    opened: list[Precision] = field(default_factory=list)
    closed: list[Precision] = field(default_factory=list)
    now_s: float = 1000.0

    def clock_s(self) -> float:
        return self.now_s

    def open_in(self, precision: Precision) -> "Measured":
        if precision in self.missing:
            raise GraphRefused(f"no kernel in {precision}")
        self.opened.append(precision)
        return Measured(self, precision)


@dataclass
class Measured(OneByOne):
    bench: Bench
    precision: Precision
    name: str = "openvino"

    @property
    def facts(self) -> RuntimeFacts:
        return RuntimeFacts(device="paper", driver="", version="1", precision=self.precision)

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        self.bench.now_s += self.bench.takes_ms[self.precision] / 1000
        (known,) = [golden for golden in self.bench.frames if np.array_equal(golden.pixels, frame)]
        score, anomaly_map = known.score, known.anomaly_map.copy()
        if self.precision in self.bench.wrong:
            anomaly_map = anomaly_map[::-1].copy()
        return AnomalyResult(score=score, anomaly_map=anomaly_map)

    def close(self) -> None:
        self.bench.closed.append(self.precision)


def choose(bundle: Bundle, engines: Path, bench: Bench, among: Sequence[Precision] = ALL) -> PrecisionChoice:
    return choose_precision(bundle, engines, open_in=bench.open_in, candidates=among, clock_s=bench.clock_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    takes_ms: dict[Precision, float]
    chosen: Precision
    outcomes: dict[Precision, str]
    wrong: frozenset[Precision] = frozenset()
    missing: frozenset[Precision] = frozenset()


CASES = {
    "a faster one that says the same is taken": Case(
        takes_ms={"f32": 26.0, "bf16": 3.6, "f16": 30.0},
        chosen="bf16",
        outcomes={"bf16": "taken", "f32": "slower", "f16": "slower"},
    ),
    "a faster one that says something else is refused": Case(
        takes_ms={"f32": 26.0, "bf16": 3.6, "f16": 30.0},
        wrong=frozenset({"bf16"}),
        chosen="f32",
        outcomes={"bf16": "refused", "f32": "taken", "f16": "slower"},
    ),
    "the next fastest is taken if the fastest is refused": Case(
        takes_ms={"f32": 26.0, "bf16": 3.6, "f16": 5.0},
        wrong=frozenset({"bf16"}),
        chosen="f16",
        outcomes={"bf16": "refused", "f16": "taken", "f32": "slower"},
    ),
    "a tenth is not enough": Case(
        takes_ms={"f32": 10.0, "bf16": 9.1, "f16": 9.5},
        chosen="f32",
        outcomes={"f32": "taken", "bf16": "slower", "f16": "slower"},
    ),
    "a slower one is not taken": Case(
        takes_ms={"f32": 10.0, "bf16": 13.0, "f16": 40.0},
        chosen="f32",
        outcomes={"f32": "taken", "bf16": "slower", "f16": "slower"},
    ),
    "one that cannot be compiled is refused": Case(
        takes_ms={"f32": 10.0, "f16": 40.0},
        missing=frozenset({"bf16"}),
        chosen="f32",
        outcomes={"f32": "taken", "bf16": "refused", "f16": "slower"},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_fastest_that_says_the_same_is_taken(case: Case, bundle: Bundle, tmp_path: Path) -> None:
    bench = Bench(bundle.golden(), case.takes_ms, case.wrong, case.missing)
    choice = choose(bundle, tmp_path, bench)
    assert choice.chosen == case.chosen
    assert {trial.precision: trial.outcome for trial in choice.trials} == case.outcomes
    measured = {trial.precision: trial.median_ms for trial in choice.trials}
    assert measured == {**dict.fromkeys(ALL, None), **case.takes_ms}
    assert sorted(bench.closed) == sorted(bench.opened)
    assert precision_choice(bundle, tmp_path) == choice


def test_it_is_measured_once(bundle: Bundle, tmp_path: Path) -> None:
    first = choose(bundle, tmp_path, Bench(bundle.golden(), {"f32": 9.0, "bf16": 3.0, "f16": 9.0}))
    slower = Bench(bundle.golden(), {"f32": 1.0, "bf16": 3.0, "f16": 9.0})
    assert choose(bundle, tmp_path, slower) == first
    assert slower.opened == []


@pytest.mark.parametrize(("bf16_ms", "again"), [(3.0, True), (12.0, False)], ids=["faster", "slower"])
def test_another_model_is_measured_only_where_a_precision_is_faster(
    bf16_ms: float, again: bool, bundle: Bundle, tmp_path: Path
) -> None:
    choose(bundle, tmp_path, Bench(bundle.golden(), {"f32": 9.0, "bf16": bf16_ms, "f16": 9.0}))
    updated = replace(bundle, id="e" * 64)
    bench = Bench(bundle.golden(), {"f32": 9.0, "bf16": bf16_ms, "f16": 9.0})
    choose(updated, tmp_path, bench)
    assert bool(bench.opened) is again


def test_another_bank_processor_or_gate_is_measured_anew(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(bundle, tmp_path, Bench(bundle.golden(), {"f32": 9.0, "bf16": 12.0, "f16": 12.0}))
    larger = replace(bundle, manifest=bundle.manifest.model_copy(update={"bank_rows": 9000}))
    assert precision_choice(bundle, tmp_path) is not None
    assert precision_choice(larger, tmp_path) is None
    with monkeypatch.context() as patched:
        patched.setattr("partgate_engines._openvino_precision.processor_features", lambda: "another")
        assert precision_choice(bundle, tmp_path) is None
    monkeypatch.setattr("partgate_engines._openvino_precision.GATE", 0)
    assert precision_choice(bundle, tmp_path) is None, "other bounds might refuse what was chosen"


@pytest.mark.parametrize("content", [b"", b"{", b'{"chosen": "int4"}'], ids=["empty", "half", "unknown"])
def test_a_damaged_choice_is_measured_again(content: bytes, bundle: Bundle, tmp_path: Path) -> None:
    takes_ms: dict[Precision, float] = {"f32": 9.0, "bf16": 12.0, "f16": 12.0}
    choice = choose(bundle, tmp_path, Bench(bundle.golden(), takes_ms))
    (path,) = (tmp_path / FOLDER).glob("*.precision")
    path.write_bytes(content)
    with capture_logs() as logs:
        again = choose(bundle, tmp_path, Bench(bundle.golden(), takes_ms))
    assert [entry["event"] for entry in logs] == ["precision.unreadable", "precision.chosen"]
    assert again.trials == choice.trials
    assert precision_choice(bundle, tmp_path) == again


def test_a_choice_that_cannot_be_kept_holds_all_the_same(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    bench = Bench(bundle.golden(), {"f32": 9.0, "bf16": 3.0, "f16": 9.0})
    with capture_logs() as logs:
        assert choose(bundle, tmp_path / "file", bench).chosen == "bf16"
    assert "precision.not_kept" in [entry["event"] for entry in logs]


def test_float32_alone_is_not_measured(bundle: Bundle, tmp_path: Path) -> None:
    bench = Bench(bundle.golden(), {"f32": 9.0})
    choice = choose(bundle, tmp_path, bench, among=(F32,))
    assert choice.chosen == "f32"
    assert bench.now_s == 1000.0


def test_a_graph_that_is_refused_in_float32_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    bench = Bench(bundle.golden(), {}, missing=frozenset({F32}))
    with pytest.raises(GraphRefused):
        choose(bundle, tmp_path, bench)


def test_the_real_processor_is_measured_and_only_what_is_taken_is_kept(
    bundle: Bundle, tmp_path: Path, draw: Callable[..., NDArray[np.uint8]]
) -> None:
    runtime = OpenVinoRuntime(bundle, OpenVinoOptions(engines=tmp_path), resident=ResidentEngines())
    choice = precision_choice(bundle, tmp_path)
    assert choice is not None
    assert runtime.facts.precision == choice.chosen
    offered = {"f32"} | ({"bf16"} if "BF16" in capabilities() else set())
    assert offered <= {trial.precision for trial in choice.trials}
    assert all((trial.median_ms or 1) > 0 for trial in choice.trials)
    assert len(list((tmp_path / FOLDER).glob("*.plan"))) == 2, "with its map and without"
    assert np.isfinite(runtime.judge(draw(3)).score)
    runtime.close()


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_a_precision_that_is_asked_for_is_taken_unmeasured(
    precision: Precision, bundle: Bundle, tmp_path: Path
) -> None:
    options = OpenVinoOptions(precision=precision)  # type: ignore[arg-type]  # f16 cannot be asked for
    runtime = open_runtime(bundle, "openvino", engines=tmp_path, openvino=options)
    assert isinstance(runtime, OpenVinoRuntime)
    # What the processor does not offer OpenVINO computes in float32, and the runtime says so. With AVX-512 it
    # makes do with other instructions: bf16 is not offered there, and computed all the same.
    may_be = {precision} if precision == "f32" or "BF16" in capabilities() else {precision, "f32"}
    assert runtime.facts.precision in may_be
    assert precision_choice(bundle, tmp_path) is None
    runtime.close()


def test_without_a_home_it_is_float32(bundle: Bundle) -> None:
    runtime = open_runtime(bundle, "openvino")
    assert isinstance(runtime, OpenVinoRuntime)
    assert runtime.facts.precision == "f32"
    runtime.close()
