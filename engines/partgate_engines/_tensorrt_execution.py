"""A TensorRT engine as judging uses it: shapes, addresses, scratch memory, and one call that runs it."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import structlog

from partgate_engines._cuda_errors import EngineNotBuilt
from partgate_engines._errors import BundleNotWritten
from partgate_engines._tensorrt_api import TensorRt
from partgate_engines._tensorrt_contract import Contract, Tensor
from partgate_engines._write import write_file

log = structlog.get_logger(__name__)

_DTYPES = {"UINT8": "uint8", "FLOAT": "float32"}


class Execution(Protocol):
    """One way of running an engine: shapes and addresses that are set once."""

    def bind(self, *, shapes: Mapping[str, tuple[int, ...]], addresses: Mapping[str, int]) -> int:
        """Set the inputs' shapes and where every tensor lies.

        Returns:
            How many bytes of scratch memory it needs for these shapes.

        Raises:
            DeviceFailed: the engine does not take them.
        """

    def use_scratch(self, address: int, nbytes: int) -> None:
        """Work in this memory from now on; others may use it before and after, not during."""

    def enqueue(self, stream_handle: int) -> None:
        """Put one run into a stream; returns at once.

        Raises:
            DeviceFailed: the engine refuses.
        """


class Engine(Protocol):
    """A compiled graph on a device."""

    @property
    def captures(self) -> bool:
        """Whether its runs may be captured in a CUDA graph by who uses it."""

    def execution(self) -> Execution:
        """Return a new way of running it.

        Raises:
            DeviceOutOfMemory: there is no room for one more.
        """

    def keep_kernels(self) -> None:
        """Keep what was compiled while it ran, for the next start."""

    def close(self) -> None:
        """Give back what it holds on the device. Its executions go before."""


class TensorRtEngine:
    """An engine by one of NVIDIA's wheels."""

    def __init__(
        self,
        tensorrt: TensorRt,
        plan: bytes,
        *,
        contract: Contract,
        graphs: bool,
        kernels: Path | None = None,
    ) -> None:
        """Load a plan. A CUDA context must be current.

        Args:
            tensorrt: the wheel that the plan was built with.
            plan: of the engine.
            contract: what its inputs and outputs must be.
            graphs: whether runs are captured in CUDA graphs, by us or by the runtime.
            kernels: the file in which RTX, which compiles kernels when they first run, keeps them.

        Raises:
            EngineNotBuilt: the plan is not for this wheel or GPU, or not for such a graph.
            DeviceOutOfMemory: the device has no room for it.
        """
        self._tensorrt = tensorrt
        self._graphs = graphs
        self._runtime, self._engine = tensorrt.engine(plan)
        problems = contract.problems(inputs=self._tensors("INPUT"), outputs=self._tensors("OUTPUT"))
        if problems:
            raise EngineNotBuilt(f"the engine is not of this graph: {'; '.join(problems)}")
        self._kernels_file = kernels
        self._kernels_kept = b""
        self._cache: Any = None
        self._config: Any = None if tensorrt.captures else self._runtime_config()

    @property
    def captures(self) -> bool:
        """Whether its runs may be captured by who uses it; RTX captures by itself."""
        return self._graphs and self._tensorrt.captures

    def execution(self) -> Execution:
        """Return a new execution context, without scratch memory of its own."""
        self._tensorrt.errors.take_own()
        strategy = self._tensorrt.module.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._engine.create_execution_context(strategy if self._config is None else self._config)
        if context is None:
            raise self._tensorrt.refusal("making an execution context")
        return _ContextExecution(self._tensorrt, context)

    def keep_kernels(self) -> None:
        """Keep the kernels that RTX compiled while it ran; nothing with `tensorrt`."""
        if self._cache is None or self._kernels_file is None:
            return
        content = bytes(self._cache.serialize())
        digest = sha256(content).digest()
        if digest == self._kernels_kept:
            return
        self._kernels_kept = digest  # also if it cannot be written: the next run would find no other disk
        try:
            write_file(self._kernels_file, content)
        except BundleNotWritten as error:
            log.warning(
                "tensorrt.kernels_not_kept", why=str(error), what_now="the next start compiles them again"
            )

    def close(self) -> None:
        """Give back what it holds, each thing before the one that made it; a second time does nothing."""
        self._config = None
        self._cache = None
        self._engine = None
        self._runtime = None

    def _runtime_config(self) -> Any:
        module = self._tensorrt.module
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(
            module.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        kinds = module.CudaGraphStrategy
        config.cuda_graph_strategy = kinds.WHOLE_GRAPH_CAPTURE if self._graphs else kinds.DISABLED
        # Its other way, LAZY, answers by a fallback until a kernel is compiled: scores and times would change
        # in service.
        if hasattr(config, "dynamic_shapes_kernel_specialization_strategy"):
            eager = module.DynamicShapesKernelSpecializationStrategy.EAGER
            config.dynamic_shapes_kernel_specialization_strategy = eager
        # Held here: the configuration knows it, and nothing says that it keeps it.
        cache = self._cache = config.create_runtime_cache()
        # RTX checks what it is given: version, GPU, driver and damage; what it refuses is made again.
        if self._kernels_file is not None and self._kernels_file.is_file():
            taken = cache.deserialize(self._kernels_file.read_bytes())
            log.info("tensorrt.kernels", taken=bool(taken))
        config.set_runtime_cache(cache)
        return config

    def _tensors(self, mode: str) -> dict[str, Tensor]:
        wanted = self._tensorrt.module.TensorIOMode.__members__[mode]
        engine = self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        return {
            name: _described(engine.get_tensor_dtype(name), engine.get_tensor_shape(name))
            for name in names
            if engine.get_tensor_mode(name) == wanted
        }


def _described(dtype: Any, shape: Any) -> Tensor:
    return Tensor(dtype=_DTYPES.get(dtype.name, dtype.name.lower()), shape=tuple(shape))


class _ContextExecution:
    def __init__(self, tensorrt: TensorRt, context: Any) -> None:
        self._tensorrt = tensorrt
        self._context = context

    def bind(self, *, shapes: Mapping[str, tuple[int, ...]], addresses: Mapping[str, int]) -> int:
        self._tensorrt.errors.take_own()
        for name, shape in shapes.items():
            self._checked(self._context.set_input_shape(name, shape), f"setting {name} to {shape}")
        for name, address in addresses.items():
            self._checked(self._context.set_tensor_address(name, address), f"binding {name}")
        vague = self._context.infer_shapes()
        self._checked(not vague, f"inferring the shapes of {', '.join(vague)}")
        return int(self._context.update_device_memory_size_for_shapes())

    def use_scratch(self, address: int, nbytes: int) -> None:
        self._context.set_device_memory(address, nbytes)

    def enqueue(self, stream_handle: int) -> None:
        self._tensorrt.errors.take_own()
        self._checked(self._context.execute_async_v3(stream_handle), "judging")

    def _checked(self, done: bool, doing: str) -> None:  # noqa: FBT001 - TensorRT's own answer
        if not done:
            raise self._tensorrt.refusal(doing)
