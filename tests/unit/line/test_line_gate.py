"""A runtime judges parts only after it has said of golden frames what the bundle says."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from one_by_one import OneByOne
from partgate.line._gate import pass_gate
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
)
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

    @property
    def facts(self) -> RuntimeFacts:
        return RuntimeFacts(device="a device", driver=self.driver, version="1", precision="f32")

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        self.judged += 1
        score = float(frame.mean()) + self.adds
        return AnomalyResult(score=score, anomaly_map=np.full((2, 2), score, np.float32))

    def close(self) -> None: ...


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
    with pytest.raises(ParityFailed, match="the score is"):
        pass_gate(bundle, Brightness(adds=0.1), GOLDEN, proofs)


def test_in_service_a_runtime_is_held_to_its_own_answers(bundle: Bundle) -> None:
    runtime = Brightness(adds=0.005)
    check = GoldenCheck.of(bundle, runtime, GOLDEN)
    assert len(check.frames) == IN_SERVICE
    assert [check.problem(runtime, number) for number in range(IN_SERVICE)] == [None] * IN_SERVICE
    runtime.adds = 0.1
    said = [check.problem(runtime, number) or "" for number in range(IN_SERVICE)]
    assert [one[:8] for one in said] == ["golden 0", "golden 1", "golden 2"]
