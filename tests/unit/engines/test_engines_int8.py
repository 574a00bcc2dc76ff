"""A graph in whole numbers of eight bits: learned so, judged so, and nowhere else."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines import (
    Bundle,
    BundleRefused,
    GraphRefused,
    Signer,
    TrustedSigners,
    open_runtime,
    verify_parity,
)
from partgate_engines._bank import MemoryBank, without
from partgate_engines._machine import adds_bytes_exactly, processor_name
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines._openvino_bytes import bank_bytes, bank_inputs
from partgate_engines._openvino_device import DeviceConfig, compile_graph
from partgate_engines._openvino_engines import ResidentEngines, engine_for
from partgate_engines._placement import place
from partgate_engines._runtime import with_channels
from partgate_engines._tensorrt_api import find_tensorrt
from partgate_engines._tensorrt_open import TensorRtOptions
from partgate_engines._tensorrt_open import compile_graph as compile_for_gpu
from partgate_engines.anomaly import GoodImage, Learned, LearnSettings, learn, recomputed, update
from partgate_engines.anomaly._graphs import _key, feature_step
from partgate_engines.anomaly._weights import PACKAGED_BACKBONE, find_weights

Draw = Callable[..., NDArray[np.uint8]]

BYTES = {"i8", "u8"}
STEP = 0.25


@pytest.fixture(scope="module")
def eight(good: Sequence[GoodImage], graphs: Path, settings: LearnSettings) -> Learned:
    """The thirty good parts, learned in eight bits."""
    if not adds_bytes_exactly():
        pytest.skip(f"{processor_name()} has no VNNI: int8 is refused here, which a test of its own holds")
    return learn(good, settings=replace(settings, precision="int8"), graphs=graphs)


def test_where_sums_of_bytes_overflow_it_is_refused_and_says_why(
    good: Sequence[GoodImage], graphs: Path, settings: LearnSettings
) -> None:
    if adds_bytes_exactly():
        pytest.skip(f"{processor_name()} adds them exactly")
    with pytest.raises(GraphRefused, match=r"has no VNNI.*leave out --precision int8"):
        learn(good, settings=replace(settings, precision="int8"), graphs=graphs)


@pytest.mark.parametrize(
    ("flags", "exact"),
    [
        ("sse avx2", False),
        ("avx512f avx512bw", False),
        ("avx2 avx_vnni", True),
        ("avx512_vnni", True),
        ("", True),
    ],
    ids=["AVX2", "AVX-512 alone", "VNNI in 256 bits", "VNNI in 512 bits", "not x86"],
)
def test_which_processors_add_bytes_exactly(flags: str, exact: bool) -> None:
    assert adds_bytes_exactly(flags) is exact


@pytest.fixture(scope="module")
def bundle(
    eight: Learned, good: Sequence[GoodImage], signer: Signer, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """One bundle for all tests here: none may damage it."""
    return eight.save(tmp_path_factory.mktemp("int8"), product="weave", signer=signer, good=good)


def test_the_bank_holds_multiples_of_the_step_that_the_graph_names(eight: Learned) -> None:
    assert eight.feature_step == feature_step(eight.graph)
    assert eight.feature_step is not None
    steps = eight.bank.rows / eight.feature_step
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    assert 10 < np.abs(steps).max() < 127.5
    assert len(np.unique(np.rint(steps))) > 20


def test_the_manifest_says_what_it_is_computed_in(bundle: Bundle, trusted: TrustedSigners) -> None:
    manifest = Bundle.open(bundle.folder, trusted=trusted).manifest
    assert (manifest.precision, manifest.kind) == ("int8", "patchcore")
    assert manifest.feature_step == feature_step(bundle.graph)


def test_a_graph_of_any_numbers_names_no_step(learned: Learned) -> None:
    assert learned.precision == "f32"
    assert learned.feature_step is None
    assert feature_step(learned.graph) is None


def test_openvino_says_what_torch_says_of_the_same_steps(bundle: Bundle) -> None:
    frames, references = recomputed(bundle, None)
    assert references.startswith("torch")
    runtime = open_runtime(bundle, "openvino")
    report = verify_parity(bundle, runtime, frames)
    runtime.close()
    report.require()
    assert report.fingerprint.precision == "int8"
    assert report.rank_correlation is not None
    assert report.rank_correlation > 0.999


def test_defective_parts_are_flagged_and_good_ones_are_not(bundle: Bundle, draw: Draw) -> None:
    runtime = open_runtime(bundle, "openvino")
    review = bundle.manifest.calibration.thresholds.review
    assert all(runtime.judge(draw(seed)).score < review for seed in range(100, 110))
    assert all(runtime.judge(draw(seed, defect=True)).score > review for seed in range(100, 110))
    runtime.close()


def test_products_and_convolutions_are_of_bytes(bundle: Bundle) -> None:
    compiled = engine_for(bundle, DeviceConfig(), None, ResidentEngines(), with_map=False)
    assert compiled.input("bank").get_element_type().get_type_name() == "i8"
    counted: Counter[tuple[str, bool]] = Counter()
    for node in compiled.get_runtime_model().get_ops():
        facts = node.get_rt_info()
        counted[facts["layerType"].astype(str), facts["runtimePrecision"].astype(str) in BYTES] += 1
    assert counted["Convolution", True] > 20
    assert counted["Convolution", False] == 0
    assert counted["MatMul", True] == 10  # a first look in eight blocks, a second in two
    assert counted["MatMul", False] == 3  # the resize


@pytest.mark.parametrize("defect", [False, True])
def test_bytes_say_what_numpy_makes_of_the_patches(bundle: Bundle, draw: Draw, *, defect: bool) -> None:
    frame = with_channels(draw(7, defect=defect))
    step, manifest = bundle.manifest.feature_step, bundle.manifest
    compiled = compile_graph(bundle.graph, with_features=True, step=step)
    graph = OpenVinoGraph(bundle.graph, with_features=True, compiled=compiled, step=step)
    graph.bind_bank(bundle.bank().augmented())
    placement = place(
        height_px=frame.shape[0],
        width_px=frame.shape[1],
        regions=(),
        size_px=manifest.size_px,
        grid=manifest.grid,
    )
    score, anomaly_map = graph.run(frame, placement)
    patches, rows = graph.patches().astype(np.float64), bundle.bank().rows.astype(np.float64)
    away = np.sqrt(((patches[:, None] - rows[None]) ** 2).sum(axis=2)).min(axis=1)
    # Squares: what is left of a patch that the bank holds is the root of rounding.
    np.testing.assert_allclose(np.square(anomaly_map.ravel()), away**2, rtol=1e-3, atol=1e-2)
    assert score == pytest.approx(away.max(), rel=1e-3)  # 1 % of 64 patches is one


def test_the_two_halves_say_what_the_whole_says(bundle: Bundle, draw: Draw) -> None:
    whole = OpenVinoGraph(bundle.graph)
    whole.bind_bank(bundle.bank().augmented())
    runtime = open_runtime(bundle, "openvino")
    frame = draw(3, defect=True)
    found = runtime.judge(frame)
    shaped = with_channels(frame)
    placement = place(
        height_px=shaped.shape[0],
        width_px=shaped.shape[1],
        regions=(),
        size_px=bundle.manifest.size_px,
        grid=bundle.manifest.grid,
    )
    score, anomaly_map = whole.run(shaped, placement)
    runtime.close()
    assert found.score == pytest.approx(score, rel=1e-2)
    np.testing.assert_allclose(found.anomaly_map, anomaly_map, atol=0.05 * anomaly_map.max())


def test_a_product_that_learns_more_keeps_its_step(
    bundle: Bundle, good: Sequence[GoodImage], draw: Draw
) -> None:
    more = [GoodImage(pixels=draw(seed), origin=f"{seed}.png") for seed in range(200, 203)]
    better = update(bundle, good=good, added=more)
    assert (better.precision, better.feature_step) == ("int8", bundle.manifest.feature_step)
    bank_bytes(better.bank.augmented(), bundle.manifest.feature_step or 0.0)


def test_a_bank_comes_apart_into_bytes_and_lengths() -> None:
    rows = np.array([[0.0, 0.25, -32.0], [31.75, -0.5, 1.0]], dtype=np.float32)
    bank = MemoryBank(rows=rows, origin=np.zeros(2, np.int32)).augmented()
    steps, norms = bank_bytes(without(bank, np.array([False, True])), STEP)
    np.testing.assert_array_equal(steps, [[0, 1, -128], [0, 0, 0]])
    assert steps.dtype == np.int8
    assert norms.shape == (2, 1)
    assert norms[1, 0] > 1e29
    np.testing.assert_array_equal(bank_bytes(bank, STEP)[0][1], [127, -2, 4])
    assert bank_inputs(bank, None)["bank"] is bank


@pytest.mark.parametrize("value", [0.3, 32.0, -32.25, np.nan], ids=["between", "above", "below", "none"])
def test_a_bank_of_other_numbers_is_refused(value: float) -> None:
    bank = np.array([[-2 * 0.25, 0.0625], [-2 * value, 1.0]], dtype=np.float32)
    with pytest.raises(BundleRefused, match=r"no multiples of 0\.25.*learn the product again"):
        bank_bytes(bank, STEP)


def test_a_graph_without_steps_is_not_made_to_take_bytes(learned: Learned) -> None:
    with pytest.raises(GraphRefused, match="features in steps"):
        compile_graph(learned.graph, step=STEP)


def test_tensorrt_refuses_it_by_name(bundle: Bundle) -> None:
    # NVIDIA's builder would take it, and read bytes of 0 to 255 as -128 to 127 with no more than a warning.
    with pytest.raises(GraphRefused, match="learned in int8, in which only runtime openvino judges"):
        compile_for_gpu(find_tensorrt("tensorrt_rtx"), bundle, TensorRtOptions())


def test_auto_takes_openvino_for_it_where_there_is_a_gpu(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gpu() -> Any:
        raise AssertionError("asked for a GPU's runtime")

    monkeypatch.setattr("partgate_engines._tensorrt_choice.choose", gpu)
    runtime = open_runtime(bundle, "auto")
    assert runtime.name == "openvino"
    runtime.close()


def test_other_kinds_are_learned_in_float(settings: LearnSettings) -> None:
    with pytest.raises(ValueError, match="int8 is for patchcore; padim"):
        replace(settings, kind="padim", precision="int8")
    with pytest.raises(ValueError, match="int8 is for patchcore; give the kind"):
        replace(settings, auto=("kind",), precision="int8")


def test_the_precision_is_part_of_a_graphs_key_and_f32_keeps_the_key_it_had(settings: LearnSettings) -> None:
    weights = find_weights(PACKAGED_BACKBONE, None)
    assert _key(replace(settings, precision="int8"), weights) != _key(settings, weights)
    assert _key(settings, weights).startswith("5edcebb189de")


def test_folding_norms_into_convolutions_changes_no_answer() -> None:
    torch = pytest.importorskip("torch")
    from torch import nn

    from partgate_engines.anomaly._quantise import _fold_norms

    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8)
    norm.running_mean, norm.running_var = torch.randn(8), torch.rand(8) + 0.5
    network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), norm, nn.ReLU(), nn.Conv2d(8, 4, 1))
    pixels = torch.randn(2, 3, 16, 16)
    network.eval()
    with torch.inference_mode():
        before = network(pixels)
        _fold_norms(network, pixels)
        after = network(pixels)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    np.testing.assert_allclose(after.numpy(), before.numpy(), atol=1e-5)


def test_eight_bits_cost_little_of_what_a_network_says() -> None:
    torch = pytest.importorskip("torch")
    from torch import nn

    from partgate_engines.anomaly._quantise import in_steps, quantise

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 4, 1)).eval()
    pixels = torch.randn(8, 3, 16, 16)
    with torch.inference_mode():
        before = network(pixels)
        step = quantise(network, pixels, network)
        after = network(pixels)
    off = float((after - before).square().mean().sqrt() / before.square().mean().sqrt())
    assert 1e-4 < off < 0.03
    assert float(before.abs().max()) == pytest.approx(127 * step)
    stepped = in_steps(torch.tensor([-500.0, 0.4, 0.6, 500.0]) * step, step) / step
    np.testing.assert_allclose(stepped.numpy(), [-128, 0, 1, 127], rtol=1e-5)
