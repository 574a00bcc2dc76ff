"""Proofs of parity survive a restart, and one that cannot be read counts as none."""

from datetime import UTC, datetime
from pathlib import Path

from partgate.records import Home, Proofs
from partgate_engines import Fingerprint, ParityReport

FINGERPRINT = Fingerprint(
    device="a device", driver="1", runtime="openvino", runtime_version="2", precision="f32", bundle="b" * 64,
    graph_sha256="c" * 64, bank_sha256="d" * 64, golden_sha256="e" * 64,
)  # fmt: skip


def report(*problems: str) -> ParityReport:
    return ParityReport(
        fingerprint=FINGERPRINT, references="torch 2", bound="", frames=(), rank_correlation=1.0,
        problems=problems, at=datetime.now(UTC), seconds=0.1,
    )  # fmt: skip


def test_a_report_is_found_again_for_its_machine_alone(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    assert Proofs(home).get(FINGERPRINT) is None
    kept = report()
    Proofs(home).put(kept)
    assert Proofs(home).get(FINGERPRINT) == kept
    for field in Fingerprint.model_fields:
        assert Proofs(home).get(FINGERPRINT.model_copy(update={field: "another"})) is None, field


def test_a_later_report_takes_the_place_and_can_be_forgotten(tmp_path: Path) -> None:
    proofs = Proofs(Home.open(tmp_path / "home"))
    proofs.put(report())
    proofs.put(report("the map differs"))
    found = proofs.get(FINGERPRINT)
    assert found is not None
    assert not found.passed
    proofs.forget(FINGERPRINT)
    proofs.forget(FINGERPRINT)
    assert proofs.get(FINGERPRINT) is None


def test_a_damaged_report_counts_as_none(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    Proofs(home).put(report())
    (path,) = home.parity_path.iterdir()
    path.write_bytes(path.read_bytes()[:50])
    assert Proofs(home).get(FINGERPRINT) is None


def test_a_report_of_another_machine_under_this_ones_name_counts_as_none(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    Proofs(home).put(report())
    (path,) = home.parity_path.iterdir()
    path.write_text(path.read_text().replace("a device", "b device"))
    assert Proofs(home).get(FINGERPRINT) is None
