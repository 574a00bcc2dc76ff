"""Regions that count differently: where, in which graph, and how often each is to count."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines import Bundle, Signer, open_runtime, verify_parity
from partgate_engines._manifest import KindName, Tiling
from partgate_engines._placement import Placement, place
from partgate_engines.anomaly import GoodImage, Learned, LearnSettings, Witness, learn, recomputed, update
from partgate_engines.anomaly._budget import rank_for, worst_of_parts
from partgate_engines.anomaly._held_out import region_scores
from partgate_engines.anomaly._sensitivity import set_sensitivities
from partgate_engines.anomaly.kinds._drawn import _not_weighed
from partgate_station import Region

Draw = Callable[..., NDArray[np.uint8]]
GRID = (8, 8)
HEIGHT_PX, WIDTH_PX = 96, 80  # of the parts that `draw` draws
HALF = HEIGHT_PX / 2


def rectangle(left: float, top: float, right: float, bottom: float, **given: object) -> Region:
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return Region.model_validate({"polygon": corners, **given})


def placed(*regions: Region, tiling: Tiling | None = None) -> Placement:
    return place(height_px=160, width_px=160, regions=regions, size_px=64, grid=GRID, tiling=tiling)


def halves(upper: float | None = None, lower: float | None = None) -> tuple[Region, Region]:
    return (
        rectangle(0, 0, WIDTH_PX, HALF, name="upper", sensitivity=upper),
        rectangle(0, HALF, WIDTH_PX, HEIGHT_PX, name="lower", sensitivity=lower),
    )


def test_the_mask_says_how_often_a_patch_counts() -> None:
    placement = placed(rectangle(0, 0, 80, 160, sensitivity=3.0), rectangle(80, 0, 160, 160, sensitivity=0.5))
    np.testing.assert_array_equal(placement.mask[0], np.tile([3, 3, 3, 3, 0.5, 0.5, 0.5, 0.5], (8, 1)))
    np.testing.assert_array_equal(placement.owners, np.tile([0, 0, 0, 0, 1, 1, 1, 1], (8, 1)))


def test_a_region_drawn_inside_another_has_its_own_sensitivity() -> None:
    inner = rectangle(40, 40, 120, 120, sensitivity=0.2)
    outer = rectangle(0, 0, 160, 160, sensitivity=2.0)
    expected = np.full(GRID, 2.0)
    expected[2:6, 2:6] = 0.2
    for regions in ((inner, outer), (outer, inner)):
        np.testing.assert_allclose(placed(*regions).mask[0], expected)


@pytest.mark.parametrize(
    ("edge", "column"), [(30, 1), (31, 2), (29, 1)], ids=["half of a patch", "less", "more"]
)
def test_a_patch_belongs_to_the_smallest_region_that_holds_half_of_it(edge: float, column: int) -> None:
    placement = placed(rectangle(edge, 0, 160, 160, sensitivity=2.0), rectangle(0, 0, 160, 160))
    assert placement.owners[0].tolist() == [1] * column + [0] * (8 - column)


def test_a_patch_that_no_region_holds_half_of_belongs_to_what_holds_most() -> None:
    placement = placed(
        rectangle(0, 0, 4, 160, sensitivity=2.0),
        rectangle(14, 0, 20, 160, sensitivity=5.0),
        rectangle(140, 0, 160, 160),
    )
    assert (placement.mask[0][:, 0] == 5).all()


def test_what_is_ignored_counts_for_nobody() -> None:
    placement = placed(rectangle(0, 0, 160, 160, sensitivity=2.0), rectangle(0, 0, 40, 40, use="ignore"))
    assert (placement.owners[:2, :2] == -1).all()
    assert sorted(set(placement.mask.ravel().tolist())) == [0, 2]


def test_a_map_can_be_had_as_if_all_counted_once() -> None:
    placement = placed(rectangle(0, 0, 80, 160, sensitivity=4.0), rectangle(80, 0, 120, 160))
    plain = np.arange(1, 65, dtype=np.float32).reshape(GRID) * (placement.owners >= 0)
    np.testing.assert_allclose(placement.plain(plain * placement.stitch(placement.mask)), plain)


@pytest.mark.parametrize("tiling", [None, Tiling(tile_px=64, overlap_px=16)], ids=["one tile", "tiles"])
def test_a_regions_score_is_that_of_a_part_of_which_nothing_else_is_judged(tiling: Tiling | None) -> None:
    regions = (
        rectangle(0, 0, 80, 160, name="left", sensitivity=4.0),
        rectangle(80, 0, 160, 160, name="right", sensitivity=0.5),
    )
    placement = placed(*regions, tiling=tiling)
    plain = np.random.default_rng(0).random(placement.cells.shape).astype(np.float32)
    found = region_scores(plain * placement.stitch(placement.mask), placement, regions)
    # One patch of 64 makes the score, so a region's is its worst patch.
    expected = [plain[placement.owners == number].max() for number in (0, 1)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_regions_without_a_name_have_no_score() -> None:
    placement = placed(rectangle(0, 0, 160, 160))
    assert region_scores(np.ones(GRID, np.float32), placement, (rectangle(0, 0, 160, 160),)).shape == (0,)


@pytest.fixture(scope="module")
def parts(draw: Draw) -> Sequence[GoodImage]:
    """Thirty good parts whose upper half is noisy: what is usual there would be a defect below."""
    found = []
    for seed in range(30):
        pixels = draw(seed).copy()
        random = np.random.default_rng(seed)
        noise = random.normal(0, random.uniform(10, 90), (HEIGHT_PX // 2, WIDTH_PX))
        pixels[: HEIGHT_PX // 2] = np.clip(pixels[: HEIGHT_PX // 2] + noise, 0, 255).astype(np.uint8)
        found.append(GoodImage(pixels=pixels, origin=f"{seed}.png"))
    return found


# Of every other kind, exporting its graph proves that it weighs regions as torch does.
KINDS: tuple[KindName, ...] = ("patchcore", "pca")


@pytest.fixture(scope="module", params=KINDS)
def weighed(
    request: pytest.FixtureRequest, parts: Sequence[GoodImage], settings: LearnSettings, graphs: Path
) -> Learned:
    return learn(parts, settings=replace(settings, kind=request.param), graphs=graphs, regions=halves())


def saved(learned: Learned, parts: Sequence[GoodImage], signer: Signer, folder: Path) -> Bundle:
    return learned.save(folder, product="weave", signer=signer, good=learned.kept(parts))


def test_learning_lets_the_quiet_region_count_more(weighed: Learned) -> None:
    upper, lower = weighed.regions
    assert upper.sensitivity == 1.0
    assert (lower.sensitivity or 0) > 1.02
    evidence = {one.name: one for one in weighed.calibration.regions}
    assert evidence["lower"].set_by == "learning"
    quartiles = [
        np.quantile(evidence[region.name or ""].scores, 0.75) * region.weight for region in weighed.regions
    ]
    assert quartiles[0] == pytest.approx(quartiles[1], rel=1e-3)  # sensitivities have three places


def test_the_held_out_scores_are_those_of_the_weighed_parts(weighed: Learned) -> None:
    calibration = weighed.calibration
    assert calibration.card is not None
    scores = worst_of_parts(calibration.scores, calibration.card.part_of)
    by_region = np.array([one.scores for one in calibration.regions])  # (r, parts)
    limits = np.array([[region.weight] for region in weighed.regions])
    # No less than in the worst region alone, no more than in all of them; 0.5 % for the second look.
    assert (scores >= 0.995 * (by_region * limits).max(axis=0)).all()
    assert (scores <= 1.005 * (by_region * limits).sum(axis=0)).all()


def test_torch_and_the_runtime_agree_where_regions_count_differently(
    weighed: Learned, parts: Sequence[GoodImage], signer: Signer, tmp_path: Path
) -> None:
    bundle = saved(weighed, parts, signer, tmp_path)
    assert bundle.manifest.regions == weighed.regions
    assert bundle.manifest.takes_sensitivities
    runtime = open_runtime(bundle)
    try:
        assert verify_parity(bundle, runtime).problems == ()
        golden, name = recomputed(bundle, None)
        assert name.startswith("torch")
        assert verify_parity(bundle, runtime, golden).problems == ()
    finally:
        runtime.close()


def test_score_and_map_count_a_region_as_often_as_it_says(
    weighed: Learned, parts: Sequence[GoodImage], signer: Signer, tmp_path: Path
) -> None:
    bundle = saved(weighed, parts, signer, tmp_path)
    runtime = open_runtime(bundle)
    try:
        pixels = parts[0].pixels
        plain = runtime.judge(pixels, halves(1.0, 1.0)).anomaly_map
        for lower in (0.25, 6.0):
            found = runtime.judge(pixels, halves(1.0, lower))
            expected = plain.copy()
            expected[plain.shape[0] // 2 :] *= lower
            np.testing.assert_allclose(found.anomaly_map, expected, rtol=1e-3, atol=1e-3)
            worst = max(round(0.01 * plain.size), 1)
            assert found.score == pytest.approx(float(np.sort(expected.ravel())[-worst:].mean()), rel=5e-3)
    finally:
        runtime.close()


def test_the_first_look_at_a_noisy_region_does_not_hide_what_stands_out_in_a_quiet_one(
    settings: LearnSettings, graphs: Path, parts: Sequence[GoodImage], signer: Signer, tmp_path: Path
) -> None:
    """Of 64 patches 8 are looked at twice: all in the upper half, were their squares weighed once."""
    learned = learn(parts, settings=settings, graphs=graphs, regions=halves(1.0, 1.0))
    bundle = saved(learned, parts, signer, tmp_path)
    pixels = parts[3].pixels.copy()
    pixels[:48] = np.random.default_rng(0).integers(0, 256, (48, WIDTH_PX))
    runtime = open_runtime(bundle)
    try:
        plain = runtime.judge(pixels, halves(1.0, 1.0)).anomaly_map
        eighth, highest, quiet = np.sort(plain[:4].ravel())[-8], plain[:4].max(), plain[4:].max()
        # Where the quiet one is the worst, but would be the ninth were the squares weighed once.
        least, most = float(highest / quiet), float(eighth / quiet) ** 2
        assert least < most
        lower = float(np.sqrt(least * most))
        found = runtime.judge(pixels, halves(1.0, lower))
    finally:
        runtime.close()
    assert found.anomaly_map.argmax() >= found.anomaly_map.size // 2
    assert found.score == pytest.approx(float(found.anomaly_map.max()), rel=1e-3)


def test_an_update_keeps_the_sensitivities(
    parts: Sequence[GoodImage],
    settings: LearnSettings,
    graphs: Path,
    draw: Draw,
    signer: Signer,
    tmp_path: Path,
) -> None:
    learned = learn(parts[:25], settings=settings, graphs=graphs, regions=halves())
    bundle = saved(learned, parts[:25], signer, tmp_path)
    given = learned.kept(parts[:25])
    again = update(bundle, good=given, added=parts[25:], regions=learned.regions)
    assert again.regions == learned.regions
    assert {one.set_by for one in again.calibration.regions} == {"recipe"}
    assert again.weighs_regions
    assert again.calibration.card is not None
    assert len(again.calibration.regions[0].scores) == again.calibration.card.parts


def test_an_older_graph_with_a_memory_bank_takes_no_sensitivities(
    weighed: Learned, parts: Sequence[GoodImage], signer: Signer, tmp_path: Path
) -> None:
    manifest = saved(weighed, parts, signer, tmp_path).manifest
    older = manifest.model_copy(update={"weighs_regions": False})
    assert manifest.takes_sensitivities
    assert older.takes_sensitivities == (manifest.kind == "pca")  # which orders nothing


def test_drawn_says_that_it_sets_none() -> None:
    (said,) = _not_weighed(halves())
    assert "upper, lower count once" in said
    assert _not_weighed(halves(upper=1.0)) == ()


def test_a_witness_tells_the_distance_and_not_how_often_it_counts(
    parts: Sequence[GoodImage], settings: LearnSettings, graphs: Path, signer: Signer, tmp_path: Path
) -> None:
    learned = learn(parts[:5], settings=settings, graphs=graphs, regions=halves(1.0, 3.0))
    bundle = saved(learned, parts[:5], signer, tmp_path)
    at = (40.0, 80.0)
    distances = [Witness(bundle, halves(1.0, lower)).trace(parts[20], at=at).distance for lower in (1.0, 3.0)]
    assert distances[0] == pytest.approx(distances[1], rel=1e-4)
    nearest = Witness(bundle, halves(1.0, 3.0)).trace(parts[20], at=at).vouchers[0].distance
    assert nearest == pytest.approx(distances[0], rel=1e-3)


def scores_of(*medians: float, parts: int = 40) -> list[NDArray[np.float64]]:
    random = np.random.default_rng(3)
    return [median * random.uniform(0.5, 1.5, parts) for median in medians]


def test_what_the_recipe_says_is_kept() -> None:
    upper, lower = halves(upper=0.7)
    extra = rectangle(0, 0, 10, 10, name="extra")
    found = set_sensitivities((upper, lower, extra), scores_of(9, 3, 6))
    assert found[0].sensitivity == 0.7
    assert found[2].sensitivity == 1.0
    assert found[1].sensitivity == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize(
    ("regions", "scores"),
    [
        (halves(), scores_of(1, 2, parts=19)),
        (halves(upper=1.0), scores_of(1, 2)),
        (halves()[:1], scores_of(1)),
        (halves(), [np.zeros(40), np.ones(40)]),
        (halves(), [np.ones(40), np.zeros(0)]),
    ],
    ids=["19 parts", "one is given", "only one", "nothing to see", "no patch"],
)
def test_what_cannot_be_compared_counts_once(
    regions: tuple[Region, ...], scores: list[NDArray[np.float64]]
) -> None:
    assert set_sensitivities(regions, scores) == regions


def test_no_region_counts_more_than_twenty_times() -> None:
    upper, lower = set_sensitivities(halves(), scores_of(1000, 1))
    assert (upper.sensitivity, lower.sensitivity) == (1.0, 20.0)


def test_too_few_parts_leave_regions_alone_and_say_so(
    parts: Sequence[GoodImage], settings: LearnSettings, graphs: Path
) -> None:
    learned = learn(parts[:12], settings=settings, graphs=graphs, regions=halves())
    assert [region.sensitivity for region in learned.regions] == [None, None]
    assert (
        sum("from 20 on its sensitivity is set" in warning for warning in learned.calibration.warnings) == 2
    )
    assert {one.set_by for one in learned.calibration.regions} == {"nobody"}


def test_an_inner_region_of_which_nothing_is_left_is_said(
    parts: Sequence[GoodImage], settings: LearnSettings, graphs: Path
) -> None:
    hidden = rectangle(0, 0, WIDTH_PX, HEIGHT_PX, name="hidden")
    learned = learn(parts, settings=settings, graphs=graphs, regions=(*halves(), hidden))
    assert any("'hidden' counts once: no patch belongs" in text for text in learned.calibration.warnings)
    assert learned.regions[1].sensitivity is not None


# Four deviations of a share of 0.95 counted in 1,000 draws.
DRAWS = 1000
MONTE_CARLO = 4 * np.sqrt(0.95 * 0.05 / DRAWS)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize(("parts_n", "one_in"), [(59, 20), (299, 100), (1000, 100)])
def test_the_promise_holds_though_the_same_parts_set_the_sensitivities(
    count: int, parts_n: int, one_in: int
) -> None:
    """Regions of exponential scores, their true tail known: less only what counting may err."""
    regions = tuple(rectangle(0, 0, 10 + n, 10, name=f"r{n}") for n in range(count))
    scale = np.array([1.0, 3.0, 0.5, 2.0])[:count]
    drawn = (5 + np.random.default_rng(parts_n).exponential(size=(DRAWS, parts_n, count))) * scale
    rank, kept = rank_for(parts_n, one_in, 0.95), 0
    for scores in drawn:
        found = set_sensitivities(regions, list(scores.T))
        weights = np.array([region.weight for region in found])
        threshold = np.sort((scores * weights).max(axis=1))[-rank]
        tails = np.exp(-np.maximum(threshold / weights / scale - 5, 0))
        kept += 1 - np.prod(1 - tails) <= 1 / one_in
    assert kept / DRAWS >= 0.95 - MONTE_CARLO
