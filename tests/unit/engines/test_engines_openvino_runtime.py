"""Several frames of a part, several products in a process: on the CPU."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from partgate_engines import (
    Bundle,
    DeviceFailed,
    FrameRefused,
    FrameScore,
    OpenVinoOptions,
    open_runtime,
)
from partgate_engines._cores import affine_cores, usable_cores
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines._openvino_device import compile_graph
from partgate_engines._openvino_engines import ResidentEngines
from partgate_engines._openvino_runtime import OpenVinoRuntime
from partgate_engines._placement import Placement, place
from partgate_engines._runtime import score_in_turn
from partgate_engines.anomaly import GoodImage, LearnSettings, learn
from partgate_station import ConfigError, Region

Pixels = NDArray[np.uint8]
Draw = Callable[..., Pixels]
RIGHT = Region(polygon=((40, 0), (80, 0), (80, 96), (40, 96)))
MODES = {
    "latency": OpenVinoOptions(mode="latency"),
    "two cameras": OpenVinoOptions(cameras=2),
    "throughput": OpenVinoOptions(mode="throughput"),
    "one thread": OpenVinoOptions(threads=1),
}


def numbers(answers: Sequence[FrameScore]) -> list[float]:
    assert all(isinstance(answer, float) for answer in answers)
    return [answer for answer in answers if isinstance(answer, float)]


@pytest.fixture(scope="module")
def resident() -> ResidentEngines:
    return ResidentEngines()


@pytest.mark.parametrize("options", MODES.values(), ids=MODES.keys())
def test_frames_judged_together_get_what_each_gets_alone(
    options: OpenVinoOptions, bundle: Bundle, draw: Draw, resident: ResidentEngines
) -> None:
    frames = [draw(n, defect=n % 3 == 0, height_px=96 + n % 2) for n in range(7)]
    regions = [(RIGHT,) if n % 2 else () for n in range(7)]
    runtime = OpenVinoRuntime(bundle, options, resident=resident)
    alone = [runtime.judge(frame, its) for frame, its in zip(frames, regions, strict=True)]
    for _ in range(3):
        together = runtime.scores(frames, regions)
        assert numbers(together) == pytest.approx([answer.score for answer in alone], rel=1e-6)
    assert all(not answer.anomaly_map.flags.writeable for answer in alone)
    runtime.close()


def still(frame: Pixels) -> Pixels:
    """Return a frame as a camera gives it: nobody writes into it any more."""
    frame.flags.writeable = False
    return frame


def test_of_a_frame_that_was_scored_only_the_map_is_made(bundle: Bundle, draw: Draw) -> None:
    runtime, fresh = (OpenVinoRuntime(bundle, resident=ResidentEngines()) for _ in range(2))
    whole = OpenVinoGraph(bundle.graph)  # compiled with map and all, as learning does
    whole.bind_bank(bundle.bank().augmented())
    frames = [still(draw(n, defect=True)) for n in (1, 2)]
    scores = numbers(runtime.scores(frames, [(), (RIGHT,)]))
    starts: list[Placement] = []
    begin = OpenVinoGraph.start

    def counted(request: OpenVinoGraph, frame: Pixels, placement: Placement, **cut: Any) -> None:
        starts.append(placement)
        begin(request, frame, placement, **cut)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenVinoGraph, "start", counted)
        found = [runtime.judge(frame, its) for frame, its in zip(frames, ((), (RIGHT,)), strict=True)]
        assert starts == [], "their features were still there"
        moved = runtime.judge(frames[0], (RIGHT,))
        assert len(starts) == 1, "another region is another judgement"
    assert [one.score for one in found] == scores
    for one, frame, its in zip([*found, moved], [*frames, frames[0]], ((), (RIGHT,), (RIGHT,)), strict=True):
        anew = fresh.judge(frame, its)
        np.testing.assert_array_equal(one.anomaly_map, anew.anomaly_map)
        placement = place_in(bundle, whole, frame, its)
        score, anomaly_map = whole.run(frame[..., None], placement)
        assert one.score == pytest.approx(score, rel=1e-5)
        np.testing.assert_allclose(one.anomaly_map, anomaly_map, rtol=1e-4, atol=1e-4)
    runtime.close()
    fresh.close()


@pytest.mark.parametrize("height_px", [96, 500])
def test_a_frame_that_was_prepared_is_not_cut_again_and_scores_the_same(
    height_px: int, bundle: Bundle, draw: Draw, resident: ResidentEngines
) -> None:
    runtime = OpenVinoRuntime(bundle, resident=resident)
    frames = [still(draw(n, defect=n == 1, height_px=height_px, width_px=height_px)) for n in range(3)]
    regions = [(), (RIGHT,), ()]
    scores = numbers(runtime.scores(frames, regions))

    def prepare() -> None:
        for frame, its in zip(frames, regions, strict=True):
            runtime.prepare(frame, its)

    other = threading.Thread(target=prepare)
    other.start()
    other.join()
    with mock.patch.object(OpenVinoGraph, "cut", side_effect=AssertionError("cut again")):
        assert numbers(runtime.scores(frames, regions)) == scores
    assert numbers(runtime.scores(frames, regions)) == scores, "what was prepared is used once"
    runtime.close()


def test_what_was_prepared_for_other_regions_or_can_change_is_not_used(
    bundle: Bundle, draw: Draw, resident: ResidentEngines
) -> None:
    runtime = OpenVinoRuntime(bundle, resident=resident)
    frame, changing, defective = still(draw(1)), draw(1), draw(2, defect=True)
    expected = numbers(runtime.scores([frame, defective], [(RIGHT,), ()]))
    runtime.prepare(frame, ())
    runtime.prepare(changing, ())
    changing[...] = defective
    assert numbers(runtime.scores([frame, changing], [(RIGHT,), ()])) == expected
    with pytest.raises(FrameRefused):
        runtime.prepare(np.zeros((4, 4, 2), np.uint8))
    runtime.close()
    with pytest.raises(ValueError, match="closed"):
        runtime.prepare(frame)


def test_a_frame_that_can_be_written_to_is_judged_anew(bundle: Bundle, draw: Draw) -> None:
    runtime = OpenVinoRuntime(bundle, resident=ResidentEngines())
    frame, other = draw(1), draw(2, defect=True)
    runtime.scores([frame], [()])
    frame[...] = other
    assert runtime.judge(frame).score == pytest.approx(runtime.judge(other).score, rel=1e-6)
    runtime.close()


def place_in(bundle: Bundle, graph: OpenVinoGraph, frame: Pixels, regions: tuple[Region, ...]) -> Placement:
    return place(
        height_px=frame.shape[0],
        width_px=frame.shape[1],
        regions=regions,
        size_px=graph.size_px,
        grid=graph.grid,
        tiling=bundle.manifest.tiling,
    )


def test_one_frame_that_is_refused_takes_no_other_answer_away(bundle: Bundle, draw: Draw) -> None:
    runtime = open_runtime(bundle, "openvino")
    deep: Any = np.zeros((96, 80), np.uint16)
    frames = [draw(1), deep, draw(2), draw(3, width_px=60), draw(4)]
    answers = runtime.scores(frames, [(), (), (), (RIGHT,), ()])
    assert isinstance(answers[1], FrameRefused)
    assert isinstance(answers[3], ConfigError)
    assert numbers([answers[0], answers[2], answers[4]]) == pytest.approx(
        [runtime.judge(frames[n]).score for n in (0, 2, 4)], rel=1e-6
    )
    assert runtime.scores([], []) == ()
    with pytest.raises(ValueError, match="shorter"):
        runtime.scores([draw(1)], [])
    runtime.close()
    with pytest.raises(ValueError, match="closed"):
        runtime.scores([draw(1)], [()])


def test_no_more_frames_are_under_way_than_allowed_and_answers_keep_their_order() -> None:
    under_way: list[int] = []
    most = 0

    def submit(frame: Pixels, regions: tuple[Region, ...]) -> Callable[[], float]:
        nonlocal most
        number = int(frame[0, 0])
        under_way.append(number)
        most = max(most, len(under_way))

        def wait() -> float:
            under_way.remove(number)
            if number == 4:
                raise FrameRefused("four")
            return float(number)

        return wait

    frames = [np.full((1, 1), number, np.uint8) for number in range(8)]
    answers = score_in_turn(submit, frames, [()] * 8, at_once=3)
    assert most == 3
    assert under_way == []
    assert numbers(answers[:4] + answers[5:]) == [0, 1, 2, 3, 5, 6, 7]
    assert isinstance(answers[4], FrameRefused)


def test_a_device_that_failed_answers_no_frame() -> None:
    def submit(frame: Pixels, regions: tuple[Region, ...]) -> Callable[[], float]:
        raise DeviceFailed("GPU: an illegal memory access was encountered")

    with pytest.raises(DeviceFailed):
        score_in_turn(submit, [np.zeros((1, 1), np.uint8)], [()], at_once=2)


def test_products_share_a_graph_and_a_changeover_is_taking_the_other_one(
    bundle: Bundle,
    draw: Draw,
    good: Sequence[GoodImage],
    settings: LearnSettings,
    graphs: Path,
    tmp_path: Path,
) -> None:
    other = learn(good[:12], settings=settings, graphs=graphs).save(tmp_path / "other", product="other")
    assert other.manifest.graph_sha256 == bundle.manifest.graph_sha256
    resident = ResidentEngines()
    first, second = (OpenVinoRuntime(each, resident=resident) for each in (bundle, other))
    alone = OpenVinoRuntime(other, resident=ResidentEngines())
    frame = draw(3, defect=True)
    expected = first.judge(frame).score, alone.judge(frame).score
    assert expected[0] != expected[1]
    for _ in range(5):
        assert (first.judge(frame).score, second.judge(frame).score) == expected
    first.close()
    assert second.judge(frame).score == expected[1], "closing one product leaves the other as it was"
    second.close()
    alone.close()


def test_a_product_is_made_ready_in_another_thread_while_one_judges(bundle: Bundle, draw: Draw) -> None:
    resident = ResidentEngines()
    runtime, frame = OpenVinoRuntime(bundle, resident=resident), draw(3, defect=True)
    expected = runtime.judge(frame).score
    beside: list[float] = []

    def load() -> None:
        for _ in range(5):
            other = OpenVinoRuntime(bundle, resident=resident)
            beside.append(other.judge(frame).score)
            other.close()

    thread = threading.Thread(target=load, name="loads")
    thread.start()
    judged = {runtime.judge(frame).score for _ in range(30)}
    thread.join(timeout=50)
    assert judged == set(beside) == {expected}
    runtime.close()


@pytest.mark.parametrize(
    ("options", "cores", "streams", "threads"),
    [
        (OpenVinoOptions(), 8, 1, 0),
        (OpenVinoOptions(cameras=3), 8, 3, 0),
        (OpenVinoOptions(cameras=3), 2, 2, 0),
        (OpenVinoOptions(cameras=3, mode="latency"), 8, 1, 0),
        (OpenVinoOptions(mode="throughput"), 8, 8, 0),
        (OpenVinoOptions(mode="throughput", cameras=2), 8, 2, 0),
        (OpenVinoOptions(cameras=3, threads=2), 8, 2, 2),
        (OpenVinoOptions(threads=4), 8, 1, 4),
    ],
    ids=[
        "one camera", "three cameras", "more cameras than cores", "latency", "throughput",
        "throughput of two", "threads bound streams", "threads",
    ],
)  # fmt: skip
def test_mode_and_threads_come_from_cameras_and_cores(
    options: OpenVinoOptions, cores: int, streams: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("affine_cores", "usable_cores"):
        monkeypatch.setattr(f"partgate_engines._openvino_options.{name}", lambda: cores)
    config = options.config("f32")
    assert (config.streams, config.threads) == (streams, threads)


def test_a_quota_bounds_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partgate_engines._openvino_options.affine_cores", lambda: 8)
    monkeypatch.setattr("partgate_engines._openvino_options.usable_cores", lambda: 3)
    assert OpenVinoOptions().config("f32").threads == 3


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/line\n", {"line/cpu.max": "150000 100000\n"}, 2),
        ("0::/line/one\n", {"line/cpu.max": "100000 100000\n", "line/one/cpu.max": "max 100000\n"}, 1),
        ("0::/of/the/host\n", {"cpu.max": "100000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {}, 64),
        ("3:cpuset:/\n1:cpu,cpuacct:/a\n0::/\n",
         {"cpu,cpuacct/a/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}, 3),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "5000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ("0::/\n", {"cpu.max": "rubbish\n"}, 64),
    ],
    ids=["version 2", "of a parent", "in a container", "unlimited", "no file", "version 1",
         "version 1 unlimited", "less than one core", "rubbish"],
)  # fmt: skip
def test_cores_are_bounded_by_the_quota_of_the_cgroup(
    membership: str, files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partgate_engines._cores.affine_cores", lambda: 64)
    for name, content in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "self").write_text(membership)
    assert usable_cores(tmp_path / "cgroup", tmp_path / "self") == cores


def test_this_process_may_use_a_core() -> None:
    assert 1 <= usable_cores() <= affine_cores()
    assert usable_cores(membership=Path("/nowhere")) == affine_cores()


@pytest.mark.parametrize("computed", ["f32", "bf16"])
def test_a_precision_that_the_processor_lacks_is_said(bundle: Bundle, computed: str) -> None:
    with (
        mock.patch("partgate_engines._openvino_runtime.precision_of", return_value=computed),
        capture_logs() as said,
    ):
        OpenVinoRuntime(bundle, OpenVinoOptions(precision="bf16"), resident=ResidentEngines()).close()
    warnings = [line for line in said if line["event"] == "precision.not_here"]
    if computed == "bf16":
        assert warnings == []
    else:
        (warning,) = warnings
        assert (warning["asked"], warning["computed"]) == ("bf16", "f32")
        assert "auto" in warning["what_now"]


def test_a_station_compiles_for_one_tile_and_references_are_made_as_exported(bundle: Bundle) -> None:
    free = compile_graph(bundle.graph, as_exported=True)
    assert [batch_of(compile_graph(bundle.graph), name) for name in ("frames", "mask")] == [1, 1]
    assert [batch_of(free, name) for name in ("frames", "mask")] == [None, None]


def batch_of(compiled: Any, name: str) -> int | None:
    """Return for how many tiles a graph was compiled; None for any number."""
    batch = compiled.input(name).get_partial_shape()[0]
    return batch.get_length() if batch.is_static else None
