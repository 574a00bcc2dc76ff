"""A product that is judged in tiles: learned, kept, judged and updated by the same tiles."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from partgate_engines import (
    AnomalyResult,
    Bundle,
    BundleNotWritten,
    BundleRefused,
    Manifest,
    MemoryBank,
    open_runtime,
    verify_parity,
)
from partgate_engines import _openvino as openvino_graph
from partgate_engines._manifest import Tiling
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines._placement import place
from partgate_engines._write import write_file
from partgate_engines.anomaly import GoodImage, Learned, LearnSettings, learn, update
from partgate_station import ConfigError, Region, Verdict

Pixels = NDArray[np.uint8]
Draw = Callable[..., Pixels]

HEIGHT_PX, WIDTH_PX = 150, 170
SETTINGS = LearnSettings(size_px=64, tile_px=64, bank_rows=200)
CORNER = Region(polygon=((100, 80), (170, 80), (170, 150), (100, 150)))


@pytest.fixture(scope="module")
def parts(draw: Draw) -> Sequence[GoodImage]:
    """Twelve good parts, more than twice as large as a tile."""
    return [
        GoodImage(pixels=draw(seed, height_px=HEIGHT_PX, width_px=WIDTH_PX), origin=f"{seed}.png")
        for seed in range(12)
    ]


@pytest.fixture(scope="module")
def tiled(parts: Sequence[GoodImage], graphs: Path) -> Learned:
    return learn(parts, settings=SETTINGS, graphs=graphs)


@pytest.fixture(scope="module")
def bundle(tiled: Learned, parts: Sequence[GoodImage], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One bundle for all tests here: none may damage it."""
    return tiled.save(tmp_path_factory.mktemp("tiled"), product="weave", good=parts)


def test_the_manifest_says_how_frames_are_cut(bundle: Bundle) -> None:
    assert bundle.manifest.tiling == Tiling(tile_px=64, overlap_px=8)
    assert bundle.manifest.grid == (8, 8)


def test_every_tile_is_judged_as_a_frame_of_its_own_would_be(bundle: Bundle, draw: Draw) -> None:
    frame = draw(900, height_px=HEIGHT_PX, width_px=WIDTH_PX, defect=True)
    runtime = open_runtime(bundle, "openvino")
    result = runtime.judge(frame)
    runtime.close()
    alone = OpenVinoGraph(bundle.graph)
    alone.bind_bank(bundle.bank().augmented())
    whole = place(
        height_px=HEIGHT_PX, width_px=WIDTH_PX, regions=(), size_px=64, grid=(8, 8),
        tiling=bundle.manifest.tiling,
    )  # fmt: skip
    one = place(height_px=64, width_px=64, regions=(), size_px=64, grid=(8, 8))
    scores, maps = [], []
    for (left, top), mask in zip(whole.corners, whole.mask, strict=True):
        tile = np.ascontiguousarray(frame[top : top + 64, left : left + 64, None])
        score, anomaly_map = alone.run(tile, replace(one, mask=mask[None]))
        scores.append(score)
        maps.append(anomaly_map)
    assert len(scores) == 9
    np.testing.assert_allclose(result.anomaly_map, whole.stitch(np.stack(maps)), rtol=1e-3, atol=1e-3)
    assert result.score == pytest.approx(max(scores), rel=1e-3)
    assert result.box == (0, 0, WIDTH_PX, HEIGHT_PX)
    assert not result.anomaly_map.flags.writeable


def spoilt(draw: Draw, seed: int, at: tuple[int, int], size_px: int) -> Pixels:
    pixels = draw(seed, height_px=512, width_px=512)
    pixels[at[0] : at[0] + size_px, at[1] : at[1] + size_px] = 255
    return pixels


def test_a_defect_that_a_resize_loses_is_found_in_tiles(draw: Draw, graphs: Path, tmp_path: Path) -> None:
    good = [GoodImage(pixels=draw(n, height_px=512, width_px=512), origin=str(n)) for n in range(6)]
    unseen = [draw(n, height_px=512, width_px=512) for n in range(50, 54)]
    bad = [spoilt(draw, 60 + n, (60 + 100 * n, 450 - 90 * n), 5) for n in range(4)]
    shares = {}
    for tile_px in (None, 64):
        learned = learn(good, settings=replace(SETTINGS, tile_px=tile_px), graphs=graphs)
        runtime = open_runtime(learned.save(tmp_path, product="weave"), "openvino")
        highest = max(runtime.judge(frame).score for frame in unseen)
        shares[tile_px] = [runtime.judge(frame).score / highest for frame in bad]
        runtime.close()
    assert min(shares[64]) > 1.2, "found, whatever tile it lies in"
    assert min(shares[None]) < 1, "5 of 512 px are less than a pixel of 64"


def test_the_map_is_brightest_on_the_defect(bundle: Bundle, draw: Draw) -> None:
    runtime = open_runtime(bundle, "openvino")
    for top, left in ((10, 20), (60, 140), (125, 80)):
        frame = draw(901, height_px=HEIGHT_PX, width_px=WIDTH_PX)
        frame[top : top + 10, left : left + 10] = 255
        anomaly_map = runtime.judge(frame).anomaly_map
        row, column = np.unravel_index(anomaly_map.argmax(), anomaly_map.shape)
        assert abs((row + 0.5) * HEIGHT_PX / anomaly_map.shape[0] - (top + 5)) < 14
        assert abs((column + 0.5) * WIDTH_PX / anomaly_map.shape[1] - (left + 5)) < 14
    runtime.close()


def test_regions_judge_only_the_tiles_they_need(bundle: Bundle, draw: Draw) -> None:
    runtime = open_runtime(bundle, "openvino")
    frame = draw(902, height_px=HEIGHT_PX, width_px=WIDTH_PX)
    spoilt_outside = frame.copy()
    spoilt_outside[10:60, 10:60] = 255
    clean, other = runtime.judge(frame, (CORNER,)), runtime.judge(spoilt_outside, (CORNER,))
    assert clean.score == other.score
    assert clean.box == (100, 80, 170, 150)
    runtime.close()


def test_of_more_tiles_than_are_kept_the_map_is_made_by_a_run_of_its_own(
    bundle: Bundle, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = draw(903, height_px=HEIGHT_PX, width_px=WIDTH_PX, defect=True)
    frame.flags.writeable = False  # only of what cannot change are features taken again
    judged: list[AnomalyResult] = []
    runs: list[int] = []
    whole = openvino_graph.OpenVinoGraph.run_in_halves

    def counted(*arguments: Any) -> Any:
        runs.append(1)
        return whole(*arguments)

    monkeypatch.setattr(openvino_graph.OpenVinoGraph, "run_in_halves", counted)
    for kept in (openvino_graph._TILES_KEPT, 4):
        monkeypatch.setattr(openvino_graph, "_TILES_KEPT", kept)
        runtime = open_runtime(bundle, "openvino")
        runtime.scores([frame], [()])
        judged.append(runtime.judge(frame))
        runtime.close()
        assert len(runs) == len(judged) - 1
    first, second = judged
    assert second.score == first.score
    np.testing.assert_array_equal(second.anomaly_map, first.anomaly_map)


def test_frames_of_one_tile_and_of_many_take_turns(bundle: Bundle, draw: Draw) -> None:
    runtime = open_runtime(bundle, "openvino")
    sizes = ((64, 64), (150, 170), (40, 200), (400, 300), (64, 64))
    frames = [draw(7, height_px=height_px, width_px=width_px) for height_px, width_px in sizes]
    first = [runtime.judge(frame).score for frame in frames]
    assert [runtime.judge(frame).score for frame in frames] == first
    assert first[0] == first[-1]
    runtime.close()


def test_a_distance_that_is_no_number_in_any_tile_has_no_score(bundle: Bundle, draw: Draw) -> None:
    graph = OpenVinoGraph(bundle.graph)
    graph.bind_bank(bundle.bank().augmented())
    placement = place(
        height_px=HEIGHT_PX, width_px=WIDTH_PX, regions=(), size_px=64, grid=(8, 8),
        tiling=bundle.manifest.tiling,
    )  # fmt: skip
    damaged = placement.mask.copy()
    damaged[5, 4, 4] = np.nan
    frame = draw(3, height_px=HEIGHT_PX, width_px=WIDTH_PX)[:, :, None]
    score, anomaly_map = graph.run(frame, replace(placement, mask=damaged))
    assert np.isnan(score)
    assert np.isnan(anomaly_map).sum() == 1


def test_a_frame_of_too_many_tiles_is_refused(bundle: Bundle) -> None:
    runtime = open_runtime(bundle, "openvino")
    with pytest.raises(ConfigError, match="tiles of 64×64 px"):
        runtime.judge(np.zeros((2000, 2000), np.uint8))
    runtime.close()


# What is learned.


def test_patches_of_all_tiles_are_learned_from_once(parts: Sequence[GoodImage], graphs: Path) -> None:
    learned = learn(parts[:2], settings=replace(SETTINGS, bank_rows=100_000), graphs=graphs)
    layout = place(
        height_px=HEIGHT_PX, width_px=WIDTH_PX, regions=(), size_px=64, grid=(8, 8), tiling=learned.tiling
    )
    # What two tiles see is learned from the one that judges it.
    assert 64 < len(learned.bank.rows) <= 2 * int(layout.mask.sum())
    assert len(learned.bank.rows) > 1.8 * layout.mask.sum()


def test_held_out_scores_are_those_of_a_bank_without_the_image(
    tiled: Learned, parts: Sequence[GoodImage], tmp_path: Path
) -> None:
    others = tiled.bank.origin != 4
    bank = MemoryBank(rows=tiled.bank.rows[others].copy(), origin=tiled.bank.origin[others].copy())
    runtime = open_runtime(replace(tiled, bank=bank).save(tmp_path, product="without"), "openvino")
    assert tiled.held_out_scores[4] == pytest.approx(runtime.judge(parts[4].pixels).score, rel=1e-3)
    runtime.close()


def test_good_parts_pass_and_defective_ones_do_not(bundle: Bundle, draw: Draw) -> None:
    thresholds = bundle.manifest.calibration.thresholds
    runtime = open_runtime(bundle, "openvino")
    size = {"height_px": HEIGHT_PX, "width_px": WIDTH_PX}
    good = [thresholds.verdict(runtime.judge(draw(seed, **size)).score) for seed in range(500, 510)]
    bad = [
        thresholds.verdict(runtime.judge(draw(seed, **size, defect=True)).score) for seed in range(510, 520)
    ]
    runtime.close()
    assert good.count(Verdict.ACCEPT) >= 8
    assert bad.count(Verdict.ACCEPT) == 0


def test_an_update_keeps_the_tiles(
    bundle: Bundle, parts: Sequence[GoodImage], draw: Draw, tmp_path: Path
) -> None:
    banded = draw(700, height_px=HEIGHT_PX, width_px=WIDTH_PX)
    banded[30:50] = np.maximum(banded[30:50], 200)
    added = GoodImage(pixels=banded, origin="part:1")
    better = update(bundle, good=parts, added=[added]).save(tmp_path, product="weave", good=[*parts, added])
    assert better.manifest.tiling == bundle.manifest.tiling
    assert better.manifest.bank_rows == bundle.manifest.bank_rows
    assert len(better.manifest.good) == len(bundle.manifest.good) + 1
    before, after = open_runtime(bundle, "openvino"), open_runtime(better, "openvino")
    old, new = before.judge(banded), after.judge(banded)
    before.close()
    after.close()
    assert new.anomaly_map.shape == old.anomaly_map.shape == bundle.golden()[0].anomaly_map.shape
    assert new.score < old.score


# What is kept.


def test_golden_frames_hold_the_stitched_map_and_parity_holds(bundle: Bundle) -> None:
    golden = bundle.golden()
    assert {frame.anomaly_map.shape for frame in golden} == {(19, 22)}
    runtime = open_runtime(bundle, "openvino")
    report = verify_parity(bundle, runtime)
    runtime.close()
    assert report.passed, report.problems


def test_a_golden_map_of_another_shape_is_refused(bundle: Bundle) -> None:
    manifest = bundle.manifest.model_copy(update={"tiling": Tiling(tile_px=100, overlap_px=12)})
    with pytest.raises(BundleRefused, match=r"a map of float32 \(19, 22\).*expected float32"):
        replace(bundle, manifest=manifest).golden()


def _one_mask(model: onnx.ModelProto) -> None:
    """Let the graph take one mask for all frames, as it did before there were tiles."""
    (mask,) = [value for value in model.graph.input if value.name == "mask"]
    del mask.type.tensor_type.shape.dim[0]


def forged(bundle: Bundle, folder: Path, **changes: object) -> Path:
    copied = Path(shutil.copytree(bundle.folder, folder / "old"))
    model = onnx.load(bundle.graph)
    _one_mask(model)
    (copied / "graph.onnx").unlink()
    (copied / "graph.onnx").write_bytes(model.SerializeToString())
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["graph_sha256"] = hashlib.sha256((copied / "graph.onnx").read_bytes()).hexdigest()
    for name in changes:
        del manifest[name]
    (copied / "manifest.json").write_text(json.dumps(manifest))
    return copied


def test_a_bundle_from_before_there_were_tiles_judges_as_it_did(
    learned: Learned, good: Sequence[GoodImage], draw: Draw, tmp_path: Path
) -> None:
    new = learned.save(tmp_path / "new", product="weave", good=good)
    assert new.manifest.tiling is None
    old = Bundle.open(forged(new, tmp_path, tiling=None), trusted=None)
    assert old.manifest.tiling is None
    first, second = open_runtime(new, "openvino"), open_runtime(old, "openvino")
    for seed in (1, 2):
        frame = draw(seed, defect=seed == 2)
        expected, found = first.judge(frame), second.judge(frame)
        assert found.score == pytest.approx(expected.score, rel=1e-5)
        np.testing.assert_allclose(found.anomaly_map, expected.anomaly_map, rtol=1e-4, atol=1e-4)
    assert verify_parity(old, second).passed
    first.close()
    second.close()
    better = update(old, good=good, added=[GoodImage(pixels=draw(88).T.copy(), origin="turned")])
    assert better.tiling is None
    assert (
        better.save(tmp_path / "better", product="weave").manifest.graph_sha256 != new.manifest.graph_sha256
    )


def test_a_manifest_of_an_impossible_tiling_is_refused(bundle: Bundle) -> None:
    said = json.loads(bundle.manifest.model_dump_json())
    said["tiling"]["overlap_px"] = 40
    with pytest.raises(ValueError, match="at most half of tile_px, 64"):
        Manifest.model_validate_json(json.dumps(said))


@pytest.mark.parametrize("tile_px", [31, 0, -5])
def test_tiles_that_are_too_small_are_refused(tile_px: int) -> None:
    with pytest.raises(ValueError, match=f"tile_px: {tile_px}; expected at least 32"):
        LearnSettings(tile_px=tile_px)


@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"], ids=["file", "below a file", "far below"])
def test_a_file_in_the_place_of_a_folder_is_named(below: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("not a folder")
    with pytest.raises(BundleNotWritten, match="a file in the way"):
        write_file(tmp_path / "taken" / below / "graph.onnx", b"graph")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
