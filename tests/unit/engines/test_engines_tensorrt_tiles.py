"""Tiles on a GPU that is made of numpy, and their engines by NVIDIA's own builder."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino  # type: ignore[import-untyped]  # the wheel ships no annotations
import pytest
from numpy.typing import NDArray

from fake_gpu import Arrays, FakeDevice, FakeEngine
from partgate_engines import Bundle, BundleRefused, open_runtime, verify_parity
from partgate_engines._manifest import Tiling
from partgate_engines._tensorrt import TensorRtRuntime
from partgate_engines._tensorrt_api import TensorRt, find_tensorrt
from partgate_engines._tensorrt_build import Profile, Span, build_plan
from partgate_engines._tensorrt_contract import Contract
from partgate_engines._tensorrt_open import TensorRtOptions, load_session
from partgate_engines._tensorrt_session import Session
from partgate_engines.anomaly import GoodImage, Learned
from partgate_station import Region

Pixels = NDArray[np.uint8]
Draw = Callable[..., Pixels]
Judge = Callable[[Arrays], Any]

TILING = Tiling(tile_px=64, overlap_px=8)
CORNER = Region(polygon=((60, 0), (170, 0), (170, 64), (60, 64)))
FEW = TensorRtOptions(profile=Profile(frames=Span(least=1, usual=2, most=4)))


class Gpu:
    """A fake GPU that notes how many tiles it was given at once."""

    def __init__(self, judge: Judge, grid: tuple[int, int], tiles: int) -> None:
        self._judge, self._grid, self._tiles = judge, grid, tiles
        self.runs: list[int] = []
        self.device: FakeDevice

    def open(self) -> Session:
        self.device = FakeDevice()
        engine = FakeEngine(self.device, self._noted)
        return Session(self.device, engine, grid=self._grid, tiles=self._tiles)

    def _noted(self, inputs: Arrays) -> Any:
        self.runs.append(len(inputs["frames"]))
        return self._judge(inputs)


@pytest.fixture(scope="module")
def bundle(learned: Learned, good: Sequence[GoodImage], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A product that is judged in tiles of 64 px; none may damage it."""
    tiled = replace(learned, tiling=TILING)
    return tiled.save(tmp_path_factory.mktemp("tiled"), product="weave", good=good)


@pytest.fixture(scope="module")
def judge(bundle: Bundle) -> Judge:
    """The shipped graph itself, run by OpenVINO."""
    compiled = openvino.Core().compile_model(bundle.graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(inputs: Arrays) -> tuple[Any, Any]:
        found = compiled(dict(inputs))
        return found["score"], found["anomaly_map"]

    return run


@pytest.fixture(scope="session")
def rtx() -> TensorRt:
    return find_tensorrt("tensorrt_rtx")


def opened(bundle: Bundle, gpu: Gpu, options: TensorRtOptions = FEW) -> TensorRtRuntime:
    return TensorRtRuntime(bundle, options, open_it=gpu.open)


def test_tiles_in_several_runs_say_what_openvino_says(bundle: Bundle, judge: Judge, draw: Draw) -> None:
    gpu = Gpu(judge, bundle.manifest.grid, tiles=4)
    runtime, expected = opened(bundle, gpu), open_runtime(bundle, "openvino")
    for height_px, width_px in ((150, 170), (64, 64), (150, 170), (300, 64)):
        frame = draw(5, height_px=height_px, width_px=width_px, defect=True)
        for regions in ((), (CORNER,)) if width_px == 170 else ((),):
            ours, theirs = runtime.judge(frame, regions), expected.judge(frame, regions)
            assert ours.score == pytest.approx(theirs.score, rel=1e-4)
            np.testing.assert_allclose(ours.anomaly_map, theirs.anomaly_map, rtol=1e-3, atol=1e-3)
            assert ours.box == theirs.box
            assert not ours.anomaly_map.flags.writeable
    # 9 tiles in runs of 4; the corner is 110 px wide, two tiles; 64 x 64 is one, 300 x 64 are six.
    assert gpu.runs == [4, 4, 1, 2, 1, 4, 4, 1, 2, 4, 2]
    assert verify_parity(bundle, runtime).passed
    runtime.close()
    expected.close()


def test_in_the_steady_state_nothing_is_made_or_bound(bundle: Bundle, judge: Judge, draw: Draw) -> None:
    gpu = Gpu(judge, bundle.manifest.grid, tiles=4)
    runtime = opened(bundle, gpu)
    frames = [draw(seed, height_px=150, width_px=170) for seed in range(3)]
    runtime.warm_up(height_px=150, width_px=170, channels=1)
    scores = [runtime.judge(frame).score for frame in frames for _ in range(3)]
    live = len(gpu.device.live)
    gpu.device.journal.clear()
    assert [runtime.judge(frame).score for frame in frames for _ in range(3)] == scores
    assert set(gpu.device.journal) == {"launch", "upload", "judge"}
    assert gpu.device.journal.count("judge") == 9 * 3
    assert len(gpu.device.live) == live
    runtime.close()


def test_frames_of_many_threads_keep_their_own_tiles(bundle: Bundle, judge: Judge, draw: Draw) -> None:
    gpu = Gpu(judge, bundle.manifest.grid, tiles=2)
    few = TensorRtOptions(profile=Profile(frames=Span(least=1, usual=2, most=2)))
    runtime = opened(bundle, gpu, few)
    frames = [draw(seed, height_px=150, width_px=100 + 20 * seed, defect=seed % 2 == 1) for seed in range(4)]
    expected = [runtime.judge(frame) for frame in frames]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(5):
            found = runtime.judge(frames[index])
            same = np.array_equal(found.anomaly_map, expected[index].anomaly_map)
            wrong.extend([] if same and found.score == expected[index].score else [index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(frames))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert not wrong
    runtime.close()


def test_no_number_in_any_run_is_no_score(bundle: Bundle, draw: Draw) -> None:
    def broken(inputs: Arrays) -> tuple[Any, Any]:
        n = len(inputs["frames"])
        maps = np.zeros((n, *bundle.manifest.grid), np.float32)
        maps[0, 4, 4] = np.nan if n == 1 else 0  # only in the last run, of the ninth tile
        return np.ones(n, np.float32), maps

    runtime = opened(bundle, Gpu(broken, bundle.manifest.grid, tiles=4))
    result = runtime.judge(draw(1, height_px=150, width_px=170))
    runtime.close()
    assert np.isnan(result.score)
    assert np.isnan(result.anomaly_map).sum() == 1


def test_a_whole_frame_is_not_brought_to_an_engine_for_tiles(
    bundle: Bundle, learned: Learned, judge: Judge, draw: Draw, tmp_path: Path
) -> None:
    whole = learned.save(tmp_path, product="whole")
    tiles_first = opened(bundle, Gpu(judge, (8, 8), tiles=32), TensorRtOptions())
    with pytest.raises(BundleRefused, match="open a runtime of its own"):
        tiles_first.beside(whole)
    tiles_first.close()
    # The other way round tiles are judged one by one.
    gpu = Gpu(judge, (8, 8), tiles=1)
    whole_first = opened(whole, gpu, TensorRtOptions())
    beside, alone = whole_first.beside(bundle), open_runtime(bundle, "openvino")
    frame = draw(5, height_px=150, width_px=170, defect=True)
    assert beside.judge(frame).score == pytest.approx(alone.judge(frame).score, rel=1e-4)
    assert gpu.runs == [1] * 9
    for runtime in (beside, whole_first, alone):
        runtime.close()


def test_the_sizes_of_an_engine_are_those_of_the_product(bundle: Bundle) -> None:
    tiled = bundle.manifest
    assert Profile.of(tiled.model_copy(update={"tiling": None})) == Profile()
    profile = Profile.of(tiled)
    assert (profile.frames.least, profile.frames.most) == (1, 32)
    assert profile.height_px.most == profile.width_px.most == 4 * 64
    # Larger tiles are fewer in a run: the pixels of all of them stay below 1 GB as floats.
    large = Profile.of(tiled.model_copy(update={"tiling": Tiling(tile_px=4000, overlap_px=500)}))
    assert large.height_px.most == 4000
    assert large.frames.most == 5
    assert profile.shapes(Contract.of(tiled))["mask"] == ((1, 8, 8), (8, 8, 8), (32, 8, 8))


def test_the_engine_for_tiles_builds(rtx: TensorRt, bundle: Bundle, judge: Judge) -> None:
    plans: list[bytes] = []
    device = FakeDevice()

    def load(_tensorrt: TensorRt, plan: bytes, **_: Any) -> FakeEngine:
        plans.append(plan)
        return FakeEngine(device, judge)

    session = load_session(device, rtx, bundle, TensorRtOptions(), load=load)
    assert plans[0][1:4] == b"trt"
    # The answers of 32 tiles find room: 256 bytes of scores and 8 x 8 floats for each.
    assert session.slots[0].answer.nbytes == 256 + 4 * 32 * 64
    session.close()


def test_a_graph_from_before_there_were_tiles_still_builds(rtx: TensorRt, bundle: Bundle) -> None:
    model = onnx.load(bundle.graph)
    (mask,) = [value for value in model.graph.input if value.name == "mask"]
    del mask.type.tensor_type.shape.dim[0]
    content, contract = model.SerializeToString(), Contract.of(bundle.manifest)
    side = Span(least=64, usual=64, most=64)
    small = Profile(frames=Span(least=1, usual=4, most=8), height_px=side, width_px=side)
    assert build_plan(rtx, content, contract=contract, profile=small)[1:4] == b"trt"
