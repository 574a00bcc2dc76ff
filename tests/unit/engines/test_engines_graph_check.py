"""A graph that is more than a graph, or another one than the manifest says, is refused by name."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from partgate_engines import Bundle, BundleRefused, open_runtime
from partgate_engines._graph_check import check_graph

Change = Callable[[Any], None]


def external_data(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../x"


def own_operator(model: Any) -> None:
    model.graph.node.append(helper.make_node("Steal", ["score"], ["gone"], domain="com.evil"))


def own_domain(model: Any) -> None:
    model.opset_import.append(helper.make_opsetid("com.evil", 1))


def branch(model: Any) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(
        helper.make_node("If", ["score"], ["x"], then_branch=body, else_branch=body, name="branch")
    )


def random_numbers(model: Any) -> None:
    model.graph.node.append(helper.make_node("RandomNormalLike", ["score"], ["x"]))


def hidden_graph(model: Any) -> None:
    node = helper.make_node("Identity", ["score"], ["x"], body=helper.make_graph([], "body", [], []))
    model.graph.node.append(node)


def own_function(model: Any) -> None:
    model.functions.append(helper.make_function("", "Relu", ["x"], ["y"], [], [helper.make_opsetid("", 17)]))


def old_opset(model: Any) -> None:
    model.opset_import[0].version = 9


def huge_initialiser(model: Any) -> None:
    tensor = TensorProto(name="huge", data_type=TensorProto.FLOAT)
    tensor.dims.extend([2**20, 2**20])
    model.graph.initializer.append(tensor)


def negative_shape(model: Any) -> None:
    tensor = TensorProto(name="odd", data_type=TensorProto.FLOAT)
    tensor.dims.extend([-1])
    model.graph.initializer.append(tensor)


def short_initialiser(model: Any) -> None:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "short")
    tensor.dims[0] = 400
    model.graph.initializer.append(tensor)


def sparse(model: Any) -> None:
    values = helper.make_tensor("thin", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("at", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def no_map(model: Any) -> None:
    (output,) = [value for value in model.graph.output if value.name == "anomaly_map"]
    model.graph.output.remove(output)


def another_input(model: Any) -> None:
    model.graph.input.append(helper.make_tensor_value_info("extra", TensorProto.FLOAT, [1]))


def float_frames(model: Any) -> None:
    (frames,) = [value for value in model.graph.input if value.name == "frames"]
    frames.type.tensor_type.elem_type = TensorProto.FLOAT


def baked_batch(model: Any) -> None:
    (frames,) = [value for value in model.graph.input if value.name == "frames"]
    frames.type.tensor_type.shape.dim[0].dim_value = 2


def another_bank(model: Any) -> None:
    (bank,) = [value for value in model.graph.input if value.name == "bank"]
    bank.type.tensor_type.shape.dim[1].dim_value = 7


CASES: list[tuple[Change, str]] = [
    (external_data, r"lies outside the graph \(\.\./\.\./x\)"),
    (own_operator, r"operator com\.evil\.Steal: not one of ONNX's own"),
    (own_domain, r"operators of the domain com\.evil"),
    (branch, "operator If: not one that judging needs"),
    (random_numbers, "operator RandomNormalLike"),
    (hidden_graph, "operator Identity holds another graph"),
    (own_function, r"functions of its own \(Relu\)"),
    (old_opset, "opset 9; 13 to 21 are taken"),
    (huge_initialiser, "initialiser huge of 4398046511104 bytes"),
    (negative_shape, r"initialiser odd has the shape \(-1,\)"),
    (short_initialiser, "initialiser short has 16 bytes for a shape of 1600"),
    (sparse, "sparse initialiser thin"),
    (no_map, "output anomaly_map is missing"),
    (another_input, "input extra is not expected"),
    (float_frames, r"input frames is float32 \(free, free, free, free\), the manifest says uint8"),
    (baked_batch, r"input frames is uint8 \(2, free, free, free\)"),
    (another_bank, r"input bank is float32 \(free, 7\), the manifest says float32 \(free, 153\)"),
]


@pytest.mark.parametrize(("change", "says"), CASES, ids=[change.__name__ for change, _ in CASES])
def test_a_graph_that_is_more_is_refused_by_name(change: Change, says: str, bundle: Bundle) -> None:
    model = onnx.load(bundle.graph)
    change(model)
    with pytest.raises(BundleRefused, match=says) as refused:
        check_graph(bundle.graph, model.SerializeToString(), bundle.manifest)
    assert "graph.onnx: refused: " in str(refused.value)


@pytest.mark.parametrize("raw", [b"hello", b"\x00" * 100, b"\x0a\xff\xff\xff\xff\x7f"])
def test_what_is_no_graph_is_refused(raw: bytes, bundle: Bundle) -> None:
    with pytest.raises(BundleRefused, match=r"graph\.onnx: "):
        check_graph(bundle.graph, raw, bundle.manifest)


def test_a_bundle_never_gives_such_a_graph_to_a_parser(bundle: Bundle, tmp_path: Path) -> None:
    """Even if somebody put the right hash into the manifest, and nobody asks for a signature."""
    forged = Path(shutil.copytree(bundle.folder, tmp_path / "forged"))
    model = onnx.load(bundle.graph)
    external_data(model)
    (forged / "graph.onnx").unlink()
    (forged / "graph.onnx").write_bytes(model.SerializeToString())
    manifest = json.loads((forged / "manifest.json").read_text())
    manifest["graph_sha256"] = hashlib.sha256((forged / "graph.onnx").read_bytes()).hexdigest()
    (forged / "manifest.json").write_text(json.dumps(manifest))
    opened = Bundle.open(forged, trusted=None)
    with pytest.raises(BundleRefused, match="lies outside the graph"):
        opened.graph_bytes()
    with pytest.raises(BundleRefused, match="lies outside the graph"):
        open_runtime(opened, "openvino", engines=tmp_path / "graphs")


def test_our_own_graph_is_taken(bundle: Bundle) -> None:
    check_graph(bundle.graph, bundle.graph.read_bytes(), bundle.manifest)
