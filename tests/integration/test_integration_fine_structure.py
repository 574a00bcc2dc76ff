"""The benchmark of fine structure: what it draws, and how it counts."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from partgate_engines import AnomalyResult
from partgate_engines.anomaly import LearnSettings

if TYPE_CHECKING:
    from benchmarks._fine_structure import FinePart

ROOT = Path(__file__).parents[2]
SIDE_PX = 160

# Learning exports a graph with torch and anomalib: ten seconds on a quiet machine, fifty on a busy one.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True, scope="module")
def root_on_path() -> Iterator[None]:
    """`benchmarks` is no installed package: it is found from the project's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield


def _part(number: int, *, defective: bool = True, defect_px: float | None = None) -> "FinePart":
    from benchmarks._fine_structure import draw

    return draw(
        "cloth", number, defective=defective, height_px=SIDE_PX, width_px=SIDE_PX, defect_px=defect_px
    )


def _answer(anomaly_map: np.ndarray) -> AnomalyResult:
    return AnomalyResult(
        score=float(anomaly_map.max()),
        anomaly_map=anomaly_map.astype(np.float32),
        box=(0, 0, SIDE_PX, SIDE_PX),
    )


def test_a_mask_is_where_the_defect_was_drawn() -> None:
    part = _part(3, defect_px=6)
    assert part.defect is not None
    rows, columns = np.nonzero(part.mask())
    assert (rows.mean(), columns.mean()) == pytest.approx(part.defect[:2], abs=0.5)
    assert len(rows) == pytest.approx(np.pi * 9, rel=0.2)
    assert not _part(3, defective=False).mask().any()


def test_another_first_number_draws_other_parts() -> None:
    from benchmarks._fine_scores import Frames

    some, others = (
        Frames(height_px=SIDE_PX, width_px=SIDE_PX, learned=2, scored=1, first=first) for first in (0, 1)
    )
    assert not np.array_equal(some.part("cloth", 0).pixels, others.part("cloth", 0).pixels)
    assert np.array_equal(some.part("cloth", 1).pixels, others.part("cloth", 0).pixels)


def test_a_map_that_is_the_mask_is_worth_all_and_its_opposite_nothing() -> None:
    from benchmarks._fine_scores import is_found, pixel_aupro

    parts = [_part(number, defect_px=6) for number in range(4)]
    right = [_answer(part.mask()) for part in parts]
    wrong = [_answer(~part.mask()) for part in parts]
    assert pixel_aupro(list(zip(parts, right, strict=True))) > 0.9
    assert pixel_aupro(list(zip(parts, wrong, strict=True))) < 0.1
    assert all(map(is_found, parts, right))


def test_learning_and_scoring_in_tiles(tmp_path: Path) -> None:
    from benchmarks._fine_scores import Frames, outcome
    from benchmarks.fine_structure import by_diameter

    frames = Frames(height_px=SIDE_PX, width_px=SIDE_PX, learned=4, scored=2)
    settings = LearnSettings(size_px=64, tile_px=96, bank_rows=50)
    found = outcome(frames, "print", settings, tmp_path)
    assert found.good.shape == found.defective.shape == found.diameters_px.shape == (2,)
    assert ((found.diameters_px >= 2) & (found.diameters_px <= 6)).all()
    assert np.isfinite([*found.good, *found.defective]).all()
    assert 0 <= found.aupro <= 1
    assert found.learn_s > 0
    assert found.frame_ms > 0
    assert "px" in by_diameter(found)
