"""Compiled graphs on the CPU: kept in the home, shared by the products of a process."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import structlog

from partgate_engines._bundle import Bundle
from partgate_engines._engine_cache import EngineCache, EngineKey
from partgate_engines._errors import BundleNotWritten, GraphRefused
from partgate_engines._machine import processor_features, processor_name
from partgate_engines._openvino_device import (
    COMPILED,
    DeviceConfig,
    compile_graph,
    export_engine,
    import_engine,
    library,
)
from partgate_engines._openvino_map import compile_map

log = structlog.get_logger(__name__)

FOLDER = "openvino"
"""Below the folder of engines: they lie beside TensorRT's, and neither looks through the other's."""

_MOST_RESIDENT = 8  # of four products at most: with and without maps


class ResidentEngines:
    """The compiled graphs of this process; the one not asked for longest is let go of beyond `most`.

    Runtimes of several products whose bundles have the same graph share one; a runtime that is open
    keeps its own alive, whatever is let go of here. Any thread may ask: one compiles, others wait.
    """

    def __init__(self, most: int = _MOST_RESIDENT) -> None:
        """Hold no graph yet, and never more than `most`."""
        self._most = most
        self._lock = threading.Lock()
        self._engines: OrderedDict[EngineKey, Any] = OrderedDict()

    def get(self, key: EngineKey, make: Callable[[], Any]) -> Any:
        """Return a compiled graph, made now if it is not here."""
        with self._lock:
            if key not in self._engines:
                self._engines[key] = make()
            self._engines.move_to_end(key)
            while len(self._engines) > self._most:
                self._engines.popitem(last=False)
            return self._engines[key]

    def forget(self, graph_sha256: str) -> tuple[EngineKey, ...]:
        """Let go of a graph, however it was compiled; return as what it was here."""
        with self._lock:
            found = tuple(key for key in self._engines if key.graph_sha256 == graph_sha256)
            for key in found:
                del self._engines[key]
        return found


@cache
def resident_engines() -> ResidentEngines:
    """Return this process's compiled graphs."""
    return ResidentEngines()


def forget_engines(
    graph_sha256: str, engines: Path, resident: ResidentEngines | None = None, *, runtime: str = "openvino"
) -> None:
    """Have a graph compiled anew for the next runtime: one of its runtimes has answered wrongly.

    Whether its memory was damaged or what was kept on disk, cannot be told; both are let go of, what another
    process kept too.

    Args:
        graph_sha256: of the graph.
        engines: the folder of engines.
        resident: other compiled graphs than this process's.
        runtime: the kind that answered wrongly; the engines of others stay.
    """
    is_openvino = runtime == FOLDER
    kept = EngineCache(engines / FOLDER if is_openvino else engines)
    held = (resident or resident_engines()).forget(graph_sha256) if is_openvino else ()
    for key in {*held, *kept.of_graph(graph_sha256)}:
        log.warning("engine.forgotten", graph=graph_sha256[:12], what_now="it is compiled again")
        kept.drop(key)


def engine_for(
    bundle: Bundle,
    config: DeviceConfig,
    engines: Path | None,
    resident: ResidentEngines | None = None,
    *,
    with_map: bool,
) -> Any:
    """Return a half of a bundle's graph, compiled: from this process, from the folder of engines, or now.

    Args:
        bundle: whose graph.
        config: how it is compiled.
        engines: the folder; None keeps nothing on disk.
        resident: other compiled graphs than this process's.
        with_map: the half that answers with the anomaly map (`compile_map`); otherwise the one that answers
            with the score and the features that it was made of.

    Raises:
        BundleRefused: the graph was changed since the bundle was opened, or is more than a graph.
        GraphRefused: OpenVINO cannot read or compile it.
    """
    key = _key(bundle, config, with_map=with_map)

    def compiled() -> Any:
        return _made(bundle, config, with_map=with_map)

    def make() -> Any:
        return compiled() if engines is None else _kept(bundle, config, key, engines / FOLDER, compiled)

    return (resident or resident_engines()).get(key, make)


def _key(bundle: Bundle, config: DeviceConfig, *, with_map: bool) -> EngineKey:
    counted = f"compiled={COMPILED} map={with_map} streams={config.streams} threads={config.threads}"
    step = bundle.manifest.feature_step
    return EngineKey(
        graph_sha256=bundle.manifest.graph_sha256,
        device=processor_name(),
        capability=processor_features(),
        driver="",
        flavour="openvino",
        version=str(library().__version__),
        precision=config.precision,
        profile=counted if step is None else f"{counted} step={step!r}",
    )


def _made(bundle: Bundle, config: DeviceConfig, *, with_map: bool) -> Any:
    content = bundle.graph_bytes()
    step = bundle.manifest.feature_step
    if with_map:
        return compile_map(bundle.graph, content=content, step=step, config=config)
    return compile_graph(
        bundle.graph, content=content, with_map=False, with_features=True, step=step, config=config
    )


def _kept(
    bundle: Bundle, config: DeviceConfig, key: EngineKey, folder: Path, compiled: Callable[[], Any]
) -> Any:
    """Load an engine; where there is none that is whole, compile the graph and keep it for next time."""
    kept = EngineCache(folder)
    made: list[Any] = []

    def build() -> bytes:
        made.append(compiled())
        return export_engine(made[0])

    try:
        content = kept.get(key, build)
        return made[0] if made else import_engine(bundle.graph, content, config)
    except BundleNotWritten as error:
        log.warning("engine.not_kept", why=str(error), what_now="it is compiled at every start")
    except GraphRefused as error:
        if made:
            raise
        log.warning("engine.refused", why=str(error), what_now="it is compiled again")
        kept.drop(key)
    return made[0] if made else compiled()
