"""From a graph to a plan, by NVIDIA's builder."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from partgate_engines._cuda_errors import EngineNotBuilt
from partgate_engines._errors import GraphRefused
from partgate_engines._manifest import Manifest
from partgate_engines._tensorrt_api import TensorRt
from partgate_engines._tensorrt_contract import Contract, Tensor

Progress = Callable[[str, int, int], None]
"""Called with the name of a step, how much of it is done, and how much there is."""

BUILD_VERSION = 1
"""Of how plans are built here: one more whenever `build_plan` or the wheel's configuration asks for something
else, so that no plan of before is found in a cache."""

_DTYPES = {"UINT8": "uint8", "FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT64": "int64"}
_ERRORS_SHOWN = 5
_USUAL_TILES, _MOST_TILES = 8, 32  # in one run
_LARGEST_RUN = 2**28  # pixels times channels: 1 GB once they are floats


def quiet(_step: str, _done: int, _total: int) -> None:
    """Say nothing of the progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The lengths of one axis that an engine takes, and the one it is made fastest for."""

    least: int
    usual: int
    most: int

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.usual <= self.most:
            raise ValueError(f"{self}: expected 1 <= least <= usual <= most")

    def __contains__(self, length: int) -> bool:
        return self.least <= length <= self.most


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The sizes that one engine serves: by default any frame up to 20 Mpx. Others need another engine.

    The builder reckons its scratch memory for the largest of everything: 13 GB for eight frames of
    8192×8192, 0.56 GB for these.
    """

    frames: Span = Span(least=1, usual=1, most=1)
    height_px: Span = Span(least=1, usual=2048, most=4096)
    width_px: Span = Span(least=1, usual=2448, most=5472)
    channels: Span = Span(least=1, usual=3, most=3)
    bank_rows: Span = Span(least=1, usual=2048, most=50_000)

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Return the sizes for a product: any frame one at a time, or runs of up to 32 tiles.

        Products whose tiles are at most four times the graph's size share one.
        """
        bank_rows = _bank_rows(manifest)
        if manifest.tiling is None:
            return cls(bank_rows=bank_rows)
        # Averaging first leaves less than four times the graph's size of a square tile; a box narrower
        # than a tile is not averaged along its other side.
        most_px = max(4 * manifest.size_px, manifest.tiling.tile_px)
        side = Span(least=1, usual=manifest.size_px, most=most_px)
        tiles = max(min(_LARGEST_RUN // (3 * most_px**2), _MOST_TILES), 1)
        frames = Span(least=1, usual=min(_USUAL_TILES, tiles), most=tiles)
        return cls(frames=frames, height_px=side, width_px=side, bank_rows=bank_rows)

    def covers(self, other: "Profile") -> bool:
        """Return whether an engine of this takes frames as large as the other's."""
        return other.height_px.most <= self.height_px.most and other.width_px.most <= self.width_px.most

    def __str__(self) -> str:
        """Return all of it in one line: a part of the engine cache's key."""
        spans = ((field.name, getattr(self, field.name)) for field in fields(self))
        return " ".join(f"{name}={span.least}/{span.usual}/{span.most}" for name, span in spans)

    def shapes(self, contract: Contract) -> dict[str, tuple[tuple[int, ...], ...]]:
        """Return the least, usual and most shape of every input that has a free axis."""
        return {
            "frames": _corners(self.frames, self.height_px, self.width_px, self.channels),
            "rows": _corners(contract.size_px, self.height_px),
            "columns": _corners(self.width_px, contract.size_px),
            "channels": _corners(3, self.channels),
            "bank": _corners(self.bank_rows, contract.features + 1),
            "mask": _corners(self.frames, *contract.grid),
        }


def _bank_rows(manifest: Manifest) -> Span:
    """Return how many rows a bank may have: with rows for every place, as many as there are places."""
    if manifest.kind == "padim":
        return Span(least=manifest.bank_rows, usual=manifest.bank_rows, most=manifest.bank_rows)
    return Profile().bank_rows


def _corners(*axes: Span | int) -> tuple[tuple[int, ...], ...]:
    spans = [axis if isinstance(axis, Span) else Span(least=axis, usual=axis, most=axis) for axis in axes]
    return (
        tuple(span.least for span in spans),
        tuple(span.usual for span in spans),
        tuple(span.most for span in spans),
    )


def build_plan(
    tensorrt: TensorRt,
    graph: bytes,
    *,
    contract: Contract,
    profile: Profile,
    capabilities: tuple[str, ...] = (),
    progress: Progress = quiet,
    stop: threading.Event | None = None,
) -> bytes:
    """Compile a graph into a plan.

    Two plans of one graph differ in some dozens to hundreds of bytes of 5 MB (RTX 1.7.1, seen with free and
    with fixed sizes), so a plan is known by what it was built of, never by its own hash.

    Needs no GPU with TensorRT-RTX; `tensorrt` builds on the GPU that will run the plan.

    Args:
        tensorrt: the wheel.
        graph: an ONNX model with its weights inside.
        contract: what its inputs and outputs must be.
        profile: the sizes that the engine is to serve.
        capabilities: compute capabilities to build for, such as "8.9" (RTX only); none for all.
        progress: told of every phase of the builder, from the builder's threads.
        stop: set it to give up.

    Raises:
        GraphRefused: the builder cannot read the graph, or it has other inputs or outputs.
        EngineNotBuilt: the builder gave up, or was told to.
    """
    builder = tensorrt.builder()
    network = parse(tensorrt, builder, graph)
    if _has_one_mask(network, contract):
        network = parse(tensorrt, builder, free_masks(graph))
    keep_outputs(network, contract)
    check(network, contract)
    config = tensorrt.configuration(builder)
    tensorrt.aim_at(config, capabilities)
    _add_profile(builder, config, profile.shapes(contract))
    monitor = _monitor(tensorrt.module, progress, stop)
    config.progress_monitor = monitor
    tensorrt.errors.take()
    plan = builder.build_serialized_network(network, config)
    if monitor.failure is not None:
        raise monitor.failure
    if plan is None:
        told = stop is not None and stop.is_set()
        raise EngineNotBuilt(f"{tensorrt}: {'told to stop' if told else tensorrt.errors.take()}")
    return bytes(plan)


def parse(tensorrt: TensorRt, builder: Any, graph: bytes) -> Any:
    """Read a graph into a strongly typed network.

    Raises:
        GraphRefused: with the nodes and operators that the parser does not take.
    """
    network = tensorrt.network(builder)
    parser = tensorrt.module.OnnxParser(network, tensorrt.logger)
    tensorrt.errors.take()
    if not parser.parse(graph):
        raise GraphRefused(f"{tensorrt}: cannot read the graph: {_parser_errors(parser)}")
    return network


def keep_outputs(network: Any, contract: Contract) -> None:
    """Unmark outputs that judging does not need, so that the engine does not compute or copy them."""
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    for output in outputs:
        if output.name not in contract.outputs:
            network.unmark_output(output)


def free_masks(graph: bytes) -> bytes:
    """Let a graph that was exported before there were tiles take a mask for every frame.

    It multiplies by its only mask, and so by many: nothing but what is said of the input differs. Said
    here and not to the network: the parser has reshaped the mask by then.
    """
    import onnx

    model = onnx.load_from_string(graph)
    (mask,) = [value for value in model.graph.input if value.name == "mask"]
    lengths = mask.type.tensor_type.shape.dim
    gh, gw = (length.dim_value for length in lengths)
    mask.CopyFrom(onnx.helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, ["n", gh, gw]))
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _has_one_mask(network: Any, contract: Contract) -> bool:
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    return any(tensor.name == "mask" and tuple(tensor.shape) == contract.grid for tensor in inputs)


def check(network: Any, contract: Contract) -> None:
    """Hold a network to the agreement.

    Raises:
        GraphRefused: with everything that is wrong.
    """
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    problems = contract.problems(inputs=_described(inputs), outputs=_described(outputs))
    if problems:
        raise GraphRefused(f"the graph is not one of this project's: {'; '.join(problems)}")


def _described(tensors: list[Any]) -> Mapping[str, Tensor]:
    return {
        tensor.name: Tensor(
            dtype=_DTYPES.get(tensor.dtype.name, tensor.dtype.name.lower()), shape=tuple(tensor.shape)
        )
        for tensor in tensors
    }


def _parser_errors(parser: Any) -> str:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    said = [f"{_node(error)}: {error.desc().strip()} ({error.code().name})" for error in errors]
    more = len(said) - _ERRORS_SHOWN
    return "; ".join(said[:_ERRORS_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _node(error: Any) -> str:
    operator = error.node_operator()
    if not operator:
        return "the model"
    return f"node {error.node_name() or error.node()} ({operator})"


def _add_profile(builder: Any, config: Any, shapes: Mapping[str, tuple[tuple[int, ...], ...]]) -> None:
    profile = builder.create_optimization_profile()
    for name, (least, usual, most) in shapes.items():
        profile.set_shape(name, least, usual, most)
    if config.add_optimization_profile(profile) < 0:
        raise EngineNotBuilt(f"the builder takes no profile of {dict(shapes)}")


def _monitor(module: Any, progress: Progress, stop: threading.Event | None) -> Any:
    class Monitor(module.IProgressMonitor):  # type: ignore[misc]  # its base is known at run time
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self.failure: Exception | None = None
            self._totals: dict[str, int] = {}

        def phase_start(self, name: str, _parent: str | None, steps: int) -> None:
            self._totals[name] = steps
            self._tell(name, 0)

        def step_complete(self, name: str, step: int) -> bool:
            self._tell(name, step + 1)
            return self.failure is None and not (stop is not None and stop.is_set())

        def phase_finish(self, name: str) -> None:
            self._tell(name, self._totals[name])

        def _tell(self, name: str, done: int) -> None:
            # An exception may not fly through the builder's own frames: it is kept, the build gives
            # up at its next step, and `build_plan` raises it.
            try:
                progress(name, done, self._totals[name])
            except Exception as error:  # noqa: BLE001 - recorded, and raised by `build_plan`
                self.failure = error

    return Monitor()
