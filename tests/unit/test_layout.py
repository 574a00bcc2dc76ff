"""The house stands as docs/decisions/0001 says, and every package says what is public."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ["inspect", "cameras", "engines", "station_config"]
PACKAGES = [
    "partgate.cli",
    "partgate.fitness",
    "partgate.line",
    "partgate.records",
    "partgate.retraining",
    "partgate.review",
    "partgate_cameras",
    "partgate_engines",
    "partgate_engines.anomaly",
    "partgate_engines.anomaly.kinds",
    "partgate_station",
]


@pytest.mark.parametrize("folder", SOURCE_ROOTS)
def test_a_source_root_is_no_package(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_pythons_own_inspect_is_not_hidden() -> None:
    import inspect

    assert Path(inspect.__file__).name == "inspect.py"


@pytest.mark.parametrize("name", PACKAGES)
def test_what_is_public_is_named_and_there(name: str) -> None:
    package = importlib.import_module(name)
    assert list(package.__all__) == sorted(package.__all__)
    for public in package.__all__:
        assert hasattr(package, public), f"{name}.{public}"


def test_every_package_ships_its_types() -> None:
    roots = ["partgate", "partgate_cameras", "partgate_engines", "partgate_station"]
    for folder, package in zip(SOURCE_ROOTS, roots, strict=True):
        assert (ROOT / folder / package / "py.typed").exists()


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_a_lock_has_hashes_and_no_addresses(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    pinned = [line for line in text.splitlines() if "==" in line]
    assert pinned
    assert text.count("--hash=sha256:") >= len(pinned)


def test_a_station_installs_without_torch() -> None:
    names = {line.split("==")[0] for line in (ROOT / "requirements/station.txt").read_text().splitlines()}
    assert not names & {"torch", "anomalib", "timm", "pytest", "opencv-python"}
    assert {"openvino", "harvesters", "opencv-python-headless"} <= names
