"""How an engine is driven. The calls are recorded; that they exist is asked of NVIDIA's own classes."""

import threading
import weakref
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from partgate_engines._cuda_errors import DeviceFailed, DeviceOutOfMemory, EngineNotBuilt
from partgate_engines._tensorrt_api import LastErrors, TensorRt, find_tensorrt
from partgate_engines._tensorrt_contract import Contract
from partgate_engines._tensorrt_execution import TensorRtEngine

CONTRACT = Contract(size_px=64, grid=(8, 8), features=4)


@pytest.fixture(scope="session")
def rtx() -> TensorRt:
    return find_tensorrt("tensorrt_rtx")


class Recorded:
    """Answers what it was told to, to calls that the real class has, and notes them."""

    def __init__(self, real: Any, journal: list[Any], **answers: Any) -> None:
        object.__setattr__(self, "_parts", (real, journal, answers))

    def __getattr__(self, name: str) -> Any:
        real, journal, answers = self._parts
        assert hasattr(real, name), f"{real.__name__} has no {name}"
        answer = answers.get(name, True)
        if isinstance(getattr(real, name), property):
            return answer

        def call(*arguments: Any) -> Any:
            journal.append((name, *arguments))
            return answer(*arguments) if callable(answer) else answer

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        real, journal, _ = self._parts
        assert isinstance(getattr(real, name), property), f"{real.__name__}.{name} cannot be set"
        journal.append((name, value))


class Wheel:
    """A wheel whose runtime loads any plan, with the real enumerations."""

    def __init__(self, rtx: TensorRt, flavour: Any, **answers: Any) -> None:
        self.journal: list[Any] = []
        self.errors = LastErrors()
        module, self.answers = rtx.module, answers
        self.cache = Recorded(module.IRuntimeCache, self.journal, serialize=lambda: b"kernels")
        self.config = Recorded(
            module.IRuntimeConfig,
            self.journal,
            create_runtime_cache=lambda: self.cache,
        )
        self.context = Recorded(
            module.IExecutionContext,
            self.journal,
            infer_shapes=answers.get("infer_shapes", []),
            update_device_memory_size_for_shapes=512,
            execute_async_v3=answers.get("execute_async_v3", True),
            set_input_shape=answers.get("set_input_shape", True),
        )
        tensors = answers.get("tensors", {**CONTRACT.inputs, **CONTRACT.outputs})
        names = list(tensors)
        dtypes = {"uint8": module.DataType.UINT8, "float32": module.DataType.FLOAT}
        modes = module.TensorIOMode
        self.engine = Recorded(
            module.ICudaEngine,
            [],
            num_io_tensors=len(names),
            get_tensor_name=lambda index: names[index],
            get_tensor_dtype=lambda name: dtypes[tensors[name].dtype],
            get_tensor_shape=lambda name: tensors[name].shape,
            get_tensor_mode=lambda name: modes.INPUT if name in CONTRACT.inputs else modes.OUTPUT,
            create_runtime_config=lambda: self.config,
            create_execution_context=self._context,
        )
        runtime = Recorded(module.Runtime, [], deserialize_cuda_engine=lambda _: self.engine)
        names_used = (
            "ExecutionContextAllocationStrategy",
            "CudaGraphStrategy",
            "DynamicShapesKernelSpecializationStrategy",
            "TensorIOMode",
        )
        fake = SimpleNamespace(
            Runtime=lambda _: runtime, **{name: getattr(module, name) for name in names_used}
        )
        self.tensorrt = TensorRt(flavour=flavour, version="1", module=fake, logger=None, errors=self.errors)

    def _context(self, how: Any) -> Any:
        self.journal.append(("create_execution_context", how))
        make = self.answers.get("context", lambda: self.context)
        return make()

    def load(self, **options: Any) -> TensorRtEngine:
        return TensorRtEngine(self.tensorrt, b"plan", contract=CONTRACT, **{"graphs": True, **options})


def test_shapes_and_addresses_are_set_once_then_it_runs(rtx: TensorRt) -> None:
    wheel = Wheel(rtx, "tensorrt")
    execution = wheel.load().execution()
    assert execution.bind(shapes={"mask": (8, 8)}, addresses={"mask": 256, "score": 512}) == 512
    execution.use_scratch(1024, 512)
    execution.enqueue(7)
    execution.enqueue(7)
    managed = rtx.module.ExecutionContextAllocationStrategy.USER_MANAGED
    assert wheel.journal == [
        ("create_execution_context", managed),
        ("set_input_shape", "mask", (8, 8)),
        ("set_tensor_address", "mask", 256),
        ("set_tensor_address", "score", 512),
        ("infer_shapes",),
        ("update_device_memory_size_for_shapes",),
        ("set_device_memory", 1024, 512),
        ("execute_async_v3", 7),
        ("execute_async_v3", 7),
    ]


@pytest.mark.parametrize(("graphs", "strategy"), [(True, "WHOLE_GRAPH_CAPTURE"), (False, "DISABLED")])
def test_rtx_is_asked_to_capture_by_itself(rtx: TensorRt, graphs: bool, strategy: str) -> None:
    wheel = Wheel(rtx, "tensorrt_rtx")
    engine = wheel.load(graphs=graphs)
    engine.execution()
    assert not engine.captures
    assert ("cuda_graph_strategy", rtx.module.CudaGraphStrategy.__members__[strategy]) in wheel.journal
    assert wheel.journal[-1] == ("create_execution_context", wheel.config)


def test_rtx_compiles_before_it_answers_and_never_swaps_kernels_in_service(rtx: TensorRt) -> None:
    wheel = Wheel(rtx, "tensorrt_rtx")
    wheel.load()
    eager = rtx.module.DynamicShapesKernelSpecializationStrategy.EAGER
    assert ("dynamic_shapes_kernel_specialization_strategy", eager) in wheel.journal


def test_tensorrt_is_captured_by_us_if_asked_for(rtx: TensorRt) -> None:
    assert Wheel(rtx, "tensorrt").load().captures
    assert not Wheel(rtx, "tensorrt").load(graphs=False).captures


def test_kernels_that_rtx_compiled_are_kept_for_the_next_start(rtx: TensorRt, tmp_path: Path) -> None:
    kept = tmp_path / "engine.kernels"
    first = Wheel(rtx, "tensorrt_rtx")
    first.load(kernels=kept).keep_kernels()
    assert kept.read_bytes() == b"kernels"
    second = Wheel(rtx, "tensorrt_rtx")
    second.load(kernels=kept)
    assert ("deserialize", b"kernels") in second.journal
    assert ("deserialize", b"kernels") not in first.journal
    assert second.journal[-1] == ("set_runtime_cache", second.cache)


def test_kernels_are_written_only_when_there_are_new_ones(rtx: TensorRt, tmp_path: Path) -> None:
    kept = tmp_path / "engine.kernels"
    engine = Wheel(rtx, "tensorrt_rtx").load(kernels=kept)
    engine.keep_kernels()
    kept.unlink()
    engine.keep_kernels()
    assert not kept.exists()


class Dropped:
    """Notes when it goes."""

    def __init__(self, name: str, journal: list[str]) -> None:
        weakref.finalize(self, journal.append, name)


def test_what_an_engine_holds_goes_before_what_made_it(rtx: TensorRt) -> None:
    engine, journal = Wheel(rtx, "tensorrt_rtx").load(), list[str]()
    for name in ("_runtime", "_engine", "_cache", "_config"):
        setattr(engine, name, Dropped(name, journal))
    engine.close()
    engine.close()
    assert journal == ["_config", "_cache", "_engine", "_runtime"]


def test_kernels_that_cannot_be_kept_do_not_stop_a_station(rtx: TensorRt, tmp_path: Path) -> None:
    taken = tmp_path / "kernels"
    taken.mkdir()
    with capture_logs() as logs:
        Wheel(rtx, "tensorrt_rtx").load(kernels=taken).keep_kernels()
    assert [line["event"] for line in logs] == ["tensorrt.kernels_not_kept"]


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        pytest.param({"execute_async_v3": False}, "judging", id="a run"),
        pytest.param({"set_input_shape": False}, r"setting mask to \(8, 8\)", id="a shape"),
        pytest.param({"infer_shapes": ["bank"]}, "inferring the shapes of bank", id="a shape left out"),
    ],
)
def test_what_tensorrt_refuses_while_judging_is_fatal(
    rtx: TensorRt, answers: dict[str, Any], says: str
) -> None:
    execution = Wheel(rtx, "tensorrt", **answers).load().execution()

    def judge() -> None:
        execution.bind(shapes={"mask": (8, 8)}, addresses={})
        execution.enqueue(7)

    with pytest.raises(DeviceFailed, match=says):
        judge()


@pytest.mark.parametrize("step", ["a build beside it", "a call before it"])
def test_what_others_said_is_not_the_reason_of_a_refusal(rtx: TensorRt, step: str) -> None:
    wheel = Wheel(rtx, "tensorrt", execute_async_v3=False)
    execution = wheel.load().execution()
    say = partial(wheel.errors.add, "skipped a tactic: out of memory")
    if step == "a call before it":
        say()
    else:
        builder = threading.Thread(target=say)
        builder.start()
        builder.join(10)
    with pytest.raises(DeviceFailed, match="no reason"):
        execution.enqueue(7)


def test_a_plan_that_a_fault_kept_from_loading_is_not_bad(rtx: TensorRt) -> None:
    wheel = Wheel(rtx, "tensorrt")

    def fail(_: bytes) -> None:
        wheel.errors.add("Error Code 1: Cuda Runtime (an illegal memory access was encountered)")

    runtime = Recorded(rtx.module.Runtime, [], deserialize_cuda_engine=fail)
    wheel.tensorrt.module.Runtime = lambda _: runtime
    with pytest.raises(DeviceFailed, match="illegal memory"):
        wheel.load()


def test_a_context_without_room_is_not_fatal(rtx: TensorRt) -> None:
    wheel = Wheel(rtx, "tensorrt")
    engine = wheel.load()
    wheel.answers["context"] = lambda: wheel.errors.add("Cuda Runtime (out of memory)")
    with pytest.raises(DeviceOutOfMemory, match="execution context"):
        engine.execution()


def test_an_engine_of_another_graph_is_not_used(rtx: TensorRt) -> None:
    tensors = {**CONTRACT.inputs, **CONTRACT.outputs}
    del tensors["mask"]
    with pytest.raises(EngineNotBuilt, match="input mask is missing"):
        Wheel(rtx, "tensorrt", tensors=tensors).load()
