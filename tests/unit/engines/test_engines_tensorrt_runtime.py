"""Judging on a GPU that is made of numpy, with the graph's real inputs and answers."""

import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino  # type: ignore[import-untyped]  # the wheel ships no annotations
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from fake_gpu import FACTS, Arrays, FakeDevice, FakeEngine
from partgate_engines import (
    Bundle,
    BundleRefused,
    FrameRefused,
    GraphRefused,
    _tensorrt_open,
    open_runtime,
)
from partgate_engines._cuda_errors import DeviceFailed, DeviceHung, DeviceOutOfMemory, EngineNotBuilt
from partgate_engines._tensorrt import TensorRtRuntime
from partgate_engines._tensorrt_api import TensorRt, find_tensorrt
from partgate_engines._tensorrt_build import BUILD_VERSION, Profile, Span
from partgate_engines._tensorrt_open import TensorRtOptions, key_of, load_session
from partgate_engines._tensorrt_session import Session
from partgate_engines.anomaly import Learned
from partgate_station import Region

Pixels = NDArray[np.uint8]
Draw = Callable[..., Pixels]

LEFT = Region(polygon=((0, 0), (40, 0), (40, 96), (0, 96)))
CORNER = Region(use="ignore", polygon=((0, 0), (30, 0), (30, 30), (0, 30)))


class ClosingEngine(FakeEngine):
    """Notes what it is asked to give back, and when."""

    keeping_fails = False

    def keep_kernels(self) -> None:
        super().keep_kernels()
        if self.keeping_fails:
            raise RuntimeError("the kernels cannot be read")

    def close(self) -> None:
        self.device.check_thread()
        self.device.journal.append("close engine")


class Gpu:
    """A fake GPU with the graph of a bundle on it, opened by whoever asks."""

    def __init__(self, judge: Callable[[Arrays], Any], grid: tuple[int, int], **device: Any) -> None:
        self._judge, self._grid, self._settings = judge, grid, device
        self.captures = True
        self.device: FakeDevice
        self.engine: ClosingEngine

    def open(self) -> Session:
        self.device = FakeDevice(**self._settings)
        self.engine = ClosingEngine(self.device, self._judge, captures=self.captures)
        return Session(self.device, self.engine, grid=self._grid)


@pytest.fixture(scope="module")
def bundle(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One bundle for all tests here: none may damage it."""
    return learned.save(tmp_path_factory.mktemp("bundle"), product="weave")


@pytest.fixture(scope="module")
def judge(bundle: Bundle) -> Callable[[Arrays], Any]:
    """The shipped graph itself, run by OpenVINO."""
    compiled = openvino.Core().compile_model(bundle.graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(inputs: Arrays) -> tuple[Any, Any]:
        found = compiled(dict(inputs))
        return found["score"], found["anomaly_map"]

    return run


@pytest.fixture
def gpu(judge: Callable[[Arrays], Any], bundle: Bundle) -> Gpu:
    return Gpu(judge, bundle.manifest.grid)


@pytest.fixture
def runtime(gpu: Gpu, bundle: Bundle) -> Iterator[TensorRtRuntime]:
    opened = TensorRtRuntime(bundle, open_it=gpu.open)
    yield opened
    opened.close()


def test_it_says_what_openvino_says(runtime: TensorRtRuntime, bundle: Bundle, draw: Draw) -> None:
    expected = open_runtime(bundle, "openvino")
    colour = np.repeat(draw(5, defect=True)[:, :, None], 3, axis=2)
    frames = [draw(1), draw(2, defect=True), draw(3, height_px=120, width_px=50), colour]
    for frame in frames:
        for regions in [(), (CORNER,), (LEFT, CORNER)]:
            ours, theirs = runtime.judge(frame, regions), expected.judge(frame, regions)
            assert ours.score == pytest.approx(theirs.score, rel=1e-5)
            np.testing.assert_allclose(ours.anomaly_map, theirs.anomaly_map, rtol=1e-4, atol=1e-4)
            assert ours.box == theirs.box
            assert not ours.anomaly_map.flags.writeable
    assert runtime.name == "tensorrt"
    expected.close()


def test_in_the_steady_state_nothing_is_made_or_bound(runtime: TensorRtRuntime, gpu: Gpu, draw: Draw) -> None:
    runtime.warm_up(height_px=96, width_px=80, channels=1)
    kept = gpu.engine.kernels_kept
    assert kept >= 2 + 1  # after the first run in each slot, and at the end
    made, executions = len(gpu.device.live), gpu.engine.executions
    gpu.device.journal.clear()
    for seed in range(6):
        runtime.judge(draw(seed))
    assert gpu.device.journal == ["launch", "upload", "judge"] * 6
    assert (len(gpu.device.live), gpu.engine.executions) == (made, executions)
    assert gpu.engine.kernels_kept == kept


@pytest.mark.parametrize("how", ["graph", "no graph asked for", "graph not capturable"])
def test_with_and_without_a_cuda_graph_the_answers_are_the_same(
    gpu: Gpu, bundle: Bundle, draw: Draw, how: str, judge: Callable[[Arrays], Any]
) -> None:
    gpu.captures = how != "no graph asked for"
    gpu._settings["capturing"] = how == "graph"
    runtime = TensorRtRuntime(bundle, open_it=gpu.open)
    scores = [runtime.judge(draw(3)).score for _ in range(8)]
    assert len(set(scores)) == 1
    journal = gpu.device.journal
    assert ("launch" in journal) == (how == "graph")
    # What cannot be captured is not tried again.
    assert journal.count("capture") == {"graph": 2, "no graph asked for": 0, "graph not capturable": 1}[how]
    runtime.close()


def test_frames_of_a_part_are_judged_together_and_a_refused_one_takes_no_other_away(
    runtime: TensorRtRuntime, draw: Draw
) -> None:
    frames = [draw(seed) for seed in range(5)]
    expected = [runtime.judge(frame).score for frame in frames]
    frames[2] = np.zeros((96, 80, 4), dtype=np.uint8)
    answers = runtime.scores(frames, [()] * 5)
    assert isinstance(answers[2], FrameRefused)
    del expected[2]
    assert [answer for answer in answers if isinstance(answer, float)] == expected


def test_the_next_frame_is_brought_while_the_last_is_judged(
    runtime: TensorRtRuntime, gpu: Gpu, draw: Draw
) -> None:
    frames = [draw(seed) for seed in range(4)]
    expected = [runtime.judge(frame).score for frame in frames]
    assert len(set(expected)) == 4
    scratchpad = frames[0].copy()
    found: list[float] = []
    waiting: list[Callable[[], Any]] = []
    for frame in frames:
        scratchpad[:] = frame
        waiting.append(runtime.submit(scratchpad))
        scratchpad[:] = 0  # the caller may use it again at once
        if len(waiting) == 2:
            found.append(waiting.pop(0)().score)
    found += [wait().score for wait in waiting]
    assert found == expected
    assert (
        len({slot.frame.address for slot in runtime._opened().thread.call(lambda s: s.slots, timeout_s=9)})
        == 2
    )


def test_many_threads_get_their_own_answers(runtime: TensorRtRuntime, draw: Draw) -> None:
    expected = {seed: runtime.judge(draw(seed)).score for seed in range(6)}
    wrong: list[int] = []

    def work(seed: int) -> None:
        scores = {runtime.judge(draw(seed)).score for _ in range(10)}
        wrong.extend([seed] if scores != {expected[seed]} else [])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert not wrong


@pytest.fixture(scope="module")
def other(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Another product of the same graph: a small part of the bank."""
    bank = learned.bank
    kept = replace(bank, rows=bank.rows[:20].copy(), origin=bank.origin[:20].copy())
    return replace(learned, bank=kept).save(tmp_path_factory.mktemp("other"), product="part")


def test_changing_the_product_binds_another_bank_and_nothing_else(
    runtime: TensorRtRuntime, gpu: Gpu, bundle: Bundle, other: Bundle, draw: Draw
) -> None:
    beside = runtime.beside(other)
    alone = open_runtime(other, "openvino")
    frame = draw(7, defect=True)
    first, second = runtime.judge(frame).score, beside.judge(frame).score
    assert second == pytest.approx(alone.judge(frame).score, rel=1e-5)
    assert first != second
    for _ in range(3):
        assert runtime.judge(frame).score == first
        assert beside.judge(frame).score == second
    gpu.device.journal.clear()
    assert (runtime.judge(frame).score, beside.judge(frame).score) == (first, second)
    assert not [line for line in gpu.device.journal if "make" in line or "free" in line]
    runtime.close()
    assert beside.judge(frame).score == second  # the GPU stays open for the one that is left
    beside.close()
    assert gpu.device.closed
    alone.close()


def test_a_product_of_another_graph_needs_an_engine_of_its_own(
    runtime: TensorRtRuntime, bundle: Bundle
) -> None:
    changed = replace(bundle, manifest=bundle.manifest.model_copy(update={"graph_sha256": "0" * 64}))
    with pytest.raises(BundleRefused, match="another graph"):
        runtime.beside(changed)


def test_closing_frees_everything_and_the_device_last(gpu: Gpu, bundle: Bundle, draw: Draw) -> None:
    runtime = TensorRtRuntime(bundle, open_it=gpu.open)
    for seed in range(4):
        runtime.judge(draw(seed))
    gpu.device.journal.clear()
    runtime.close()
    runtime.close()
    journal = gpu.device.journal
    assert journal[-2:] == ["close engine", "close"]
    assert journal[0] == "free graph"
    bank = bundle.bank().augmented().nbytes
    assert max(i for i, line in enumerate(journal) if line == "free graph") < journal.index(
        f"free device {bank}"
    )
    with pytest.raises(ValueError, match="closed"):
        runtime.judge(draw(1))


@pytest.mark.usefixtures("parked")
def test_kernels_that_cannot_be_read_leave_nothing_open(gpu: Gpu, bundle: Bundle, draw: Draw) -> None:
    runtime = TensorRtRuntime(bundle, open_it=gpu.open)
    runtime.judge(draw(1))
    gpu.engine.keeping_fails = True
    runtime.close()
    assert gpu.device.journal[-2:] == ["close engine", "close"]


def test_compiling_in_the_first_run_is_not_taken_for_a_hang(
    bundle: Bundle, draw: Draw, judge: Callable[[Arrays], Any]
) -> None:
    gpu = Gpu(judge, bundle.manifest.grid)
    runtime = TensorRtRuntime(bundle, open_it=gpu.open)
    runtime._opened().timeout_s = 0.5
    executions = gpu.engine.execution

    def compiling() -> Any:
        time.sleep(1.5)
        return executions()

    gpu.engine.execution = compiling  # type: ignore[method-assign]  # slow, as RTX's first time is
    waiting = [runtime.submit(draw(seed)) for seed in range(3)]
    assert len({wait().score for wait in waiting}) == 3
    runtime.close()


def test_sizes_come_and_go_without_memory_growing(runtime: TensorRtRuntime, gpu: Gpu, draw: Draw) -> None:
    sizes = [(60 + 2 * number, 50 + number) for number in range(20)]
    live: list[int] = []
    for _ in range(3):
        for height_px, width_px in sizes:
            runtime.judge(draw(1, height_px=height_px, width_px=width_px))
        live.append(len(gpu.device.live))
    assert live[0] == live[1] == live[2]


def test_no_number_stays_no_number(bundle: Bundle, draw: Draw) -> None:
    anomaly_map = np.zeros((1, *bundle.manifest.grid), np.float32)
    anomaly_map[0, 3, 2] = np.nan
    gpu = Gpu(lambda _: (np.zeros(1, np.float32), anomaly_map), bundle.manifest.grid)
    runtime = TensorRtRuntime(bundle, open_it=gpu.open)
    result = runtime.judge(draw(1))
    runtime.close()
    assert np.isnan(result.score)
    assert np.isnan(result.anomaly_map).sum() == 1


@pytest.mark.usefixtures("parked")
def test_after_a_fatal_error_nothing_more_is_asked(gpu: Gpu, bundle: Bundle, draw: Draw) -> None:
    runtime = TensorRtRuntime(bundle, open_it=gpu.open)
    runtime.judge(draw(1))
    gpu.device.fail_next = "an illegal memory access was encountered"
    with pytest.raises(DeviceFailed, match="illegal memory"):
        runtime.judge(draw(2))
    gpu.device.fail_next = None
    gpu.device.journal.clear()
    for _ in range(4):
        with pytest.raises(DeviceFailed, match="illegal memory"):
            runtime.judge(draw(3))
    runtime.close()
    assert gpu.device.journal == []  # not even freed: the context may not be touched
    assert not gpu.device.closed


@pytest.mark.usefixtures("parked")
def test_a_gpu_that_hangs_is_a_fatal_error(gpu: Gpu, bundle: Bundle, draw: Draw) -> None:
    runtime = TensorRtRuntime(bundle, TensorRtOptions(judge_timeout_s=5.0), open_it=gpu.open)
    runtime.judge(draw(1))
    runtime._opened().timeout_s = 0.1
    gpu.device.hang.clear()
    with pytest.raises(DeviceHung):
        runtime.judge(draw(2))
    with pytest.raises(DeviceFailed):
        runtime.judge(draw(3))
    runtime.close()
    gpu.device.hang.set()


def test_without_room_idle_buffers_go_once(gpu: Gpu, bundle: Bundle, draw: Draw) -> None:
    runtime = TensorRtRuntime(bundle, open_it=gpu.open)
    expected = [runtime.judge(draw(1, height_px=90 + number)).score for number in range(5)]
    device = gpu.device
    device.limit -= device.free_bytes() - 1000
    runtime.judge(draw(1, height_px=85))
    assert any("no room" in line for line in device.journal)
    device.limit += 100_000
    assert [runtime.judge(draw(1, height_px=90 + number)).score for number in range(5)] == expected
    device.limit -= device.free_bytes()
    with pytest.raises(DeviceOutOfMemory):
        runtime.judge(draw(1, height_px=100, width_px=1000))
    # The context is sound: what fits is still judged.
    device.limit += 200_000
    assert runtime.judge(draw(1, height_px=90)).score == expected[0]
    runtime.close()


def test_what_found_no_room_is_gone_before_the_second_try(gpu: Gpu) -> None:
    session = gpu.open()
    gone: list[bool] = []

    def make() -> int:
        if not gone:
            held = Region(use="ignore", polygon=((0, 0), (1, 0), (1, 1)))
            weakref.finalize(held, gone.append, True)
            raise DeviceOutOfMemory(f"no room beside {held}")
        return len(gone)

    assert session._with_room(make) == 1
    session.close()


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        pytest.param(np.zeros((8, 8), np.uint16), "uint16", id="16 bits"),
        pytest.param(np.zeros((8, 8, 4), np.uint8), "shape", id="four channels"),
        pytest.param(np.zeros((5000, 10), np.uint8), "10×5000 pixels", id="larger than the engine takes"),
    ],
)
def test_frames_that_no_engine_takes_are_refused(
    runtime: TensorRtRuntime, frame: NDArray[Any], says: str
) -> None:
    with pytest.raises(FrameRefused, match=says):
        runtime.judge(frame)


def test_a_bank_that_the_engine_does_not_take_is_refused(gpu: Gpu, bundle: Bundle) -> None:
    few = TensorRtOptions(profile=Profile(bank_rows=Span(least=1, usual=2, most=3)))
    with pytest.raises(BundleRefused, match=r"a bank of 200 rows; the engine takes 1 to 3"):
        TensorRtRuntime(bundle, few, open_it=gpu.open)
    assert gpu.device.closed


@pytest.fixture(scope="session")
def rtx() -> TensorRt:
    return find_tensorrt("tensorrt_rtx")


def _loader(judge: Callable[[Arrays], Any], device: FakeDevice, plans: list[bytes]) -> Callable[..., Any]:
    def load(_tensorrt: TensorRt, plan: bytes, **_: Any) -> ClosingEngine:
        plans.append(plan)
        return ClosingEngine(device, judge)

    return load


def test_an_engine_is_built_once_and_found_again(
    rtx: TensorRt, bundle: Bundle, judge: Callable[[Arrays], Any], tmp_path: Path
) -> None:
    told: list[str] = []
    options = TensorRtOptions(engines=tmp_path, progress=lambda step, _done, _total: told.append(step))
    plans: list[bytes] = []
    for _ in range(2):
        device = FakeDevice()
        session = load_session(device, rtx, bundle, options, load=_loader(judge, device, plans))
        told_then, told = len(told), []
        assert session.facts.compiled == f"settings={BUILD_VERSION} {Profile()}"
        session.close()
    assert plans[0] == plans[1]
    assert plans[0][1:4] == b"trt"
    assert told_then == 0
    assert len(list(tmp_path.glob("*.plan"))) == 1
    # Half precision is another engine.
    device = FakeDevice()
    half = replace(options, precision="fp16")
    load_session(device, rtx, bundle, half, load=_loader(judge, device, plans)).close()
    assert len(list(tmp_path.glob("*.plan"))) == 2
    assert len(plans[2]) < len(plans[0])


def test_an_engine_that_the_gpu_does_not_take_is_built_again_once(
    rtx: TensorRt, bundle: Bundle, judge: Callable[[Arrays], Any], tmp_path: Path
) -> None:
    device, plans = FakeDevice(), list[bytes]()
    good = _loader(judge, device, plans)

    def picky(tensorrt: TensorRt, plan: bytes, **rest: Any) -> ClosingEngine:
        engine: ClosingEngine = good(tensorrt, plan, **rest)
        if len(plans) == 1:
            raise EngineNotBuilt("for another GPU")
        return engine

    with capture_logs() as logs:
        load_session(device, rtx, bundle, TensorRtOptions(engines=tmp_path), load=picky).close()
    assert [line["why"] for line in logs if line["event"] == "engine.refused"] == ["for another GPU"]
    assert len(plans) == 2


def test_plans_that_were_built_with_other_settings_are_not_taken(
    rtx: TensorRt, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key_of(rtx, FACTS, bundle.manifest, TensorRtOptions())
    monkeypatch.setattr(_tensorrt_open, "BUILD_VERSION", 1000)
    after = key_of(rtx, FACTS, bundle.manifest, TensorRtOptions())
    assert before.digest != after.digest
    assert "settings 1000" in after.differences(before)


def test_a_fault_while_loading_keeps_the_plan_and_asks_the_device_no_more(
    rtx: TensorRt, bundle: Bundle, judge: Callable[[Arrays], Any], tmp_path: Path
) -> None:
    device = FakeDevice()
    options = TensorRtOptions(engines=tmp_path)
    load_session(device, rtx, bundle, options, load=_loader(judge, device, [])).close()

    def fail(*_: Any, **__: Any) -> Any:
        raise DeviceFailed("an illegal memory access was encountered")

    device = FakeDevice()
    with pytest.raises(DeviceFailed):
        load_session(device, rtx, bundle, options, load=fail)
    assert not device.closed
    assert len(list(tmp_path.glob("*.plan"))) == 1


def test_what_tensorrt_holds_goes_before_the_device(
    rtx: TensorRt, bundle: Bundle, judge: Callable[[Arrays], Any]
) -> None:
    device = FakeDevice()

    def half_made(*_: Any, **__: Any) -> Any:
        engine = ClosingEngine(FakeDevice(), judge)
        weakref.finalize(engine, lambda: device.journal.append("engine gone"))
        raise GraphRefused("of another graph")

    with pytest.raises(GraphRefused):
        load_session(device, rtx, bundle, TensorRtOptions(), load=half_made)
    assert device.journal == ["engine gone", "close"]


def test_an_engine_that_finds_no_room_beside_it_is_closed_before_the_device(
    rtx: TensorRt, bundle: Bundle, judge: Callable[[Arrays], Any]
) -> None:
    device = FakeDevice(limit=10)
    with pytest.raises(DeviceOutOfMemory):
        load_session(device, rtx, bundle, TensorRtOptions(), load=_loader(judge, device, []))
    assert device.journal[-2:] == ["close engine", "close"]


def test_a_graph_that_was_changed_closes_the_device_again(
    rtx: TensorRt, bundle: Bundle, judge: Callable[[Arrays], Any], tmp_path: Path
) -> None:
    copied = replace(bundle, folder=Path(shutil.copytree(bundle.folder, tmp_path / "copy")))
    copied.graph.write_bytes(copied.graph.read_bytes() + b"\0")
    device = FakeDevice()
    with pytest.raises(BundleRefused, match="changed"):
        load_session(device, rtx, copied, TensorRtOptions(), load=_loader(judge, device, []))
    assert device.closed
