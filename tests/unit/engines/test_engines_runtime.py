import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines import Bundle, FrameRefused, NothingToJudge, Runtime, RuntimeUnavailable, open_runtime
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines._placement import place
from partgate_station import ConfigError, Region, Verdict

Pixels = NDArray[np.uint8]
Draw = Callable[..., Pixels]

LEFT = Region(polygon=((0, 0), (40, 0), (40, 96), (0, 96)))
RIGHT = Region(polygon=((40, 0), (80, 0), (80, 96), (40, 96)))


@pytest.fixture
def runtime(bundle: Bundle) -> Iterator[Runtime]:
    opened = open_runtime(bundle)
    yield opened
    opened.close()


def test_defective_parts_are_flagged_and_good_ones_are_not(
    runtime: Runtime, bundle: Bundle, draw: Draw
) -> None:
    thresholds = bundle.manifest.calibration.thresholds
    good = [thresholds.verdict(runtime.judge(draw(seed)).score) for seed in range(500, 520)]
    bad = [thresholds.verdict(runtime.judge(draw(seed, defect=True)).score) for seed in range(520)[-20:]]
    assert good.count(Verdict.ACCEPT) >= 18
    assert bad.count(Verdict.ACCEPT) == 0


def test_the_map_is_brightest_on_the_defect(runtime: Runtime, draw: Draw) -> None:
    pixels = draw(900)
    pixels[60:80, 50:70] = 255
    row, column = np.unravel_index(runtime.judge(pixels).anomaly_map.argmax(), (8, 8))
    assert 60 <= (row + 0.5) * 12 <= 80
    assert 50 <= (column + 0.5) * 10 <= 70


def test_score_and_map_are_what_numpy_makes_of_the_patches(bundle: Bundle, draw: Draw) -> None:
    graph = OpenVinoGraph(bundle.graph, with_features=True)
    bank = bundle.bank()
    graph.bind_bank(bank.augmented())
    ignore = Region(use="ignore", polygon=((0, 0), (80, 0), (80, 24), (0, 24)))
    placement = place(height_px=96, width_px=80, regions=[ignore], size_px=64, grid=graph.grid)
    score, anomaly_map = graph.run(draw(77, defect=True)[:, :, None], placement)
    distance = np.linalg.norm(graph.patches()[:, None] - bank.rows[None], axis=2).min(axis=1)
    expected = distance.reshape(8, 8) * placement.mask[0]
    np.testing.assert_allclose(anomaly_map, expected, rtol=1e-3, atol=1e-3)
    assert (anomaly_map[:2] == 0).all()
    # One patch in a hundred of 8 x 8, but at least one, makes the score.
    assert score == pytest.approx(expected.max(), rel=1e-3)


def test_a_frame_and_its_copy_score_the_same(runtime: Runtime, draw: Draw) -> None:
    frame = draw(3)
    first = runtime.judge(frame)
    runtime.judge(draw(4, height_px=50, width_px=200))
    again = runtime.judge(frame)
    assert again.score == first.score
    np.testing.assert_array_equal(again.anomaly_map, first.anomaly_map)


def test_grey_and_the_same_grey_in_three_channels_score_the_same(runtime: Runtime, draw: Draw) -> None:
    grey = draw(3)
    scores = [runtime.judge(grey).score, runtime.judge(grey[:, :, None]).score]
    scores.append(runtime.judge(np.repeat(grey[:, :, None], 3, axis=2)).score)
    assert scores == pytest.approx([scores[0]] * 3, rel=1e-5)


def test_the_order_of_the_colours_matters(runtime: Runtime) -> None:
    red = np.zeros((64, 64, 3), dtype=np.uint8)
    red[:, :, 0] = 255
    assert runtime.judge(red).score != pytest.approx(runtime.judge(red[:, :, ::-1]).score, rel=1e-3)


def test_a_read_only_frame_and_a_view_are_judged_and_not_changed(runtime: Runtime, draw: Draw) -> None:
    frame = draw(3)
    expected = runtime.judge(frame).score
    padded = np.zeros((120, 120), dtype=np.uint8)
    view = padded[10:106, 20:100]
    view[:] = frame
    view.flags.writeable = False
    before = frame.copy()
    frame.flags.writeable = False
    assert runtime.judge(frame).score == runtime.judge(view).score == expected
    np.testing.assert_array_equal(frame, before)


def test_the_answer_is_read_only_and_says_what_it_covers(runtime: Runtime, draw: Draw) -> None:
    result = runtime.judge(draw(3), (RIGHT,))
    assert result.box == (40, 0, 80, 96)
    assert result.anomaly_map.shape == (8, 8)
    assert result.anomaly_map.dtype == np.float32
    assert not result.anomaly_map.flags.writeable


def test_a_region_judges_only_what_lies_in_it(runtime: Runtime, draw: Draw) -> None:
    clean, scratched = draw(3), draw(3)
    scratched[20:80, 60:66] = 255
    assert runtime.judge(scratched, (LEFT,)).score == runtime.judge(clean, (LEFT,)).score
    assert runtime.judge(scratched, (RIGHT,)).score > 1.2 * runtime.judge(clean, (RIGHT,)).score


def test_a_region_sees_what_a_camera_aimed_at_it_would_see(runtime: Runtime, draw: Draw) -> None:
    frame = draw(3)
    cut = np.ascontiguousarray(frame[:, 40:80])
    assert runtime.judge(frame, (RIGHT,)).score == pytest.approx(runtime.judge(cut).score, rel=1e-5)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((64, 64), dtype=np.uint16),
        np.zeros((64, 64), dtype=np.float32),
        np.zeros((64, 64, 4), dtype=np.uint8),
        np.zeros((1, 64, 64, 3), dtype=np.uint8),
        np.zeros(64, dtype=np.uint8),
        np.zeros((0, 64), dtype=np.uint8),
    ],
    ids=["12 bits", "float", "four channels", "batch", "one line", "empty"],
)
def test_a_frame_that_no_camera_gives_is_refused(frame: Pixels, runtime: Runtime) -> None:
    with pytest.raises(FrameRefused, match="expected"):
        runtime.judge(frame)


def test_regions_that_do_not_fit_are_refused(runtime: Runtime, draw: Draw) -> None:
    with pytest.raises(ConfigError, match="outside 60×96"):
        runtime.judge(draw(3, width_px=60), (RIGHT,))
    everything = Region(use="ignore", polygon=((0, 0), (80, 0), (80, 96), (0, 96)))
    with pytest.raises(NothingToJudge):
        runtime.judge(draw(3), (everything,))


def test_what_is_not_a_number_has_no_score(bundle: Bundle, draw: Draw) -> None:
    graph = OpenVinoGraph(bundle.graph)
    graph.bind_bank(bundle.bank().augmented())
    placement = place(height_px=96, width_px=80, regions=(), size_px=64, grid=graph.grid)
    damaged = placement.mask.copy()
    damaged[0, 3, 3] = np.nan
    score, anomaly_map = graph.run(draw(3)[:, :, None], replace(placement, mask=damaged))
    assert np.isnan(score)
    assert np.isnan(anomaly_map).sum() == 1


def test_a_bank_of_no_numbers_never_gives_a_low_score(bundle: Bundle, draw: Draw) -> None:
    graph = OpenVinoGraph(bundle.graph)
    graph.bind_bank(np.full((5, 153), np.nan, dtype=np.float32))
    placement = place(height_px=96, width_px=80, regions=(), size_px=64, grid=graph.grid)
    score, _ = graph.run(draw(3)[:, :, None], placement)
    assert not score < bundle.manifest.calibration.thresholds.reject


def test_a_frame_is_kept_alive_while_it_is_judged(runtime: Runtime, draw: Draw) -> None:
    # OpenVINO reads a view's copy that nobody else holds.
    frame = draw(3)
    expected = runtime.judge(np.ascontiguousarray(frame[:, 40:80])).score
    for seed in range(5):
        rubbish = [draw(seed, height_px=96, width_px=40) for _ in range(3)]
        assert runtime.judge(frame, (RIGHT,)).score == expected
        del rubbish


def test_a_closed_runtime_judges_nothing(bundle: Bundle, draw: Draw) -> None:
    runtime = open_runtime(bundle, "openvino")
    assert runtime.name == "openvino"
    runtime.close()
    runtime.close()
    with pytest.raises(ValueError, match="closed"):
        runtime.judge(draw(3))


def test_tensorrt_is_said_to_be_missing(bundle: Bundle) -> None:
    with pytest.raises(RuntimeUnavailable, match="tensorrt") as refused:
        open_runtime(bundle, "tensorrt")
    assert refused.value.exit_code == 69


def test_judging_and_updating_import_no_torch(bundle: Bundle, tmp_path: Path) -> None:
    code = f"""
import sys
import numpy as np
from pathlib import Path
from partgate_engines import Bundle, open_runtime
from partgate_engines.anomaly import GoodImage, update
bundle = Bundle.open(Path({str(bundle.folder)!r}), trusted=None)
runtime = open_runtime(bundle)
print(runtime.judge(np.zeros((96, 80), dtype=np.uint8)).score)
heavy = sorted({{"torch", "anomalib", "timm", "torchvision", "lightning"}} & set(sys.modules))
assert not heavy, heavy
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False
    )
    assert found.returncode == 0, found.stderr
    assert float(found.stdout.splitlines()[-1]) > 0
