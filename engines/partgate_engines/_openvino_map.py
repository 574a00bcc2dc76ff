"""The map's half of a graph: from the patch features that a score leaves behind to the anomaly map.

Frames are scored first; a flagged one is mapped once its verdict has left. With the features at hand that is
5 ms of processor time and not the 18 of going through the backbone once more (docs/decisions/0027).
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partgate_engines._openvino_bytes import bank_inputs, in_steps, take_bytes
from partgate_engines._openvino_device import DeviceConfig, compile_model, library, read_graph, wait_for

FEATURES = "features"
_KEPT_INPUTS = frozenset({"bank", "mask"})


def compile_map(path: Path, *, content: bytes, step: float | None = None, config: DeviceConfig) -> Any:
    """Return the `openvino.CompiledModel` that answers with a graph's map.

    Its inputs are features, bank and mask where the map can be made of those. Of another graph it is the
    whole, from frames to score and map: some kinds look at more than the features.

    Args:
        path: of the graph.
        content: its bytes, read and verified.
        step: of its features; the bank is then taken as bytes. None: as float32.
        config: how.

    Raises:
        GraphRefused: OpenVINO cannot read or compile it.
    """
    half = _map_of_features(read_graph(path, content), step)
    if half is None:
        half = read_graph(path, content)
        half.remove_result(half.output(FEATURES).get_node())
    if step is not None:
        take_bytes(half, step)
    return compile_model(path, half, config)


def takes_features(compiled: Any) -> bool:
    """Return whether what `compile_map` gave makes its map of features."""
    return any(FEATURES in one.names for one in compiled.inputs)


def _map_of_features(model: Any, step: float | None) -> Any | None:
    """Return the half of a model that lies between its features and its map; None where they are not all."""
    features, result = model.output(FEATURES).get_node(), model.output("anomaly_map").get_node()
    given = _parameter(model)
    source = given.output(0) if step is None else in_steps(given, step)
    for reader in list(features.input_value(0).get_target_inputs()):
        reader.replace_source_output(source)
    _fix_grid(model, result)
    kept = [one for one in model.get_parameters() if one.get_friendly_name() in _KEPT_INPUTS]
    try:
        return library().Model([result], [given, *kept], "map")
    except RuntimeError:  # it needs frames as well
        return None


def _parameter(model: Any) -> Any:
    from openvino import op  # type: ignore[import-untyped]  # the wheel ships no annotations

    output = model.output(FEATURES)
    made = op.Parameter(output.get_element_type(), output.get_partial_shape())
    made.set_friendly_name(FEATURES)
    made.output(0).get_tensor().set_names({FEATURES})
    return made


def _fix_grid(model: Any, result: Any) -> None:
    """Have the map's size come from its mask, whose it is, and no longer from the backbone's output."""
    from openvino import opset13

    shape = result.input_value(0).get_node()
    while shape.get_type_name() != "Reshape":
        if shape.get_input_size() == 0:
            return
        shape = shape.input_value(0).get_node()
    grid = [size.get_length() for size in list(model.input("mask").get_partial_shape())[-2:]]
    shape.input(1).replace_source_output(opset13.constant(np.array([-1, *grid], np.int64)).output(0))


class FeatureMaps:
    """Makes maps of features. Used by one thread."""

    def __init__(self, compiled: Any, *, step: float | None = None) -> None:
        """Make a request to what `compile_map` gave, with the same step, which `takes_features`."""
        self._request = compiled.create_infer_request()
        self._step = step
        self._bank: dict[str, NDArray[Any]] = {}

    def bind_bank(self, augmented: NDArray[np.float32]) -> None:
        """Use this memory bank from now on: (k, d + 1) float32, kept, not copied."""
        self._bank = bank_inputs(augmented, self._step)  # OpenVINO does not keep what it shares alive
        for name, array in self._bank.items():
            self._request.set_tensor(name, _tensor(array))

    def of(self, features: NDArray[np.float32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the map of a tile.

        Args:
            features: (gh * gw, d) float32; not copied.
            mask: (gh, gw) float32.

        Returns:
            (gh, gw) float32: a view, valid until the next call.

        Raises:
            DeviceHung: it was not made in time.
        """
        self._request.set_tensor(FEATURES, _tensor(features[None]))
        self._request.set_tensor("mask", _tensor(mask[None]))
        self._request.start_async()
        wait_for(self._request)
        found: NDArray[np.float32] = self._request.get_tensor("anomaly_map").data[0]
        return found


def _tensor(array: NDArray[Any]) -> Any:
    # OpenVINO shares only memory that it could write to, and copies the rest.
    return library().Tensor(array, shared_memory=array.flags.writeable)
