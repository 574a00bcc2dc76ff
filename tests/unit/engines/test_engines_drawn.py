"""Learning with a memory bank and a head that was taught on drawn defects."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines import ImagesRefused, Source, open_runtime
from partgate_engines.anomaly import Budget, GoodImage, Learned, LearnSettings, learn
from partgate_engines.anomaly.kinds import kind_named
from partgate_engines.anomaly.kinds._drawn import few_told
from partgate_station import ConfigError, Region

Draw = Callable[..., NDArray[np.uint8]]
STEPS = 30
N_GOOD = 10


@pytest.fixture(scope="module")
def wanted(settings: LearnSettings) -> LearnSettings:
    return replace(settings, kind="drawn", steps=STEPS, size_px=64)


@pytest.fixture(scope="module")
def taught(good: Sequence[GoodImage], graphs: Path, wanted: LearnSettings) -> Learned:
    return learn(good[:N_GOOD], settings=wanted, graphs=graphs)


def _scored(taught: Learned, good: Sequence[GoodImage], folder: Path, *, frames: Sequence[NDArray[np.uint8]],
            regions: tuple[Region, ...] = ()) -> list[float]:  # fmt: skip
    bundle = taught.save(folder, product="weave", good=taught.kept(good[:N_GOOD]))
    runtime = open_runtime(bundle, "openvino")
    try:
        return [runtime.judge(frame, regions).score for frame in frames]
    finally:
        runtime.close()


def test_defects_score_higher_than_good_parts(
    taught: Learned, good: Sequence[GoodImage], draw: Draw, tmp_path: Path
) -> None:
    frames = [draw(seed, defect=seed >= 210) for seed in range(200, 220)]
    scores = _scored(taught, good, tmp_path, frames=frames)
    assert min(scores) >= 0
    assert np.median(scores[10:]) > max(scores[:10])


def test_the_head_was_trained(taught: Learned) -> None:
    assert taught.training is not None
    assert (taught.training.steps, taught.training.defects) == (STEPS, 0)
    assert taught.training.last_loss < taught.training.first_loss


def test_every_part_was_held_out_once_and_taken_in_the_end(taught: Learned) -> None:
    assert taught.training is not None
    assert taught.training.held_back == 0
    assert np.isfinite(taught.held_out_scores).all()
    assert taught.calibration.method == "leave-one-out"
    assert any("lies high" in text for text in taught.calibration.warnings)
    assert len(set(taught.bank.origin.tolist())) > len(taught.good) / 2
    assert taught.bank.form == "patches"


def test_the_same_seed_learns_the_same(
    taught: Learned, good: Sequence[GoodImage], graphs: Path, wanted: LearnSettings
) -> None:
    again = learn(good[:N_GOOD], settings=wanted, graphs=graphs)
    assert again.graph_sha256 == taught.graph_sha256
    assert np.array_equal(again.bank.rows, taught.bank.rows)


def test_what_is_not_inspected_does_not_count(
    taught: Learned, good: Sequence[GoodImage], draw: Draw, tmp_path: Path
) -> None:
    """The mask takes the same patches from the bank's part and from the head's."""
    marred = good[0].pixels.copy()
    marred[-20:] = 255
    ignored = Region.model_validate({"polygon": ((0, 48), (80, 48), (80, 96), (0, 96)), "use": "ignore"})
    one, other = _scored(taught, good, tmp_path, frames=[marred, good[0].pixels], regions=(ignored,))
    seen, _ = _scored(taught, good, tmp_path, frames=[marred, good[0].pixels])
    assert one < seen
    assert other > 0


def test_tiles_and_colours_are_learned(
    good: Sequence[GoodImage], graphs: Path, wanted: LearnSettings
) -> None:
    coloured = [
        replace(image, pixels=np.repeat(image.pixels[:, :, None], 3, axis=2)) for image in good[:N_GOOD]
    ]
    learned = learn(coloured, settings=replace(wanted, steps=1, tile_px=64), graphs=graphs)
    assert learned.tiling is not None
    assert np.isfinite(learned.held_out_scores).any()


@pytest.mark.parametrize(
    ("parts", "budget", "told"),
    [
        pytest.param(20, Budget(), True, id="few"),
        pytest.param(89, Budget(), True, id="just too few"),
        pytest.param(90, Budget(), False, id="enough"),
        pytest.param(59, Budget(review_one_in=20), False, id="review is guaranteed"),
        pytest.param(58, Budget(review_one_in=20), True, id="review is extrapolated"),
        pytest.param(20, Budget(commissioning=True), False, id="people look at the band"),
    ],
)
def test_few_parts_leave_review_high_and_that_is_said(parts: int, budget: Budget, *, told: bool) -> None:
    sources = [Source(origin=str(n), pixels_sha256=f"{n // 2:064x}") for n in range(2 * parts)]
    found = few_told(sources, budget)
    assert bool(found) is told
    assert not told or f"from {parts} parts review is an extrapolation that lies high" in found[0]


def test_few_parts_are_refused(good: Sequence[GoodImage], graphs: Path, wanted: LearnSettings) -> None:
    with pytest.raises(ImagesRefused, match="7 good images of 7 parts; drawn needs at least 8"):
        learn(good[:7], settings=wanted, graphs=graphs)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        pytest.param({"backbone": "resnet18"}, "--backbone resnet18: drawn is built for", id="backbone"),
        pytest.param({"layers": ("blocks.1",)}, "--layers blocks.1: drawn looks at", id="layers"),
        pytest.param({"auto": ("contrast",)}, "to choose contrast: drawn has", id="auto"),
    ],
)
def test_what_it_cannot_do_is_refused(wanted: LearnSettings, given: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        kind_named("drawn").settings(replace(wanted, **given))  # type: ignore[arg-type]  # by name


def test_what_is_asked_for_goes_into_the_manifest(taught: Learned) -> None:
    assert taught.contrast == "local"
    assert taught.layers == ("blocks.2", "blocks.3", "blocks.4", "blocks.5", "blocks.6")
    assert taught.grid == (4, 4)
