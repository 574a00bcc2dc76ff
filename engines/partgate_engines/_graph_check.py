"""What a graph may be, checked in its bytes before a runtime is given it.

A signed bundle comes from somebody who is trusted, not from somebody who makes no mistakes; and a
runtime's parser is a large piece of C++.
"""

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

from partgate_engines._errors import BundleRefused
from partgate_engines._manifest import Manifest

OPSETS = range(13, 22)
_DOMAINS = frozenset(("", "ai.onnx"))
_NAMED = 5
_LARGEST_TENSOR = 2**30  # bytes
FREE = -1

# What convolutional networks and vision transformers are made of. No control flow (a loop without
# end), no sequences, no strings, no randomness: the same frame must give the same score.
OPERATORS = frozenset(
    """
    Abs Add ArgMin AveragePool BatchNormalization Cast Clip Concat Constant ConstantOfShape Conv
    ConvTranspose CumSum DepthToSpace DequantizeLinear Div Einsum Elu Equal Erf Exp Expand Flatten Floor
    Gather GatherElements Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GroupNormalization HardSigmoid
    HardSwish Identity InstanceNormalization LayerNormalization LeakyRelu Less Log MatMul Max MaxPool Min
    Mish Mod Mul Neg Not Pad Pow PRelu QuantizeLinear Range Reciprocal ReduceL2 ReduceMax ReduceMean
    ReduceMin ReduceSum Relu Reshape Resize Shape Sigmoid Slice Softmax Softplus SpaceToDepth Split Sqrt
    Squeeze Sub Tanh Tile TopK Transpose Unsqueeze Where
    """.split()  # noqa: SIM905 - seventy words read better without quotes
)


def check_graph(path: Path, raw: bytes, manifest: Manifest) -> None:
    """Refuse a graph that is more, or other, than the manifest says.

    Args:
        path: names it in an error.
        raw: the bytes of the ONNX file, of the hash that the manifest says.
        manifest: of the same bundle.

    Raises:
        BundleRefused: names everything that is wrong with it.
    """
    model = _parse(path, raw)
    problems = [*_structure(model), *_tensors(model), *_contract(model.graph, manifest)]
    if problems:
        more = f" (and {len(problems) - _NAMED} more)" if len(problems) > _NAMED else ""
        raise BundleRefused(f"{path}: refused: {'; '.join(problems[:_NAMED])}{more}")


def _parse(path: Path, raw: bytes) -> Any:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs of it

    try:
        # Bytes, not a path: onnx then has no folder to look for external data in.
        return onnx.load_model_from_string(raw)
    except DecodeError as error:
        raise BundleRefused(f"{path}: not an ONNX model ({error})") from error


def _structure(model: Any) -> Iterator[str]:
    versions = {opset.domain: opset.version for opset in model.opset_import}
    foreign = sorted(set(versions) - _DOMAINS)
    if foreign:
        yield f"operators of the domain {', '.join(foreign)}; only ONNX's own are taken"
    version = versions.get("", versions.get("ai.onnx", 0))
    if version not in OPSETS:
        yield f"opset {version}; {OPSETS[0]} to {OPSETS[-1]} are taken"
    if model.functions:
        yield f"functions of its own ({model.functions[0].name})"
    if model.training_info:
        yield "steps for training"
    for node in model.graph.node:
        yield from _node(node)


def _node(node: Any) -> Iterator[str]:
    import onnx

    name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    if node.domain not in _DOMAINS:
        yield f"operator {name}: not one of ONNX's own"
    elif node.op_type not in OPERATORS:
        yield f"operator {name}: not one that judging needs"
    kinds = onnx.AttributeProto
    for attribute in node.attribute:
        if attribute.type in {kinds.GRAPH, kinds.GRAPHS}:
            yield f"operator {name} holds another graph"


def _tensors(model: Any) -> Iterator[str]:
    if model.graph.sparse_initializer:
        yield f"sparse initialiser {model.graph.sparse_initializer[0].values.name}"
    for tensor in _all_tensors(model.graph):
        yield from _tensor(tensor)


def _all_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _tensor(tensor: Any) -> Iterator[str]:
    import onnx

    name = tensor.name or "a constant"
    if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
        where = {entry.key: entry.value for entry in tensor.external_data}.get("location", "elsewhere")
        yield f"initialiser {name} lies outside the graph ({where})"
        return
    if any(length < 0 for length in tensor.dims):
        yield f"initialiser {name} has the shape {tuple(tensor.dims)}"
        return
    try:
        width = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except KeyError:
        yield f"initialiser {name} is of the unknown type {tensor.data_type}"
        return
    size = prod(tensor.dims) * width
    if size > _LARGEST_TENSOR:
        yield f"initialiser {name} of {size} bytes; at most {_LARGEST_TENSOR} are taken"
    elif tensor.raw_data and len(tensor.raw_data) != size:
        yield f"initialiser {name} has {len(tensor.raw_data)} bytes for a shape of {size}"


def _contract(graph: Any, manifest: Manifest) -> Iterator[str]:
    inputs, outputs = _wanted(manifest)
    # Before IR version 4 initialisers stood among the inputs; ours never do.
    found = {value.name: _found(value) for value in graph.input}
    if found.get("mask") == ("float32", manifest.grid):
        found["mask"] = inputs["mask"]  # exported before there were tiles: runtimes free the axis
    yield from _differences("input", inputs, found)
    yield from _differences("output", outputs, {value.name: _found(value) for value in graph.output})


_Signature = tuple[str, tuple[int, ...]]


def _wanted(manifest: Manifest) -> tuple[Mapping[str, _Signature], Mapping[str, _Signature]]:
    """Return the inputs and outputs that judging binds; -1 is a length that data decides."""
    inputs = {
        "frames": ("uint8", (FREE, FREE, FREE, FREE)),
        "rows": ("float32", (manifest.size_px, FREE)),
        "columns": ("float32", (FREE, manifest.size_px)),
        "channels": ("float32", (3, FREE)),
        "bank": ("float32", (FREE, manifest.features + 1)),
        "mask": ("float32", (FREE, *manifest.grid)),
    }
    outputs = {
        "score": ("float32", (FREE,)),
        "anomaly_map": ("float32", (FREE, FREE, FREE)),
        "features": ("float32", (FREE, FREE, FREE)),
    }
    return inputs, outputs


def _found(value: Any) -> _Signature:
    import onnx

    tensor = value.type.tensor_type
    try:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    except KeyError:
        dtype = "no tensor"
    return dtype, tuple(d.dim_value if d.HasField("dim_value") else FREE for d in tensor.shape.dim)


def _differences(
    what: str, wanted: Mapping[str, _Signature], found: Mapping[str, _Signature]
) -> Iterator[str]:
    for name in sorted(set(wanted) - set(found)):
        yield f"{what} {name} is missing"
    for name in sorted(set(found) - set(wanted)):
        yield f"{what} {name} is not expected"
    for name in sorted(set(found) & set(wanted)):
        (dtype, shape), (other_dtype, other_shape) = wanted[name], found[name]
        # An output's shape is worked out, not declared: exporters leave it free or fill it in.
        same = len(shape) == len(other_shape) if what == "output" else shape == other_shape
        if dtype != other_dtype or not same:
            found_text, wanted_text = f"{other_dtype} {_text(other_shape)}", f"{dtype} {_text(shape)}"
            yield f"{what} {name} is {found_text}, the manifest says {wanted_text}"


def _text(shape: tuple[int, ...]) -> str:
    return f"({', '.join('free' if length == FREE else str(length) for length in shape)})"
