"""The graph on the CPU, by OpenVINO."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bundle import Bundle
from partgate_engines._machine import RuntimeFacts, processor_name
from partgate_engines._openvino_device import CONFIG, compile_graph, library, read_graph
from partgate_engines._placement import Grid, Placement, place
from partgate_engines._runtime import AnomalyResult, with_channels
from partgate_station import Region

# The graph takes any three channels; (3, c) makes red, green and blue of a camera's.
_CHANNELS: Mapping[int, NDArray[np.float32]] = {
    1: np.ones((3, 1), dtype=np.float32),
    3: np.eye(3, dtype=np.float32),
}
_PLACEMENTS_KEPT = 16


class OpenVinoGraph:
    """A compiled graph. What a product and a camera add is bound when it changes, not per frame."""

    def __init__(self, path: Path, *, with_features: bool = False) -> None:
        model = read_graph(path)
        self.size_px: int = _static(model, "rows")[0]
        self.grid: Grid = _grid(_static(model, "mask"))
        self.features: int = _static(model, "bank")[1] - 1
        if not with_features:
            model.remove_result(model.output("features").get_node())
        self._request = compile_graph(path, model).create_infer_request()
        self._bound: dict[str, NDArray[Any]] = {}

    def bind_bank(self, augmented: NDArray[np.float32]) -> None:
        """Use this memory bank from now on: (k, d + 1) float32, kept, not copied."""
        self._bind("bank", augmented)

    def bind_placement(self, placement: Placement) -> None:
        """Use this resize and mask from now on."""
        self._bind("rows", placement.rows)
        self._bind("columns", placement.columns)
        self._bind("mask", placement.mask)

    def run(self, frame: NDArray[np.uint8], placement: Placement) -> tuple[float, NDArray[np.float32]]:
        """Judge one frame.

        Args:
            frame: (h, w, c) uint8, the size that the placement was made for.
            placement: where in it to look.

        Returns:
            The score and a new (gh, gw) map. A map with a value that is not finite has no score: what
            a runtime's TopK does with NaN is not defined.
        """
        self.bind_placement(placement)
        self._bind("channels", _CHANNELS[frame.shape[2]])
        self._bind("frames", np.ascontiguousarray(placement.cut(frame)[None]))
        self._request.infer()
        anomaly_map = np.array(self._request.get_tensor("anomaly_map").data[0])
        if not np.isfinite(anomaly_map).all():
            return float("nan"), anomaly_map
        return float(self._request.get_tensor("score").data[0]), anomaly_map

    def patches(self) -> NDArray[np.float32]:
        """Return the last frame's patch features: a new (gh * gw, d) float32 array."""
        return np.array(self._request.get_tensor("features").data[0])

    def _bind(self, name: str, array: NDArray[Any]) -> None:
        if self._bound.get(name) is array:
            return
        # OpenVINO shares only memory that it could write to, and copies the rest. It does not keep
        # what it shares alive: `_bound` does, until another array has taken its place.
        self._request.set_tensor(name, library().Tensor(array, shared_memory=array.flags.writeable))
        self._bound[name] = array


class OpenVinoRuntime:
    """A bundle on the CPU."""

    def __init__(self, bundle: Bundle) -> None:
        self._graph: OpenVinoGraph | None = OpenVinoGraph(bundle.graph)
        self._graph.bind_bank(bundle.bank().augmented())
        self._place = lru_cache(maxsize=_PLACEMENTS_KEPT)(self._placed)

    @property
    def name(self) -> str:
        """The runtime's kind."""
        return "openvino"

    @property
    def facts(self) -> RuntimeFacts:
        """What it runs on, and how exactly it counts."""
        return RuntimeFacts(
            device=processor_name(),
            driver="",
            version=str(library().__version__),
            precision=CONFIG["INFERENCE_PRECISION_HINT"],
        )

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        """Judge one frame; see `Runtime`."""
        if self._graph is None:
            raise ValueError("the runtime is closed")
        shaped = with_channels(frame)
        placement = self._place(shaped.shape[0], shaped.shape[1], regions)
        score, anomaly_map = self._graph.run(shaped, placement)
        anomaly_map.flags.writeable = False
        return AnomalyResult(score=score, anomaly_map=anomaly_map, box=placement.box)

    def close(self) -> None:
        """Let go of the compiled graph."""
        self._graph = None
        self._place.cache_clear()

    def _placed(self, height_px: int, width_px: int, regions: tuple[Region, ...]) -> Placement:
        if self._graph is None:
            raise ValueError("the runtime is closed")
        return place(
            height_px=height_px,
            width_px=width_px,
            regions=regions,
            size_px=self._graph.size_px,
            grid=self._graph.grid,
        )


def _static(model: Any, name: str) -> list[int]:
    """Return an input's shape, -1 where it is free."""
    shape = model.input(name).get_partial_shape()
    return [size.get_length() if size.is_static else -1 for size in shape]


def _grid(shape: list[int]) -> Grid:
    gh, gw = shape
    return gh, gw
