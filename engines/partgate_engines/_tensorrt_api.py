"""The one place that knows NVIDIA's wheels, and what differs between them.

`tensorrt` (10.12 and later, and 11) and `tensorrt_rtx` (1.7) have nearly the same API:

|                     | tensorrt 10                  | tensorrt 11           | tensorrt_rtx 1.7              |
|---------------------|------------------------------|-----------------------|-------------------------------|
| strong typing       | by a flag                    | always, flag accepted | always, the flag has value 0  |
| one plan fits       | the GPU it was built on      | the GPU               | every capability it names     |
| CUDA graphs         | captured by the application  | by the application    | by the runtime, when asked to |
| kernels compiled by | the builder                  | the builder           | the runtime, kept in a cache  |
"""

import importlib
import re
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

import structlog

from partgate_engines._cuda_errors import (
    DeviceFailed,
    DeviceOutOfMemory,
    EngineNotBuilt,
    says_fault,
    says_no_room,
)
from partgate_engines._errors import RuntimeUnavailable

log = structlog.get_logger(__name__)

Flavour = Literal["tensorrt", "tensorrt_rtx"]

FLAVOURS: tuple[Flavour, ...] = ("tensorrt", "tensorrt_rtx")
"""In the order in which they are taken."""

_MODULES: Mapping[Flavour, tuple[str, ...]] = {
    "tensorrt": ("tensorrt",),
    # The metapackage brings the first, the wheels alone the second.
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
WHEELS: Mapping[Flavour, str] = {
    "tensorrt": "tensorrt (10.12 or later)",
    "tensorrt_rtx": "tensorrt-rtx-cu13-bindings and tensorrt-rtx-cu13-libs",
}
_OLDEST = (10, 12)  # strongly typed graphs as this project builds them
_ERRORS_KEPT = 8


class LastErrors:
    """The last errors that TensorRT logged: its calls say None or False, and its logger says why.

    A call while judging logs in the thread that makes it, so what a build beside it logs is not its reason.
    A builder has threads of its own.
    """

    def __init__(self) -> None:
        # Overflow, of each thread: the oldest goes; an error that matters is among the last.
        self._lines: dict[int, deque[str]] = {}
        self._lock = threading.Lock()

    def add(self, line: str) -> None:
        """Keep a line."""
        with self._lock:
            lines = self._lines.setdefault(threading.get_ident(), deque(maxlen=_ERRORS_KEPT))
            lines.append(line)

    def take(self) -> str:
        """Return what any thread logged since the last time, as one line, and forget it."""
        with self._lock:
            lines = [line for found in self._lines.values() for line in found]
            self._lines.clear()
        return _as_one(lines)

    def take_own(self) -> str:
        """Return what this thread logged since the last time, as one line, and forget it."""
        with self._lock:
            lines = list(self._lines.pop(threading.get_ident(), ()))
        return _as_one(lines)


def _as_one(lines: Sequence[str]) -> str:
    return "; ".join(lines) or "TensorRT gave no reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRt:
    """One of the wheels, ready to build and to run."""

    flavour: Flavour
    version: str
    module: Any
    logger: Any
    errors: LastErrors

    @property
    def captures(self) -> bool:
        """Whether a CUDA graph is captured by us; else the runtime is asked to do it."""
        return self.flavour == "tensorrt"

    def serves(self, capability: str) -> bool:
        """Return whether it can run on GPUs of a compute capability such as "8.9".

        TensorRT-RTX leaves out the data centre's H100 and H200 (9.0) and Jetson Orin (8.7).
        """
        if self.flavour == "tensorrt":
            return True
        return f"SM{capability.replace('.', '')}" in self.module.ComputeCapability.__members__

    def builder(self) -> Any:
        """Return a new builder.

        Raises:
            EngineNotBuilt: TensorRT makes none, without a GPU for example.
        """
        try:
            builder = self.module.Builder(self.logger)
        except (RuntimeError, TypeError) as error:  # pybind's word for a null pointer is TypeError
            raise EngineNotBuilt(f"{self}: has no builder here ({error}; {self.errors.take()})") from error
        return builder

    def network(self, builder: Any) -> Any:
        """Return an empty, strongly typed network.

        Raises:
            EngineNotBuilt: TensorRT makes none.
        """
        # By the enumeration, never by a number: TensorRT-RTX gives the flag another one.
        flag = self.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        network = builder.create_network(1 << int(flag))
        if network is None:
            raise EngineNotBuilt(f"{self}: makes no strongly typed network ({self.errors.take()})")
        return network

    def configuration(self, builder: Any) -> Any:
        """Return how to build: every number in the precision that the graph says, NaN kept."""
        config = builder.create_builder_config()
        flags = self.module.BuilderFlag
        # TF32 rounds to 10 bits before a product. A distance is a small difference of large squares.
        config.clear_flag(flags.TF32)
        config.set_flag(flags.STRICT_NANS)
        return config

    def aim_at(self, config: Any, capabilities: tuple[str, ...]) -> None:
        """Build for these compute capabilities instead of for this machine or, RTX, for all.

        Raises:
            EngineNotBuilt: this wheel does not build for one of them.
        """
        if not capabilities:
            return
        if self.flavour == "tensorrt":
            raise EngineNotBuilt(f"{self}: builds for the GPU of this machine only, not for {capabilities}")
        strange = [name for name in capabilities if not self.serves(name)]
        if strange:
            raise EngineNotBuilt(f"{self}: does not serve compute capability {', '.join(strange)}")
        config.num_compute_capabilities = len(capabilities)
        for index, name in enumerate(capabilities):
            member = self.module.ComputeCapability.__members__[f"SM{name.replace('.', '')}"]
            config.set_compute_capability(member, index)

    def engine(self, plan: bytes) -> tuple[Any, Any]:
        """Return a runtime and the engine of a plan; the runtime must outlive the engine.

        Raises:
            EngineNotBuilt: it is a plan of another version or for another GPU, or damaged.
            DeviceOutOfMemory: the device has no room left.
            DeviceFailed: the device's context answers wrongly, which says nothing of the plan.
        """
        self.errors.take_own()
        runtime = self.module.Runtime(self.logger)
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            reason = self.errors.take_own()
            if says_no_room(reason):
                raise DeviceOutOfMemory(f"GPU: no memory left for the engine ({reason})")
            if says_fault(reason):
                raise self._failed("loading the engine", reason)
            raise EngineNotBuilt(f"{self}: does not take this plan ({reason})")
        return runtime, engine

    def refusal(self, doing: str) -> DeviceOutOfMemory | DeviceFailed:
        """Return the error for a call, while judging, that TensorRT answered with None or False."""
        reason = self.errors.take_own()
        if says_no_room(reason):
            return DeviceOutOfMemory(f"GPU: no memory left while {doing} ({reason})")
        return self._failed(doing, reason)

    def _failed(self, doing: str, reason: str) -> DeviceFailed:
        return DeviceFailed(
            f"{self}: failed while {doing} ({reason}); this process ends, because its CUDA context may"
            " answer wrongly from now on"
        )

    def __str__(self) -> str:
        return f"{self.flavour} {self.version}"


def find_tensorrt(flavour: Flavour | None = None) -> TensorRt:
    """Return the wheel that is installed.

    Args:
        flavour: this one and no other; None takes the first that is there, `tensorrt` before
            `tensorrt_rtx`.

    Raises:
        RuntimeUnavailable: none is installed, or it is too old.
    """
    reasons: list[str] = []
    for name in (flavour,) if flavour else FLAVOURS:
        try:
            return _loaded(name)
        except RuntimeUnavailable as error:
            reasons.append(str(error))
    raise RuntimeUnavailable("; ".join(reasons))


def missing_wheel() -> str | None:
    """Return what to install if no wheel is there; None if one is. Imports none: they are large."""
    names = [name for flavour in FLAVOURS for name in _MODULES[flavour]]
    if any(find_spec(name) is not None for name in names):
        return None
    return f"no TensorRT is installed; install {' or '.join(WHEELS[flavour] for flavour in FLAVOURS)}"


@cache
def _loaded(flavour: Flavour) -> TensorRt:
    module = _imported(flavour)
    version = str(module.__version__)
    if flavour == "tensorrt" and _numbers(version) < _OLDEST:
        raise RuntimeUnavailable(f"tensorrt {version} is too old; install {WHEELS[flavour]}")
    errors = LastErrors()
    return TensorRt(
        flavour=flavour,
        version=version,
        module=module,
        logger=_make_logger(module, flavour, errors),
        errors=errors,
    )


def _imported(flavour: Flavour) -> Any:
    reasons: list[str] = []
    for name in _MODULES[flavour]:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: a library inside the wheel does not load
            reasons.append(str(error))
    raise RuntimeUnavailable(f"{flavour} is not installed ({reasons[-1]}); install {WHEELS[flavour]}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _make_logger(module: Any, flavour: Flavour, errors: LastErrors) -> Any:
    """Return the logger of this process: TensorRT keeps the first that it is given."""
    severity = module.ILogger.Severity
    bound = log.bind(flavour=flavour)

    class Logger(module.ILogger):  # type: ignore[misc]  # its base is known at run time
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, level: Any, message: str) -> None:
            if level <= severity.ERROR:
                errors.add(message.strip())
                bound.error("tensorrt.said", message=message)
            elif level == severity.WARNING:
                bound.warning("tensorrt.said", message=message)

    return Logger()
