"""Proofs of parity survive a restart, and one that cannot be read, or contradicts itself, counts as none."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from partgate.records import Home, Proofs
from partgate_engines import Calibration, Fingerprint, Manifest, ParityReport, Source
from partgate_engines._manifest import Golden, GoldenEntry
from partgate_engines._parity import FrameParity
from partgate_station import Thresholds, Verdict

FINGERPRINT = Fingerprint(
    device="a device", driver="1", runtime="openvino", runtime_version="2", precision="f32", bundle="b" * 64,
    graph_sha256="c" * 64, bank_sha256="d" * 64, golden_sha256="e" * 64, capability="a processor",
    compiled="one stream", gate=2,
)  # fmt: skip
FRAMES = tuple(
    FrameParity(
        name=f"golden {number}", reference=number, here=number, score_difference=0, map_difference=0,
        expected=Verdict.ACCEPT, verdict=Verdict.ACCEPT,
    )
    for number in range(3)
)  # fmt: skip
MANIFEST = Manifest(
    product="tile", kind="patchcore", backbone="b", layers=("l",), size_px=32, grid=(2, 2), features=3,
    weights_sha256="1" * 64, graph_sha256="c" * 64, bank_sha256="d" * 64, bank_rows=1, bank_rows_learned=1,
    golden=Golden(
        sha256="e" * 64,
        references="torch 2",
        frames=tuple(GoldenEntry(name=frame.name, score=frame.reference) for frame in FRAMES),
    ),
    coverage=0.0, seed=0, good=(Source(origin="a", pixels_sha256="5" * 64),),
    calibration=Calibration(
        thresholds=Thresholds(review=10.0, reject=20.0), method="leave-one-out", scores=(1.0,), promise="a",
    ),
    learned_at=datetime.now(UTC), partgate="0", libraries={},
)  # fmt: skip


def report(*problems: str) -> ParityReport:
    return ParityReport(
        fingerprint=FINGERPRINT, references="torch 2", bound="", frames=FRAMES, rank_correlation=1.0,
        problems=problems, at=datetime.now(UTC), seconds=0.1,
    )  # fmt: skip


def found(home: Home, fingerprint: Fingerprint = FINGERPRINT) -> ParityReport | None:
    return Proofs(home).get(fingerprint, MANIFEST)


def test_a_report_is_found_again_for_its_machine_alone(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    assert found(home) is None
    kept = report()
    Proofs(home).put(kept)
    assert found(home) == kept
    for name, value in FINGERPRINT:
        other = value + 1 if isinstance(value, int) else "another"
        assert found(home, FINGERPRINT.model_copy(update={name: other})) is None, name


def test_a_later_report_takes_the_place_and_can_be_forgotten(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    proofs = Proofs(home)
    proofs.put(report())
    proofs.put(report("the map differs"))
    later = found(home)
    assert later is not None
    assert not later.passed
    proofs.forget(FINGERPRINT)
    proofs.forget(FINGERPRINT)
    assert found(home) is None


def test_a_damaged_report_counts_as_none(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    Proofs(home).put(report())
    (path,) = home.parity_path.iterdir()
    path.write_bytes(path.read_bytes()[:50])
    assert found(home) is None


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param((), id="none"),
        pytest.param(FRAMES[:2], id="fewer"),
        pytest.param((*FRAMES, FRAMES[0]), id="more"),
        pytest.param((*FRAMES[:2], FRAMES[2].model_copy(update={"here": 2.1})), id="another-score"),
        pytest.param((*FRAMES[:2], FRAMES[2].model_copy(update={"here": 15.0})), id="another-verdict"),
        pytest.param((*FRAMES[:2], FRAMES[2].model_copy(update={"problem": "no size"})), id="refused"),
    ],
)
def test_a_report_that_its_frames_contradict_counts_as_none(
    frames: tuple[FrameParity, ...], tmp_path: Path
) -> None:
    home = Home.open(tmp_path / "home")
    Proofs(home).put(report().model_copy(update={"frames": frames}))
    with capture_logs() as logs:
        assert found(home) is None
    assert [entry["log_level"] for entry in logs] == ["warning"]


def test_a_report_of_before_counts_as_none(tmp_path: Path) -> None:
    """Fingerprints once named neither processor features nor how a graph was compiled."""
    home = Home.open(tmp_path / "home")
    Proofs(home).put(report())
    (path,) = home.parity_path.iterdir()
    said = json.loads(path.read_text())
    for name in ("capability", "compiled", "gate"):
        del said["fingerprint"][name]
    path.write_text(json.dumps(said))
    assert found(home) is None


def test_a_report_of_another_machine_under_this_ones_name_counts_as_none(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    Proofs(home).put(report())
    (path,) = home.parity_path.iterdir()
    path.write_text(path.read_text().replace("a device", "b device"))
    assert found(home) is None
