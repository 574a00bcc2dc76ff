"""OpenVINO on this machine: how a graph is read and compiled."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partgate_engines._errors import GraphRefused, RuntimeUnavailable

# f32, although bf16 is several times faster where the processor has AMX: the same bytes in must give
# the same verdict on every machine until a parity gate says otherwise.
CONFIG = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


@cache
def library() -> Any:
    """Return the `openvino` module.

    Raises:
        RuntimeUnavailable: it is not installed.
    """
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


def read_graph(path: Path) -> Any:
    """Return the `openvino.Model` of an ONNX file.

    Raises:
        GraphRefused: OpenVINO cannot read it.
    """
    core = _core()
    try:
        return core.read_model(path)
    except RuntimeError as error:
        raise GraphRefused(f"{path}: OpenVINO cannot read it ({_first_line(error)})") from error


def compile_graph(path: Path, model: Any) -> Any:
    """Return the `openvino.CompiledModel` of a model that was read, for one frame at a time.

    Raises:
        GraphRefused: OpenVINO cannot compile it.
    """
    try:
        model.reshape({"frames": [1, -1, -1, -1]})
        return _core().compile_model(model, "CPU", CONFIG)
    except RuntimeError as error:
        raise GraphRefused(f"{path}: OpenVINO cannot compile it ({_first_line(error)})") from error


def _first_line(error: RuntimeError) -> str:
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), "no reason given")


def evaluate(
    path: Path, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]
) -> tuple[NDArray[np.float32], ...]:
    """Run a graph once, of any batch size, and return the outputs that were named.

    Raises:
        GraphRefused: OpenVINO cannot read or run it.
    """
    try:
        compiled = _core().compile_model(read_graph(path), "CPU", CONFIG)
        found = compiled(dict(inputs))
    except RuntimeError as error:
        raise GraphRefused(f"{path}: OpenVINO cannot run it ({_first_line(error)})") from error
    return tuple(np.array(found[compiled.output(name)]) for name in outputs)
