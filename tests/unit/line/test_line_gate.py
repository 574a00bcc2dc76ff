"""A runtime judges parts only after it has said of golden frames what the bundle says."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from one_by_one import OneByOne
from partgate.line._gate import open_through_gate, pass_gate
from partgate.line._golden import IN_SERVICE, GoldenCheck
from partgate.records import Home, Proofs
from partgate_engines import (
    AnomalyResult,
    Bundle,
    Calibration,
    GoldenFrame,
    Manifest,
    ParityFailed,
    RuntimeFacts,
    Source,
    fingerprint_of,
)
from partgate_engines._engine_cache import EngineCache, EngineKey
from partgate_engines._manifest import Golden, GoldenEntry
from partgate_station import Region, Thresholds

THRESHOLDS = Thresholds(review=10.0, reject=20.0)
GOLDEN = tuple(
    GoldenFrame(
        name=f"golden {number}",
        pixels=np.full((8, 8), number, np.uint8),
        score=float(number),
        anomaly_map=np.full((2, 2), number, np.float32),
    )
    for number in range(5)
)


@dataclass
class Brightness(OneByOne):
    """Scores a frame by its brightness, and adds something."""

    adds: float = 0.0
    driver: str = "1.0"
    name: str = "brightness"
    judged: int = 0
    closed: int = 0

    @property
    def facts(self) -> RuntimeFacts:
        return RuntimeFacts(device="a device", driver=self.driver, version="1", precision="f32")

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        self.judged += 1
        score = float(frame.mean()) + self.adds
        return AnomalyResult(score=score, anomaly_map=np.full((2, 2), score, np.float32))

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    calibration = Calibration(
        thresholds=THRESHOLDS, method="leave-one-out", scores=(1.0,), promise="for a test"
    )
    golden = Golden(
        sha256="4" * 64,
        references="torch 2",
        frames=tuple(GoldenEntry(name=frame.name, score=frame.score) for frame in GOLDEN),
    )
    manifest = Manifest(
        product="tile", kind="patchcore", backbone="b", layers=("l",), size_px=32, grid=(2, 2), features=3,
        weights_sha256="1" * 64, graph_sha256="2" * 64, bank_sha256="3" * 64, golden=golden, bank_rows=1,
        bank_rows_learned=1, coverage=0.0, seed=0, good=(Source(origin="a", pixels_sha256="5" * 64),),
        calibration=calibration, learned_at=datetime.now(UTC), partgate="0", libraries={},
    )  # fmt: skip
    return Bundle(folder=tmp_path, id="b" * 64, manifest=manifest, signer="trainer-1")


@pytest.fixture
def proofs(tmp_path: Path) -> Proofs:
    return Proofs(Home.open(tmp_path / "home"))


WAYS = 2
"""A runtime is asked for each golden frame's score and for its map: parts get the one, people the other."""


def test_the_gate_is_passed_once_and_then_only_looked_at(bundle: Bundle, proofs: Proofs) -> None:
    first, second = Brightness(), Brightness()
    report = pass_gate(bundle, first, GOLDEN, proofs)
    assert report.passed
    assert first.judged == WAYS * len(GOLDEN)
    assert pass_gate(bundle, second, GOLDEN, proofs) == report
    assert second.judged == WAYS * IN_SERVICE


def test_a_new_driver_passes_the_whole_gate_again(bundle: Bundle, proofs: Proofs) -> None:
    pass_gate(bundle, Brightness(), GOLDEN, proofs)
    updated = Brightness(driver="1.1")
    assert pass_gate(bundle, updated, GOLDEN, proofs).fingerprint.driver == "1.1"
    assert updated.judged == WAYS * len(GOLDEN)


def test_a_runtime_that_is_wrong_is_refused_and_that_is_kept(bundle: Bundle, proofs: Proofs) -> None:
    wrong = Brightness(adds=0.1)
    with pytest.raises(ParityFailed, match=r"golden 0: the score is 0\.1, expected 0") as refused:
        pass_gate(bundle, wrong, GOLDEN, proofs)
    assert refused.value.exit_code == 65
    report = pass_gate(bundle, Brightness(), GOLDEN, proofs)
    assert report.passed, "a failed proof does not stand in the way of a runtime that has been mended"


def test_a_proof_does_not_help_a_runtime_that_is_wrong_now(bundle: Bundle, proofs: Proofs) -> None:
    pass_gate(bundle, Brightness(), GOLDEN, proofs)
    wrong, contradicted = Brightness(adds=0.1), list[str]()
    with pytest.raises(ParityFailed, match="the score is"):
        pass_gate(bundle, wrong, GOLDEN, proofs, on_contradiction=contradicted.append)
    (why,) = contradicted
    assert why.startswith("golden 0: the score is")
    assert wrong.judged == WAYS * IN_SERVICE
    assert proofs.get(fingerprint_of(bundle, wrong), bundle.manifest) is None, "it is refuted"


def test_what_was_never_proven_contradicts_nothing(bundle: Bundle, proofs: Proofs) -> None:
    contradicted: list[str] = []
    for _ in range(2):
        with pytest.raises(ParityFailed):
            pass_gate(bundle, Brightness(adds=0.1), GOLDEN, proofs, on_contradiction=contradicted.append)
    assert contradicted == []


def test_a_proof_of_fewer_frames_does_not_shorten_the_gate(bundle: Bundle, proofs: Proofs) -> None:
    report = pass_gate(bundle, Brightness(), GOLDEN, proofs)
    proofs.put(report.model_copy(update={"frames": report.frames[:IN_SERVICE]}))
    again = Brightness()
    assert len(pass_gate(bundle, again, GOLDEN, proofs).frames) == len(GOLDEN)
    assert again.judged == WAYS * len(GOLDEN)


@dataclass
class Kept:
    """Opens runtimes whose engine is kept in a folder: what it adds to the right answer."""

    folder: Path
    compiles_to: float = 0.0
    opened: list[Brightness] = field(default_factory=list)

    key = EngineKey(
        graph_sha256="2" * 64, device="a device", capability="c", driver="", flavour="openvino", version="1",
        precision="f32", profile="p",
    )  # fmt: skip

    def keep(self, adds: float) -> None:
        """Keep an engine that is whole, and answers with something added."""
        self._cache.drop(self.key)
        self._cache.get(self.key, lambda: str(adds).encode())

    def open(self) -> Brightness:
        plan = self._cache.get(self.key, lambda: str(self.compiles_to).encode())
        self.opened.append(Brightness(adds=float(plan), name="openvino"))
        return self.opened[-1]

    @property
    def _cache(self) -> EngineCache:
        return EngineCache(self.folder / "openvino")


@pytest.mark.parametrize("proven", [False, True], ids=["never-proven", "proven-before"])
def test_a_kept_engine_that_answers_wrongly_is_replaced(
    proven: bool, bundle: Bundle, proofs: Proofs, tmp_path: Path
) -> None:
    kept = Kept(folder=tmp_path / "graphs")
    if proven:
        open_through_gate(bundle, kept.open, GOLDEN, proofs, engines=kept.folder)
    kept.keep(0.1)
    runtime, report = open_through_gate(bundle, kept.open, GOLDEN, proofs, engines=kept.folder)
    wrong, right = kept.opened[-2:]
    assert runtime is right
    assert (wrong.closed, right.closed) == (1, 0)
    assert report.passed
    assert right.judged == WAYS * len(GOLDEN), "the proof of before does not hold for what is compiled anew"
    assert proofs.get(report.fingerprint, bundle.manifest) == report
    assert kept.open().adds == 0


def test_what_is_wrong_when_compiled_anew_is_refused(bundle: Bundle, proofs: Proofs, tmp_path: Path) -> None:
    kept = Kept(folder=tmp_path / "graphs", compiles_to=0.1)
    with pytest.raises(ParityFailed, match="the score is"):
        open_through_gate(bundle, kept.open, GOLDEN, proofs, engines=kept.folder)
    assert [runtime.closed for runtime in kept.opened] == [1, 1]
    found = proofs.get(fingerprint_of(bundle, kept.opened[0]), bundle.manifest)
    assert found is not None
    assert not found.passed


def test_in_service_a_runtime_is_held_to_its_own_answers(bundle: Bundle) -> None:
    runtime = Brightness(adds=0.005)
    check = GoldenCheck.of(bundle, runtime, GOLDEN)
    assert len(check.frames) == IN_SERVICE
    assert [check.problem(runtime, number) for number in range(IN_SERVICE)] == [None] * IN_SERVICE
    runtime.adds = 0.1
    said = [check.problem(runtime, number) or "" for number in range(IN_SERVICE)]
    assert [one[:8] for one in said] == ["golden 0", "golden 1", "golden 2"]
