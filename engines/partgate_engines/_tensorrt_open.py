"""From a bundle to a session on the GPU: which wheel, which engine, and where it is kept."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import structlog

from partgate_engines._bundle import Bundle
from partgate_engines._cuda import CudaDevice, DeviceFacts
from partgate_engines._cuda_errors import DeviceFailed, EngineNotBuilt, let_go
from partgate_engines._engine_cache import EngineCache, EngineKey
from partgate_engines._errors import GraphRefused, RuntimeUnavailable
from partgate_engines._manifest import Manifest
from partgate_engines._tensorrt_api import Flavour, TensorRt, find_tensorrt
from partgate_engines._tensorrt_build import BUILD_VERSION, Profile, Progress, build_plan, quiet
from partgate_engines._tensorrt_contract import Contract
from partgate_engines._tensorrt_execution import TensorRtEngine
from partgate_engines._tensorrt_session import Session

log = structlog.get_logger(__name__)

Precision = Literal["fp32", "fp16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRtOptions:
    """How a bundle's graph is compiled and run on a GPU."""

    engines: Path | None = None
    """The folder of the engine cache; None compiles at every start."""

    flavour: Flavour | None = None
    """Which of NVIDIA's wheels; None takes the first that is installed and serves the GPU."""

    precision: Precision = "fp32"
    """Of the backbone; distances and score are always float32. fp16 needs the parity gate's consent."""

    profile: Profile | None = None
    """The sizes that the engine serves; None: those that suit the product."""

    cuda_graph: bool = True
    ordinal: int = 0
    """Of the GPU, as CUDA counts them."""

    judge_timeout_s: float = 10.0
    """After this long without an answer the GPU is taken for hung."""

    first_run_timeout_s: float = 600.0
    """The same for the first runs of a size, in which TensorRT-RTX compiles its kernels."""

    progress: Progress = quiet
    stop: threading.Event | None = None
    """Set it to give up a build."""

    def profile_for(self, manifest: Manifest) -> Profile:
        """Return the sizes that a product's engine serves."""
        return self.profile or Profile.of(manifest)


def wheel_for(facts: DeviceFacts, flavour: Flavour | None = None) -> TensorRt:
    """Return the wheel that is installed and serves a GPU.

    Raises:
        RuntimeUnavailable: none is installed, or none of them serves it.
    """
    found = find_tensorrt(flavour)
    if found.serves(facts.capability):
        return found
    raise RuntimeUnavailable(
        f"{found} does not serve {facts.name} (compute capability {facts.capability}); install tensorrt"
    )


def key_of(tensorrt: TensorRt, facts: DeviceFacts, manifest: Manifest, options: TensorRtOptions) -> EngineKey:
    """Return everything a product's engine is compiled of and for."""
    return EngineKey(
        graph_sha256=manifest.graph_sha256,
        device=facts.name,
        capability=facts.capability,
        driver=facts.driver,
        flavour=tensorrt.flavour,
        version=f"{tensorrt.version}, settings {BUILD_VERSION}",
        precision=_precision(options.precision),
        profile=str(options.profile_for(manifest)),
    )


def _precision(precision: Precision) -> str:
    if precision == "fp32":
        return precision
    from partgate_engines._tensorrt_half import HALF_VERSION

    return f"{precision}, pass {HALF_VERSION}"


def compile_graph(tensorrt: TensorRt, bundle: Bundle, options: TensorRtOptions) -> bytes:
    """Return a bundle's graph as a plan, in the precision that is asked for.

    Raises:
        BundleRefused: the graph was changed since the bundle was opened, or is more than a graph.
        GraphRefused: the builder cannot read it, it is not one of this project's, or is in int8.
        EngineNotBuilt: the builder gave up.
    """
    if bundle.manifest.precision != "f32":
        raise GraphRefused(
            f"{bundle.graph}: learned in {bundle.manifest.precision}, in which only runtime openvino judges;"
            ' set runtime = "openvino", or learn the product with --precision f32'
        )
    graph = bundle.graph_bytes()
    if options.precision == "fp16":
        from partgate_engines._tensorrt_half import halve_backbone

        graph = halve_backbone(graph)
    return build_plan(
        tensorrt,
        graph,
        contract=Contract.of(bundle.manifest),
        profile=options.profile_for(bundle.manifest),
        progress=options.progress,
        stop=options.stop,
    )


def open_session(bundle: Bundle, options: TensorRtOptions) -> Session:
    """Open the GPU in this thread and load the engine of a bundle's graph onto it.

    Raises:
        RuntimeUnavailable: wheel, PyCUDA, driver or GPU is missing, or they do not go together.
        EngineNotBuilt: the builder gave up.
        GraphRefused: the builder cannot read the graph.
        DeviceOutOfMemory: the GPU has no room.
    """
    from partgate_engines._cuda_pycuda import PyCudaDevice, facts_of, load_driver

    driver = load_driver()
    # Before a context is made: a wheel that is missing is said without one.
    tensorrt = wheel_for(facts_of(driver, options.ordinal), options.flavour)
    return load_session(PyCudaDevice(driver, ordinal=options.ordinal), tensorrt, bundle, options)


def load_session(
    device: CudaDevice,
    tensorrt: TensorRt,
    bundle: Bundle,
    options: TensorRtOptions,
    *,
    load: Callable[..., Any] = TensorRtEngine,
) -> Session:
    """Load the engine of a bundle's graph onto an open device, which is closed again if that fails.

    Not after `DeviceFailed`: what is left then belongs to the thread, which may not touch it.
    """
    engine: Any = None
    try:
        engine = _engine(device.facts, tensorrt, bundle, options, load)
        session = Session(
            device,
            engine,
            grid=bundle.manifest.grid,
            tiles=options.profile_for(bundle.manifest).frames.most,
            version=f"{tensorrt.flavour} {tensorrt.version}",
            precision=_precision(options.precision),
            compiled=f"settings={BUILD_VERSION} {options.profile_for(bundle.manifest)}",
        )
    except DeviceFailed:
        raise
    except BaseException as error:
        # What TensorRT holds goes before the context, here and in the frames of the error.
        let_go(error)
        if engine is not None:
            engine.close()
        engine = None
        device.close()
        raise
    log.info(
        "tensorrt.open",
        flavour=tensorrt.flavour,
        version=tensorrt.version,
        gpu=device.facts.name,
        driver=device.facts.driver,
        precision=options.precision,
    )
    return session


def _engine(
    facts: DeviceFacts, tensorrt: TensorRt, bundle: Bundle, options: TensorRtOptions, load: Callable[..., Any]
) -> Any:
    contract = Contract.of(bundle.manifest)

    def build() -> bytes:
        return compile_graph(tensorrt, bundle, options)

    if options.engines is None:
        return load(tensorrt, build(), contract=contract, graphs=options.cuda_graph)
    cache = EngineCache(options.engines)
    key = key_of(tensorrt, facts, bundle.manifest, options)
    kernels = cache.beside(key, ".kernels")
    for attempt in (1, 2):
        plan = cache.get(key, build)
        try:
            return load(tensorrt, plan, contract=contract, graphs=options.cuda_graph, kernels=kernels)
        except EngineNotBuilt as error:
            # Its hash is right, and still this GPU, driver or wheel does not take it.
            cache.drop(key)
            log.warning("engine.refused", why=str(error), attempt=attempt)
            if attempt == 2:  # noqa: PLR2004 - one that was built a moment ago
                raise
    raise AssertionError("unreachable")
