"""The bank as bytes, where a graph's features are multiples of a step.

Every value of such a bank is a whole number of steps, -128 to 127 of them. The graph says so of the features
itself, and takes the bank as float32, as every runtime's does. Here both factors of the product become
bytes, which says the same: whole numbers are added up exactly. On a processor with VNNI the products of
1,024 patches with 512 rows of 384 features take a fifth of their time (docs/decisions/0030).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from partgate_engines._errors import BundleRefused, GraphRefused

NORMS = "norms"
"""The input that takes |y|^2 where `bank` takes y in steps."""

_LEAST, _MOST = -128, 127
_OFF_STEP = 0.01  # of a step: rounding of float32 stays below 1e-4


def take_bytes(model: Any, step: float) -> None:
    """Have a model take its bank as `bank_bytes` gives it.

    Args:
        model: `openvino.Model` of a graph that takes `bank[:, :-1]` and `bank[:, -1:]`; changed.
        step: of its features.

    Raises:
        GraphRefused: the model takes its bank in another way.
    """
    from openvino import Type, op, opset13  # type: ignore[import-untyped]  # the wheel ships no annotations

    bank = next(one for one in model.get_parameters() if "bank" in one.output(0).names)
    features = bank.get_partial_shape()[1].get_length() - 1
    rows, norms = op.Parameter(Type.i8, _shape(features)), op.Parameter(Type.f32, _shape(1))
    _name(rows, "bank")
    _name(norms, NORMS)
    for reader in _readers(bank):
        if _width(reader) == 1:
            reader.output(0).replace(norms.output(0))
        else:
            _replace_rows(reader, rows, opset13.constant(np.float32(-2 * step)))
    model.remove_parameter(bank)
    model.add_parameters([rows, norms])
    model.validate_nodes_and_infer_types()


def bank_bytes(augmented: NDArray[np.float32], step: float) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return a bank in steps, and the squares of its rows' lengths.

    Args:
        augmented: (k, d + 1) float32, rows `[-2y, |y|^2]`; |y|^2 may be any number.
        step: by what y are multiples of.

    Returns:
        (k, d) int8 and (k, 1) float32, new arrays.

    Raises:
        BundleRefused: a value is no multiple of the step, or more than 128 of them.
    """
    steps = augmented[:, :-1] / np.float32(-2 * step)
    whole = np.rint(steps)
    if not (np.abs(steps - whole).max() <= _OFF_STEP and whole.min() >= _LEAST and whole.max() <= _MOST):
        raise BundleRefused(
            f"the memory bank holds values that are no multiples of {step:g}, up to {_MOST} of them, as the"
            " features of its graph are; learn the product again"
        )
    return whole.astype(np.int8), np.array(augmented[:, -1:])


def bank_inputs(augmented: NDArray[np.float32], step: float | None) -> dict[str, NDArray[Any]]:
    """Return the inputs that a compiled graph takes a bank by, as float32 or, of a step, as bytes.

    Raises:
        BundleRefused: as `bank_bytes`.
    """
    if step is None:
        return {"bank": augmented}
    rows, norms = bank_bytes(augmented, step)
    return {"bank": rows, NORMS: norms}


def in_steps(features: Any, step: float) -> Any:
    """Return the output of a node whose values are multiples of a step, said so that OpenVINO knows it."""
    from openvino import opset13

    low, high = (opset13.constant(np.float32(steps * step)) for steps in (_LEAST, _MOST))
    return opset13.fake_quantize(features, low, high, low, high, _MOST - _LEAST + 1).output(0)


def _shape(columns: int) -> Any:
    from openvino import PartialShape

    return PartialShape([-1, columns])


def _name(parameter: Any, name: str) -> None:
    parameter.set_friendly_name(name)
    parameter.output(0).get_tensor().set_names({name})


def _readers(bank: Any) -> list[Any]:
    """Return the slices that a bank is taken apart by."""
    found = [reader.get_node() for reader in bank.output(0).get_target_inputs()]
    if any("Slice" not in node.get_type_name() for node in found) or 1 not in map(_width, found):
        raise GraphRefused(
            "the graph is said to have features in steps, and takes its bank as one without; export it again"
        )
    return found


def _width(node: Any) -> int:
    width: int = node.get_output_partial_shape(0)[1].get_length()
    return width


def _replace_rows(whole: Any, rows: Any, scale: Any) -> None:
    """Have what reads the rows of the bank read bytes; of some rows, the bytes are cut."""
    for target in list(whole.output(0).get_target_inputs()):
        node = target.get_node()
        if "Slice" in node.get_type_name():
            bounds = [node.input_value(index) for index in range(1, node.get_input_size())]
            node.output(0).replace(_in_floats(_slice(rows, bounds), scale))
        else:
            target.replace_source_output(_in_floats(rows.output(0), scale))


def _slice(rows: Any, bounds: list[Any]) -> Any:
    from openvino import opset13

    start, stop, step, axes = bounds
    return opset13.slice(rows, start, stop, step, axes).output(0)


def _in_floats(steps: Any, scale: Any) -> Any:
    from openvino import opset13

    # The form in which OpenVINO knows bytes that stand for floats: it then multiplies the bytes.
    return opset13.multiply(opset13.convert(steps, np.float32), scale).output(0)
