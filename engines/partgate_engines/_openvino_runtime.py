"""A bundle on the CPU, by OpenVINO."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import cycle
from weakref import ref

import numpy as np
import structlog
from numpy.typing import NDArray

from partgate_engines._bundle import Bundle
from partgate_engines._machine import RuntimeFacts, processor_features, processor_name
from partgate_engines._manifest import GraphPrecision
from partgate_engines._openvino import CutFrame, OpenVinoGraph
from partgate_engines._openvino_device import COMPILED, DeviceConfig, Precision, library, precision_of
from partgate_engines._openvino_engines import ResidentEngines, engine_for
from partgate_engines._openvino_map import FeatureMaps, takes_features
from partgate_engines._openvino_options import OpenVinoOptions
from partgate_engines._openvino_precision import choose_precision
from partgate_engines._placement import Placement, place
from partgate_engines._prepared import PreparedFrames
from partgate_engines._runtime import AnomalyResult, FrameScore, score_in_turn, with_channels
from partgate_station import Region

_Judged = tuple[float, NDArray[np.float32]]

log = structlog.get_logger(__name__)

_AUTO = 'set precision = "auto" under [openvino] to have the fastest of those that this processor has'
_PLACEMENTS_KEPT = 16
_LEAST_REQUESTS = 2  # while one frame is judged, the next is cut out and averaged


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """Of which frame a request has the features."""

    frame: "ref[NDArray[np.uint8]]"
    placement: Placement


class OpenVinoRuntime:
    """A bundle on the CPU. Its compiled graph may be other runtimes' as well; its requests are its own."""

    def __init__(
        self,
        bundle: Bundle,
        options: OpenVinoOptions | None = None,
        *,
        precision: Precision | None = None,
        resident: ResidentEngines | None = None,
    ) -> None:
        """Load the graph, compiled now if it is not kept anywhere, and the bank.

        Args:
            bundle: what to judge with.
            options: how.
            precision: this one, whatever the options say.
            resident: shares compiled graphs with these; None for all runtimes of this process.

        Raises:
            BundleRefused: the bundle was changed since it was opened.
            GraphRefused: OpenVINO cannot read or compile the graph.
        """
        options = options or OpenVinoOptions()
        self._config: DeviceConfig = options.config(precision or _precision(bundle, options))
        alone, mapped = (
            engine_for(bundle, self._config, options.engines, resident, with_map=with_map)
            for with_map in (False, True)
        )
        step = bundle.manifest.feature_step
        computed = precision_of(alone)
        if options.precision not in ("auto", computed):
            log.warning("precision.not_here", asked=options.precision, computed=computed, what_now=_AUTO)
        self._precision = _said_precision(bundle.manifest.precision, computed)
        self._requests = [
            OpenVinoGraph(bundle.graph, compiled=alone, step=step)
            for _ in range(max(self._config.streams, _LEAST_REQUESTS))
        ]
        halves = takes_features(mapped)
        mapping = (
            FeatureMaps(mapped, step=step)
            if halves
            else OpenVinoGraph(bundle.graph, compiled=mapped, step=step)
        )
        self._mapping: FeatureMaps | OpenVinoGraph | None = mapping
        bank = bundle.bank().augmented()
        for request in (*self._requests, mapping):
            request.bind_bank(bank)
        self._turn = cycle(self._requests)
        self._scored: dict[OpenVinoGraph, _Scored] = {}
        self._prepared: PreparedFrames[CutFrame] = PreparedFrames()
        self._tiling = bundle.manifest.tiling
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
            precision=self._precision,
            capability=processor_features(),
            compiled=f"compiled={COMPILED} streams={self._config.streams} threads={self._config.threads}",
        )

    @property
    def config(self) -> DeviceConfig:
        """How its graph is compiled."""
        return self._config

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        """Judge one frame; see `Runtime`. Of one that was scored just now, only the map is made."""
        shaped, placement = self._placed_frame(frame, regions)
        score, anomaly_map = self._map_of_scored(frame, placement) or self._judged(shaped, placement)
        anomaly_map.flags.writeable = False
        return AnomalyResult(score=score, anomaly_map=anomaly_map, box=placement.box)

    def prepare(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> None:
        """Cut and average a frame before its turn; see `PreparingRuntime`."""
        shaped, placement = self._placed_frame(frame, regions)
        self._prepared.keep(frame, self._requests[0].cut(shaped, placement))

    def scores(
        self, frames: Sequence[NDArray[np.uint8]], regions: Sequence[tuple[Region, ...]]
    ) -> tuple[FrameScore, ...]:
        """Score the frames of a part, as many side by side as there are streams; see `Runtime`."""
        return score_in_turn(self._submit, frames, regions, at_once=max(len(self._requests), 1))

    def close(self) -> None:
        """Let go of the requests, and so of the bank; the compiled graph may serve another product."""
        self._requests, self._mapping = [], None
        self._scored.clear()
        self._prepared.clear()
        self._turn = cycle(self._requests)
        self._place.cache_clear()

    def _submit(self, frame: NDArray[np.uint8], regions: tuple[Region, ...]) -> Callable[[], float]:
        shaped, placement = self._placed_frame(frame, regions)
        request = next(self._turn)
        request.start(shaped, placement, cut=self._prepared.take(frame))
        self._scored[request] = _Scored(frame=ref(frame), placement=placement)
        return request.score

    def _map_of_scored(self, frame: NDArray[np.uint8], placement: Placement) -> _Judged | None:
        """Return what is to be said of a frame whose features are still there; None where they are not."""
        # What can be written to may be another picture by now.
        if frame.flags.writeable or not isinstance(self._mapping, FeatureMaps):
            return None
        for request, scored in self._scored.items():
            if scored.frame() is frame and scored.placement is placement:
                return request.map_of_scored(self._mapping)
        return None

    def _judged(self, shaped: NDArray[np.uint8], placement: Placement) -> _Judged:
        if self._mapping is None:
            raise ValueError("the runtime is closed")
        if isinstance(self._mapping, OpenVinoGraph):
            return self._mapping.run(shaped, placement)
        request = next(self._turn)
        self._scored.pop(request, None)
        return request.run_in_halves(shaped, placement, self._mapping)

    def _placed_frame(
        self, frame: NDArray[np.uint8], regions: tuple[Region, ...]
    ) -> tuple[NDArray[np.uint8], Placement]:
        shaped = with_channels(frame)
        return shaped, self._place(shaped.shape[0], shaped.shape[1], regions)

    def _placed(self, height_px: int, width_px: int, regions: tuple[Region, ...]) -> Placement:
        if not self._requests:
            raise ValueError("the runtime is closed")
        return place(
            height_px=height_px,
            width_px=width_px,
            regions=regions,
            size_px=self._requests[0].size_px,
            grid=self._requests[0].grid,
            tiling=self._tiling,
        )


def _said_precision(graph: GraphPrecision, rest: str) -> str:
    """Return what a runtime says that it counts in: as the graph means it, and what is left in what."""
    if graph == "f32":
        return rest
    return graph if rest == "f32" else f"{graph}, {rest}"


def _precision(bundle: Bundle, options: OpenVinoOptions) -> Precision:
    if options.precision != "auto":
        return options.precision
    # Of a graph in steps most is in whole numbers, whatever is chosen for the rest.
    if options.engines is None or bundle.manifest.precision != "f32":
        return "f32"
    # Of three engines that are tried two are not used again: neither this process nor the disk keeps them.
    trial = replace(options, engines=None)
    tried = ResidentEngines()
    return choose_precision(
        bundle,
        options.engines,
        open_in=lambda precision: OpenVinoRuntime(bundle, trial, precision=precision, resident=tried),
    ).chosen
