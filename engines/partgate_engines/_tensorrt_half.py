"""A graph whose backbone computes in half precision, made of one that computes in float."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from partgate_engines._errors import GraphRefused

HALF_VERSION = 1
"""Part of an engine's key: change it whenever the pass below changes what it makes."""

# What may follow the last convolution and still belongs to the backbone.
_FOLLOWING = frozenset({"Add", "BatchNormalization", "Clip", "HardSwish", "LeakyRelu", "Relu", "Sigmoid"})
# Inputs that an operator wants in float32 whatever it computes in.
_KEPT: Mapping[str, frozenset[int]] = {"Resize": frozenset({1, 2})}
_LARGEST_HALF = float(np.finfo(np.float16).max)


def halve_backbone(graph: bytes) -> bytes:
    """Return the graph with everything between its first and last convolution in float16.

    The resize and normalisation before it, and the pooling, distances and score after it stay in
    float32: a distance is a small difference of large squares, and float16 has 11 bits. Types are
    decided here, in the graph, because strongly typed networks (all that TensorRT 11 and RTX build)
    take no other word for it.

    Raises:
        GraphRefused: the graph has no convolution, a weight does not fit into float16, or a tensor's
            type cannot be inferred.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph))
    if any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        raise GraphRefused("the graph cannot be halved: it holds other graphs (If, Loop or Scan)")
    _Halving(model.graph).run()
    del model.graph.value_info[:]  # they say float32 where it is float16 now
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


class _Halving:
    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._types = _element_types(graph)
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._constants = {
            node.output[0]: attribute.t
            for node in graph.node
            if node.op_type == "Constant"
            for attribute in node.attribute
            if attribute.name == "value"
        }
        self._region = _region(graph.node, set(self._weights) | set(self._constants))
        self._made = {name for index in self._region for name in graph.node[index].output}
        self._nodes: list[Any] = []
        self._there: set[str] = set()

    def run(self) -> None:
        """Rewrite the graph in place."""
        outside = [node for index, node in enumerate(self._graph.node) if index not in self._region]
        read_outside = {name for node in outside for name in node.input}
        read_outside |= {output.name for output in self._graph.output}
        for index, node in enumerate(self._graph.node):
            if index in self._region:
                self._halve(node, read_outside)
            else:
                self._nodes.append(node)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        self._drop_unread_weights()

    def _halve(self, node: Any, read_outside: set[str]) -> None:
        kept = _KEPT.get(node.op_type, frozenset())
        for position, name in enumerate(node.input):
            if position not in kept and self._is_float(name):
                node.input[position] = self._half_of(name)
        _retype(node)
        floats = [name for name in node.output if self._is_float(name)]
        for position, name in enumerate(node.output):
            if name in floats:
                node.output[position] = _half(name)
        self._nodes.append(node)
        for name in floats:
            if name in read_outside:
                self._nodes.append(helper.make_node("Cast", [_half(name)], [name], to=TensorProto.FLOAT))

    def _half_of(self, name: str) -> str:
        """Return the name of a tensor's float16 twin, made now if it is not there yet."""
        half = _half(name)
        if name in self._made or half in self._there:
            return half
        self._there.add(half)
        constant = self._weights.get(name, self._constants.get(name))
        if constant is None:
            self._nodes.append(helper.make_node("Cast", [name], [half], to=TensorProto.FLOAT16))
        else:
            self._graph.initializer.append(_halved(constant, name=half))
        return half

    def _is_float(self, name: str) -> bool:
        if not name:  # an optional input that is left out
            return False
        if name not in self._types:
            raise GraphRefused(f"the graph cannot be halved: the type of {name} is not known")
        return self._types[name] == TensorProto.FLOAT

    def _drop_unread_weights(self) -> None:
        read = {name for node in self._graph.node for name in node.input}
        left = [tensor for tensor in self._graph.initializer if tensor.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(left)


def _half(name: str) -> str:
    return f"{name}/half"


def _halved(tensor: Any, *, name: str) -> Any:
    values = numpy_helper.to_array(tensor)
    largest = float(np.abs(values).max(initial=0.0))
    # Clip's open end may be the largest float there is: it is one in float16 too.
    if _LARGEST_HALF < largest < float(np.finfo(np.float32).max):
        raise GraphRefused(
            f"the graph cannot be halved: {tensor.name or name} holds {largest:g}, float16 ends at"
            f" {_LARGEST_HALF:g}; use precision fp32"
        )
    values = np.clip(values, -_LARGEST_HALF, _LARGEST_HALF)
    return numpy_helper.from_array(values.astype(np.float16), name)


def _retype(node: Any) -> None:
    """Let a node that names the type it makes name the half of it."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_halved(attribute.t, name=attribute.t.name))


def _element_types(graph: Any) -> dict[str, int]:
    typed = [*graph.input, *graph.output, *graph.value_info]
    types = {value.name: value.type.tensor_type.elem_type for value in typed}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def _region(nodes: Iterable[Any], fixed: set[str]) -> set[int]:
    """Return the positions of the backbone's nodes: between convolutions, and what directly follows."""
    listed = list(nodes)
    after: set[str] = set()
    behind: set[int] = set()
    for index, node in enumerate(listed):
        if node.op_type == "Conv" or after.intersection(node.input):
            behind.add(index)
            after.update(node.output)
    before: set[str] = set()
    region: set[int] = set()
    for index, node in reversed(list(enumerate(listed))):
        if node.op_type == "Conv" or before.intersection(node.output):
            before.update(node.input)
            if index in behind:
                region.add(index)
    if not region:
        raise GraphRefused("the graph cannot be halved: it has no convolution")
    return region | _following(listed, region, fixed)


def _following(nodes: list[Any], region: set[int], fixed: set[str]) -> set[int]:
    made = {name for index in region for name in nodes[index].output}
    found: set[int] = set()
    for index, node in enumerate(nodes):
        ours = [name for name in node.input if name and name not in fixed]
        if index not in region and node.op_type in _FOLLOWING and ours and made.issuperset(ours):
            found.add(index)
            made.update(node.output)
    return found
