"""Small parts, one graph for all tests, and a product learned on it."""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines import Bundle, Signer, TrustedSigners, _cuda_thread
from partgate_engines.anomaly import GoodImage, Learned, LearnSettings, learn

Pixels = NDArray[np.uint8]


def _draw(seed: int, *, height_px: int = 96, width_px: int = 80, defect: bool = False) -> Pixels:
    """Draw a grey part: a weave under changing light, with a bright scratch if it is defective."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height_px, :width_px]
    phase = random.uniform(0, 6, 2)
    weave = 110 + 25 * np.sin(x / 3 + phase[0]) + 25 * np.sin(y / 3 + phase[1])
    pixels: Pixels = np.clip(weave + random.normal(0, 4, weave.shape), 0, 255).astype(np.uint8)
    if defect:
        start = random.integers(20, 40, 2)
        cv2.line(pixels, start.tolist(), (start + 30).tolist(), 250, 4)
    return pixels


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests that may be the first to export a graph the time to import torch and anomalib.

    That takes ten seconds on a quiet machine and has taken fifty on a busy one.
    """
    for item in items:
        if "graphs" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def draw() -> Callable[..., Pixels]:
    """Draws a part: `draw(seed, height_px=..., width_px=..., defect=...)`."""
    return _draw


@pytest.fixture(scope="session")
def settings() -> LearnSettings:
    """A small graph and a small bank."""
    return LearnSettings(size_px=64, bank_rows=200)


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of graphs, filled by whoever learns first."""
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="session")
def good() -> Sequence[GoodImage]:
    """Thirty good parts."""
    return [GoodImage(pixels=_draw(seed), origin=f"{seed}.png") for seed in range(30)]


@pytest.fixture(scope="session")
def learned(good: Sequence[GoodImage], graphs: Path, settings: LearnSettings) -> Learned:
    """What was learned from the thirty good parts."""
    return learn(good, settings=settings, graphs=graphs)


@pytest.fixture(scope="session")
def signer() -> Signer:
    """Who signs the bundles of the tests."""
    return Signer.new(name="trainer-1")


@pytest.fixture(scope="session")
def trusted(signer: Signer) -> TrustedSigners:
    """Trusts that signer alone."""
    return TrustedSigners.only(signer)


@pytest.fixture(scope="session")
def saved(
    learned: Learned, good: Sequence[GoodImage], signer: Signer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of the bundle of what was learned; not to be changed."""
    folder = tmp_path_factory.mktemp("saved")
    return learned.save(folder, product="weave", signer=signer, good=good).folder


@pytest.fixture
def bundle(saved: Path, trusted: TrustedSigners, tmp_path: Path) -> Bundle:
    """A bundle of its own for every test, so that it may be damaged."""
    copy = shutil.copytree(saved, tmp_path / "bundles" / saved.name)
    return Bundle.open(copy, trusted=trusted)


@pytest.fixture
def parked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let threads that park go when the test is over: what they hold is no device."""
    over = threading.Event()
    monkeypatch.setattr(_cuda_thread, "_NEVER", over)
    monkeypatch.setattr(_cuda_thread, "_LEFT", [])
    yield
    over.set()
