"""On a real GPU: the same answers as OpenVINO, for every way of running. Collected by `make test-gpu`.

Without a GPU, PyCUDA or a wheel these tests fail and say what is missing: who asked for them wants to
know.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines import Bundle, Runtime, open_runtime
from partgate_engines._cuda_thread import DeviceThread
from partgate_engines._tensorrt import TensorRtRuntime
from partgate_engines._tensorrt_choice import tensorrt_choice
from partgate_engines._tensorrt_open import TensorRtOptions
from partgate_engines._tensorrt_session import Session
from partgate_engines.anomaly import GoodImage, Learned, LearnSettings, learn
from partgate_station import Region

Pixels = NDArray[np.uint8]

IGNORED = Region(use="ignore", polygon=((0, 0), (60, 0), (60, 60), (0, 60)))
# TensorRT and OpenVINO add in another order; both in float32. Half keeps 11 bits in the backbone.
TOLERANCE = {"fp32": 1e-3, "fp16": 2e-2}

pytestmark = pytest.mark.timeout(600)  # TensorRT's builder measures kernels, for minutes on a small GPU


def _draw(seed: int, *, height_px: int = 240, width_px: int = 200, defect: bool = False) -> Pixels:
    """Draw a grey weave under changing light, with a thin scratch if it is defective."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height_px, :width_px]
    phase = random.uniform(0, 6, 2)
    weave = 110 + 25 * np.sin(x / 3 + phase[0]) + 25 * np.sin(y / 3 + phase[1])
    pixels: Pixels = np.clip(weave + random.normal(0, 4, weave.shape), 0, 255).astype(np.uint8)
    if defect:
        cv2.line(pixels, (width_px // 4, height_px // 4), (width_px // 2, height_px // 2), 250, 2)
    return pixels


@pytest.fixture(scope="session", autouse=True)
def gpu() -> str:
    """The GPU, by name; a failure if there is none."""
    choice = tensorrt_choice()
    if not choice.usable:
        pytest.fail(f"these tests need a GPU: {choice.why}", pytrace=False)
    return choice.why


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    good = [GoodImage(pixels=_draw(seed), origin=f"{seed}.png") for seed in range(30)]
    graphs = tmp_path_factory.mktemp("graphs")
    return learn(good, settings=LearnSettings(size_px=256, bank_rows=1000), graphs=graphs)


@pytest.fixture(scope="session")
def bundle(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return learned.save(tmp_path_factory.mktemp("bundle"), product="weave")


@pytest.fixture(scope="session")
def other(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    bank = learned.bank
    kept = replace(bank, rows=bank.rows[:50].copy(), origin=bank.origin[:50].copy())
    return replace(learned, bank=kept).save(tmp_path_factory.mktemp("other"), product="part")


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture
def runtime(bundle: Bundle, engines: Path) -> Iterator[TensorRtRuntime]:
    with contextlib.closing(TensorRtRuntime(bundle, TensorRtOptions(engines=engines))) as opened:
        yield opened


def _frames() -> Sequence[Pixels]:
    colour = np.repeat(_draw(4, defect=True)[:, :, None], 3, axis=2)
    colour[:, :, 1] //= 2
    large = _draw(5, height_px=2048, width_px=2448, defect=True)
    return [_draw(1), _draw(2, defect=True), _draw(3, height_px=300, width_px=120), colour, large]


def _same(ours: Runtime, theirs: Runtime, tolerance: float) -> None:
    for frame in _frames():
        for regions in ((), (IGNORED,)):
            found, expected = ours.judge(frame, regions), theirs.judge(frame, regions)
            assert found.score == pytest.approx(expected.score, rel=tolerance)
            largest = float(expected.anomaly_map.max())
            np.testing.assert_allclose(found.anomaly_map, expected.anomaly_map, atol=tolerance * largest)
            assert found.box == expected.box


@pytest.mark.parametrize("cuda_graph", [True, False], ids=["graph", "no graph"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_gpu_says_what_the_cpu_says(
    bundle: Bundle, engines: Path, precision: str, cuda_graph: bool
) -> None:
    options = TensorRtOptions(
        engines=engines, precision="fp16" if precision == "fp16" else "fp32", cuda_graph=cuda_graph
    )
    with (
        contextlib.closing(open_runtime(bundle, "openvino")) as cpu,
        contextlib.closing(TensorRtRuntime(bundle, options)) as runtime,
    ):
        for _ in range(3):  # plain, captured, launched
            _same(runtime, cpu, TOLERANCE[precision])


def test_with_and_without_a_cuda_graph_the_answers_are_the_same(bundle: Bundle, engines: Path) -> None:
    scores: dict[bool, list[float]] = {}
    for cuda_graph in (True, False):
        options = TensorRtOptions(engines=engines, cuda_graph=cuda_graph)
        with contextlib.closing(TensorRtRuntime(bundle, options)) as runtime:
            scores[cuda_graph] = [runtime.judge(frame).score for _ in range(4) for frame in _frames()]
    assert scores[True] == pytest.approx(scores[False], rel=1e-5)


def test_changing_the_product_is_judging_with_the_other_runtime(
    runtime: TensorRtRuntime, bundle: Bundle, other: Bundle
) -> None:
    with (
        contextlib.closing(open_runtime(bundle, "openvino")) as first_cpu,
        contextlib.closing(open_runtime(other, "openvino")) as second_cpu,
    ):
        with contextlib.closing(runtime.beside(other)) as second:
            for _ in range(3):
                _same(runtime, first_cpu, TOLERANCE["fp32"])
                _same(second, second_cpu, TOLERANCE["fp32"])
        _same(runtime, first_cpu, TOLERANCE["fp32"])


def _free_bytes(runtime: TensorRtRuntime) -> int:
    thread: DeviceThread[Session] = runtime._opened().thread
    return thread.call(lambda session: session._device.free_bytes(), timeout_s=10)


def test_ten_thousand_frames_take_no_more_memory_than_a_hundred(runtime: TensorRtRuntime) -> None:
    frames = _frames()
    for _ in range(20):
        expected = [runtime.judge(frame).score for frame in frames]
    before = _free_bytes(runtime)
    for _ in range(2000):
        for frame, score in zip(frames, expected, strict=True):
            assert runtime.judge(frame).score == pytest.approx(score, rel=1e-5)
    # Other processes may use the GPU as well; what one frame left behind would be a hundred times this.
    assert before - _free_bytes(runtime) < 64 * 2**20


def test_two_frames_under_way_keep_their_answers(runtime: TensorRtRuntime) -> None:
    frames = _frames()
    expected = [runtime.judge(frame).score for frame in frames]
    for _ in range(50):
        for index in range(len(frames) - 1):
            waiting = [runtime.submit(frame) for frame in frames[index : index + 2]]
            found = [wait().score for wait in waiting]
            assert found == pytest.approx(expected[index : index + 2], rel=1e-5)


def test_threads_get_their_own_answers(runtime: TensorRtRuntime) -> None:
    frames = _frames()
    expected = [runtime.judge(frame).score for frame in frames]
    wrong: list[float] = []

    def work(frame: Pixels, score: float) -> None:
        found = [runtime.judge(frame).score for _ in range(100)]
        wrong.extend(value for value in found if value != pytest.approx(score, rel=1e-5))

    threads = [threading.Thread(target=work, args=pair) for pair in zip(frames, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert not wrong


def test_a_bank_of_no_numbers_never_gives_a_low_score(
    learned: Learned, bundle: Bundle, engines: Path
) -> None:
    broken = np.full_like(bundle.bank().augmented(), np.nan)

    def swap(session: Session) -> None:
        session.unload_bank(bundle.id)
        session.load_bank(bundle.id, broken)

    with contextlib.closing(TensorRtRuntime(bundle, TensorRtOptions(engines=engines))) as runtime:
        session_thread: DeviceThread[Session] = runtime._opened().thread
        session_thread.call(swap, timeout_s=10)
        score = runtime.judge(_draw(1)).score
    assert not score < bundle.manifest.calibration.thresholds.reject


def test_the_second_start_takes_the_engine_from_the_cache(bundle: Bundle, engines: Path) -> None:
    told: list[str] = []
    options = TensorRtOptions(engines=engines, progress=lambda step, _done, _total: told.append(step))
    TensorRtRuntime(bundle, options).close()
    told.clear()
    TensorRtRuntime(bundle, options).close()
    assert told == []
