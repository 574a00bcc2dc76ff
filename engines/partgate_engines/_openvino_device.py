"""OpenVINO on this machine: how a graph is read and compiled."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from partgate_engines._cuda_errors import DeviceHung
from partgate_engines._errors import GraphRefused, RuntimeUnavailable
from partgate_engines._openvino_bands import resize_in_bands

Precision = Literal["f32", "bf16", "f16"]

COMPILED = 4
"""Change it whenever something else is compiled of a graph: engines that were kept are then not taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """How a graph is compiled."""

    precision: Precision = "f32"
    """What convolutions and products are computed in."""

    streams: int = 1
    """Requests judged side by side, sharing the threads; 1 gives all threads to one."""

    threads: int = 0
    """Cores to use at most; 0 for all that this process may."""

    @property
    def properties(self) -> dict[str, str | int]:
        """What OpenVINO is told."""
        said: dict[str, str | int] = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "PERFORMANCE_HINT": "LATENCY" if self.streams == 1 else "THROUGHPUT",
        }
        if self.streams > 1:
            said["NUM_STREAMS"] = self.streams
        if self.threads:
            said["INFERENCE_NUM_THREADS"] = self.threads
        return said


_ANSWER_WITHIN_S = 60.0

# f32, although OpenVINO's own choice is bf16 where the processor has it: learning and export must get
# the same on every machine. For judging it is chosen by measuring (`_openvino_precision`).
PLAIN = DeviceConfig()


@cache
def library() -> Any:
    """Return the `openvino` module.

    Raises:
        RuntimeUnavailable: it is not installed.
    """
    # OpenVINO tells its maker over the network of every import, and leaves a client's number in the
    # person's home. Where its reporter cannot be imported, it does without.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # Python's own way to bar one
    try:
        import openvino  # type: ignore[import-untyped]  # the wheel ships no annotations
    except ImportError as error:
        raise RuntimeUnavailable(
            f"runtime openvino: not installed ({error}); install partgate again"
        ) from error
    return openvino


@cache
def _core() -> Any:
    return library().Core()


def capabilities() -> frozenset[str]:
    """Return what the processor is good at, in OpenVINO's words: FP32, BF16, FP16, INT8, ..."""
    return frozenset(_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def compile_graph(
    path: Path,
    *,
    content: bytes | None = None,
    with_map: bool = True,
    with_features: bool = False,
    step: float | None = None,
    as_exported: bool = False,
    config: DeviceConfig = PLAIN,
) -> Any:
    """Return the `openvino.CompiledModel` of an ONNX graph; see `read_graph`.

    Args:
        path: of the graph.
        content: its bytes, where they were read and verified already.
        with_map: whether the anomaly map is an output; without it the score costs less.
        with_features: whether the patch features are an output as well.
        step: of its features; the bank is then taken as bytes (`_openvino_bytes`). None: as float32.
        as_exported: see `read_graph`.
        config: how.

    Raises:
        GraphRefused: OpenVINO cannot read or compile it.
    """
    model = read_graph(path, content, as_exported=as_exported)
    for name, wanted in (("anomaly_map", with_map), ("features", with_features)):
        if not wanted:
            model.remove_result(model.output(name).get_node())
    if step is not None:
        from partgate_engines._openvino_bytes import take_bytes

        take_bytes(model, step)
    return compile_model(path, model, config)


def read_graph(path: Path, content: bytes | None = None, *, as_exported: bool = False) -> Any:
    """Return the `openvino.Model` of an ONNX graph, for one tile, resized in bands (`_openvino_bands`).

    Args:
        path: of the graph.
        content: its bytes, where they were read and verified already.
        as_exported: leaves the number of tiles free, and the resize as it was exported.

    Raises:
        GraphRefused: OpenVINO cannot read it.
    """
    with _graph_errors(path, "read"):
        model = _core().read_model(path if content is None else content)
        if not as_exported:
            resize_in_bands(model)
        _set_tiles(model, -1 if as_exported else 1)
    return model


def _set_tiles(model: Any, count: int) -> None:
    """Say how many tiles there are in one run; -1 for any number.

    Where it is 1, OpenVINO knows the size of everything behind the resize, and plans, fuses and leaves out
    steps that it otherwise takes one by one: docs/decisions/0010 has what that brings.
    """
    shapes = {name: list(model.input(name).get_partial_shape()) for name in ("frames", "mask")}
    # Graphs exported before there were tiles take one mask for all frames; the rest is the same.
    model.reshape({"frames": [count, *shapes["frames"][1:]], "mask": [count, *shapes["mask"][-2:]]})


def compile_model(path: Path, model: Any, config: DeviceConfig) -> Any:
    """Return the `openvino.CompiledModel` of a model that was read from `path`.

    Raises:
        GraphRefused: OpenVINO cannot compile it.
    """
    with _graph_errors(path, "compile"):
        return _core().compile_model(model, "CPU", config.properties)


def wait_for(request: Any) -> None:
    """Wait until a request that was started has its answers.

    Raises:
        DeviceHung: it has none in a minute.
    """
    if not request.wait_for(round(_ANSWER_WITHIN_S * 1000)):
        raise DeviceHung(f"CPU: no answer within {_ANSWER_WITHIN_S:g} s; this process must end")


def precision_of(compiled: Any) -> str:
    """Return what a compiled graph is computed in: float32 where the processor lacks what was asked for."""
    name: str = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return name


def export_engine(compiled: Any) -> bytes:
    """Return a compiled graph's bytes, from which `import_engine` makes it again."""
    content: bytes = compiled.export_model().getvalue()
    return content


def import_engine(path: Path, content: bytes, config: DeviceConfig) -> Any:
    """Return the `openvino.CompiledModel` of bytes that were exported here.

    OpenVINO looks only at what it stumbles over: of an engine with 50 bytes of its weights overwritten
    it says nothing, and judges with them. Whoever calls this has checked the hash.

    Raises:
        GraphRefused: OpenVINO does not take them.
    """
    with _graph_errors(path, "load the engine of"):
        return _core().import_model(BytesIO(content), "CPU", config.properties)


@contextmanager
def _graph_errors(path: Path, doing: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise GraphRefused(f"{path}: OpenVINO cannot {doing} it ({_first_line(error)})") from error


def _first_line(error: RuntimeError) -> str:
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), "no reason given")


def evaluate(
    path: Path, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]
) -> tuple[NDArray[np.float32], ...]:
    """Run a graph once, of any batch size, and return the outputs that were named.

    Raises:
        GraphRefused: OpenVINO cannot read or run it.
    """
    with _graph_errors(path, "read"):
        model = _core().read_model(path)
    with _graph_errors(path, "run"):
        compiled = _core().compile_model(model, "CPU", PLAIN.properties)
        found = compiled(dict(inputs))
    return tuple(np.array(found[compiled.output(name)]) for name in outputs)
