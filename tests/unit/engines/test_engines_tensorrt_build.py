"""NVIDIA's own builder, which needs no GPU, takes what this project ships."""

import sys
import threading
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from partgate_engines import Bundle, GraphRefused, RuntimeUnavailable
from partgate_engines._cuda_errors import DeviceFailed, DeviceOutOfMemory, EngineNotBuilt
from partgate_engines._openvino_device import evaluate
from partgate_engines._resize import resize_matrix
from partgate_engines._tensorrt_api import LastErrors, TensorRt, _imported, _loaded, find_tensorrt
from partgate_engines._tensorrt_build import Profile, Span, build_plan, check, keep_outputs, parse
from partgate_engines._tensorrt_contract import Contract
from partgate_engines._tensorrt_half import halve_backbone
from partgate_engines.anomaly import Learned

SMALL = Profile(
    height_px=Span(least=96, usual=96, most=96),
    width_px=Span(least=80, usual=80, most=80),
    channels=Span(least=1, usual=1, most=1),
    bank_rows=Span(least=200, usual=200, most=200),
)
INPUTS = {"frames", "rows", "columns", "channels", "bank", "mask"}


@pytest.fixture(scope="session")
def rtx() -> TensorRt:
    return find_tensorrt("tensorrt_rtx")


@pytest.fixture(scope="module")
def bundle(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One bundle for all tests here: none may damage it."""
    return learned.save(tmp_path_factory.mktemp("bundle"), product="weave")


@pytest.fixture(params=["fp32", "fp16"])
def graph(request: pytest.FixtureRequest, bundle: Bundle) -> bytes:
    content = bundle.graph.read_bytes()
    return content if request.param == "fp32" else halve_backbone(content)


@pytest.fixture
def contract(bundle: Bundle) -> Contract:
    return Contract.of(bundle.manifest)


@pytest.mark.parametrize("profile", [Profile(), SMALL], ids=["any frame", "one size"])
def test_the_shipped_graph_builds(rtx: TensorRt, graph: bytes, contract: Contract, profile: Profile) -> None:
    plan = build_plan(rtx, graph, contract=contract, profile=profile)
    assert plan[1:4] == b"trt"
    assert len(plan) > 1_000_000


def test_the_parsed_network_is_what_the_manifest_says(
    rtx: TensorRt, graph: bytes, contract: Contract
) -> None:
    builder = rtx.builder()
    network = parse(rtx, builder, graph)
    assert {network.get_output(i).name for i in range(network.num_outputs)} >= {"features"}
    keep_outputs(network, contract)
    check(network, contract)
    found = {
        tensor.name: (tensor.dtype.name, tuple(tensor.shape))
        for tensor in [network.get_input(i) for i in range(network.num_inputs)]
        + [network.get_output(i) for i in range(network.num_outputs)]
    }
    assert found == {
        "frames": ("UINT8", (-1, -1, -1, -1)),
        "rows": ("FLOAT", (64, -1)),
        "columns": ("FLOAT", (-1, 64)),
        "channels": ("FLOAT", (3, -1)),
        "bank": ("FLOAT", (-1, contract.features + 1)),
        "mask": ("FLOAT", (-1, 8, 8)),
        "score": ("FLOAT", (-1,)),
        "anomaly_map": ("FLOAT", (-1, 8, 8)),
    }


def test_the_profile_reaches_from_one_row_to_fifty_thousand(rtx: TensorRt, contract: Contract) -> None:
    profile = rtx.builder().create_optimization_profile()
    for name, (least, usual, most) in Profile().shapes(contract).items():
        profile.set_shape(name, least, usual, most)
    width = contract.features + 1
    assert [tuple(shape) for shape in profile.get_shape("bank")] == [
        (1, width),
        (2048, width),
        (50_000, width),
    ]


def test_two_builds_are_nearly_but_not_surely_the_same(
    rtx: TensorRt, graph: bytes, contract: Contract
) -> None:
    # Why the engine cache goes by the key and never by the plan's bytes: RTX 1.7.1 numbers its symbols
    # and kernels differently from time to time.
    first, second = (
        np.frombuffer(build_plan(rtx, graph, contract=contract, profile=SMALL), np.uint8) for _ in range(2)
    )
    assert len(first) == len(second)
    assert np.mean(first != second) < 1e-3


def test_in_half_precision_convolutions_are_half_and_distances_are_not(rtx: TensorRt, bundle: Bundle) -> None:
    network = parse(rtx, rtx.builder(), halve_backbone(bundle.graph.read_bytes()))
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    computed: dict[str, set[str]] = {}
    for layer in layers:
        computed.setdefault(layer.type.name, set()).add(layer.get_output(0).dtype.name)
    assert computed["CONVOLUTION"] == {"HALF"}
    assert computed["MATRIX_MULTIPLY"] == {"FLOAT"}
    assert computed["TOPK"] == {"FLOAT"}


def test_in_half_precision_the_score_stays_close(bundle: Bundle, tmp_path: Path) -> None:
    contract = Contract.of(bundle.manifest)
    random = np.random.default_rng(5)
    bank = bundle.bank()
    inputs: dict[str, NDArray[Any]] = {
        "frames": random.integers(0, 256, (2, 96, 80, 1), dtype=np.uint8),
        "rows": resize_matrix(96, contract.size_px),
        "columns": np.ascontiguousarray(resize_matrix(80, contract.size_px).T),
        "channels": np.ones((3, 1), np.float32),
        "bank": bank.augmented(),
        "mask": np.ones((2, *contract.grid), np.float32),
    }
    names = ["score", "anomaly_map"]
    expected = evaluate(bundle.graph, inputs, names)
    # The reference evaluator really computes in float16; OpenVINO would not.
    found: Any = ReferenceEvaluator(halve_backbone(bundle.graph.read_bytes())).run(names, inputs)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=2e-2)
    assert not np.array_equal(found[1], expected[1])


def _tiny(nodes: list[Any], *, weights: list[Any], output: tuple[str, int, list[Any]]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info(*output)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def _one_convolution(weight: float) -> bytes:
    kernel = numpy_helper.from_array(np.full((1, 1, 3, 3), weight, np.float32), "kernel")
    nodes = [helper.make_node("Conv", ["frames", "kernel"], ["out"], name="only")]
    return _tiny(nodes, weights=[kernel], output=("out", TensorProto.FLOAT, ["n", 1, 6, 6]))


def test_a_weight_that_is_too_large_for_half_precision_is_refused() -> None:
    halve_backbone(_one_convolution(65_000.0))
    with pytest.raises(GraphRefused, match=r"kernel holds 1e\+06"):
        halve_backbone(_one_convolution(1e6))


def test_a_graph_without_a_backbone_is_not_halved() -> None:
    nodes = [helper.make_node("Relu", ["frames"], ["out"])]
    content = _tiny(nodes, weights=[], output=("out", TensorProto.FLOAT, ["n", 1, 8, 8]))
    with pytest.raises(GraphRefused, match="no convolution"):
        halve_backbone(content)


def test_a_transpose_of_bytes_is_refused_by_node_and_operator(rtx: TensorRt, contract: Contract) -> None:
    frames = helper.make_tensor_value_info("frames", TensorProto.UINT8, ["n", "h", "w", 3])
    turned = helper.make_tensor_value_info("turned", TensorProto.UINT8, ["n", 3, "h", "w"])
    node = helper.make_node("Transpose", ["frames"], ["turned"], name="to_planes", perm=[0, 3, 1, 2])
    model = helper.make_model(
        helper.make_graph([node], "bytes", [frames], [turned]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    with pytest.raises(GraphRefused, match=r"to_planes \(Transpose\)"):
        build_plan(rtx, model.SerializeToString(), contract=contract, profile=SMALL)


def _baked(graph: Any) -> None:
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def _renamed(graph: Any) -> None:
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = "ignore" if name == "mask" else name
    next(value for value in graph.input if value.name == "mask").name = "ignore"


def _without_score(graph: Any) -> None:
    del graph.output[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(_baked, r"input frames is uint8 \(2, free, free, free\)", id="a batch baked in"),
        pytest.param(_renamed, "input mask is missing; input ignore is not known", id="another input"),
        pytest.param(_without_score, "output score is missing", id="an output lost"),
    ],
)
def test_what_the_builder_would_take_is_refused(
    rtx: TensorRt, bundle: Bundle, contract: Contract, change: Any, says: str
) -> None:
    model = onnx.load(bundle.graph)
    change(model.graph)
    with pytest.raises(GraphRefused, match=says):
        build_plan(rtx, model.SerializeToString(), contract=contract, profile=SMALL)


def test_bytes_that_are_no_graph_are_refused(rtx: TensorRt, contract: Contract) -> None:
    with pytest.raises(GraphRefused):
        build_plan(rtx, b"not a graph at all", contract=contract, profile=SMALL)


def test_a_plan_that_is_damaged_is_refused_with_a_reason(rtx: TensorRt) -> None:
    with pytest.raises(EngineNotBuilt, match="does not take this plan") as refused:
        rtx.engine(b"vtrt" + bytes(4096))
    assert "no reason" not in str(refused.value)


def test_every_phase_of_a_build_is_told(rtx: TensorRt, bundle: Bundle, contract: Contract) -> None:
    told: list[tuple[str, int, int]] = []
    build_plan(
        rtx,
        bundle.graph.read_bytes(),
        contract=contract,
        profile=SMALL,
        progress=lambda step, done, total: told.append((step, done, total)),
    )
    assert told[0][:2] == ("Building engine", 0)
    assert told[-1][1] == told[-1][2] > 0
    assert all(0 <= done <= total for _, done, total in told)


def test_a_progress_that_fails_ends_the_build_with_its_own_error(
    rtx: TensorRt, bundle: Bundle, contract: Contract
) -> None:
    def fail(_step: str, _done: int, _total: int) -> None:
        raise OSError("the terminal is gone")

    with pytest.raises(OSError, match="terminal"):
        build_plan(rtx, bundle.graph.read_bytes(), contract=contract, profile=SMALL, progress=fail)


def test_a_build_can_be_given_up(rtx: TensorRt, bundle: Bundle, contract: Contract) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(EngineNotBuilt, match="told to stop"):
        build_plan(rtx, bundle.graph.read_bytes(), contract=contract, profile=SMALL, stop=stop)


def test_a_plan_is_aimed_at_the_gpus_that_rtx_serves(
    rtx: TensorRt, bundle: Bundle, contract: Contract
) -> None:
    content = bundle.graph.read_bytes()
    build_plan(rtx, content, contract=contract, profile=SMALL, capabilities=("8.6", "12.0"))
    assert rtx.serves("8.9")
    assert not rtx.serves("9.0")
    with pytest.raises(EngineNotBuilt, match=r"8\.7, 9\.0"):
        build_plan(rtx, content, contract=contract, profile=SMALL, capabilities=("8.6", "8.7", "9.0"))


def test_a_wheel_that_is_not_there_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeUnavailable, match=r"install tensorrt \(10\.12 or later\)"):
        _imported("tensorrt")
    with pytest.raises(RuntimeUnavailable, match="install tensorrt-rtx-cu13-bindings"):
        _imported("tensorrt_rtx")


class _Flag(Enum):
    STRONGLY_TYPED = 1

    def __int__(self) -> int:
        return int(self.value)


class _Severity:
    ERROR = 1
    WARNING = 2


class _FakeILogger:
    Severity = _Severity


def _fake_tensorrt(version: str) -> Any:
    return SimpleNamespace(
        __version__=version, ILogger=_FakeILogger, NetworkDefinitionCreationFlag=_Flag, ComputeCapability=None
    )


def test_a_tensorrt_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", _fake_tensorrt("10.9.0.34"))
    with pytest.raises(RuntimeUnavailable, match=r"10\.9\.0\.34 is too old"):
        _loaded.__wrapped__("tensorrt")


def test_the_strongly_typed_flag_is_the_wheels_own(rtx: TensorRt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", _fake_tensorrt("10.13.3.9"))
    ten = _loaded.__wrapped__("tensorrt")
    assert ten.network(SimpleNamespace(create_network=lambda flags: flags)) == 2
    assert ten.captures
    assert ten.serves("9.0")
    # TensorRT-RTX gives the flag the value 0, and makes nothing of TensorRT's number.
    assert rtx.network(rtx.builder()) is not None
    assert rtx.builder().create_network(2) is None
    assert not rtx.captures


def test_what_tensorrt_logs_is_the_reason_of_a_refusal(rtx: TensorRt) -> None:
    errors = LastErrors()
    failed = TensorRt(
        flavour="tensorrt_rtx", version="1.7", module=rtx.module, logger=rtx.logger, errors=errors
    )
    errors.add("Cuda Runtime (an illegal memory access was encountered)")
    assert isinstance(failed.refusal("judging"), DeviceFailed)
    errors.add("[virtualMemoryBuffer.cpp] OutOfMemory: requested 4 GB")
    refusal = failed.refusal("judging")
    assert isinstance(refusal, DeviceOutOfMemory)
    assert "4 GB" in str(refusal)
    assert "no reason" in str(failed.refusal("judging"))
