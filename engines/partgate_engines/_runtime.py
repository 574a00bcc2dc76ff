"""What runs a graph, and what it answers."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import structlog
from numpy.typing import NDArray

from partgate_engines._bundle import Bundle
from partgate_engines._cuda_errors import DeviceFailed, DeviceOutOfMemory, EngineNotBuilt
from partgate_engines._errors import FrameRefused, GraphRefused
from partgate_engines._tiles import Box
from partgate_station import PartgateError, Region

if TYPE_CHECKING:
    from partgate_engines._openvino_options import OpenVinoOptions

log = structlog.get_logger(__name__)

RuntimeKind = Literal["auto", "openvino", "tensorrt"]
_CHANNELS = (1, 3)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyResult:
    """What a model says of one frame."""

    score: float
    """Raw anomaly score: higher is worse, unbounded above; not a number if any patch's is not."""

    anomaly_map: NDArray[np.float32]
    """(GH, GW) float32, read-only: each patch's distance to the memory bank; 0 where none is judged.
    As large as the model's grid, larger where the frame is judged in tiles."""

    box: Box | None = None
    """(left, top, right, bottom): the pixels of the frame that the map covers; None for all of it."""


FrameScore = float | PartgateError
"""What became of one frame of several; an error is returned so that it takes no other frame's score away."""


class Runtime(Protocol):
    """A bundle ready to judge frames. Belongs to the thread that opened it."""

    @property
    def name(self) -> str:
        """The runtime's kind, as the station file says it."""

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        """Judge one frame.

        Args:
            frame: (h, w), (h, w, 1) grey or (h, w, 3) red, green, blue; uint8; not modified or kept.
            regions: what of it is judged; none for all of it.

        Raises:
            FrameRefused: another dtype or shape.
            ConfigError: a region does not fit into the frame, or nothing is left to judge.
        """

    def scores(
        self, frames: Sequence[NDArray[np.uint8]], regions: Sequence[tuple[Region, ...]]
    ) -> tuple[FrameScore, ...]:
        """Score the frames of a part, side by side where the device can; the quickest way to a verdict.

        Args:
            frames: as `judge` takes them.
            regions: for every frame.

        Returns:
            For every frame the score that `judge` returns, or the error that it raises.

        Raises:
            DeviceFailed: the device cannot be trusted any more, for no frame.
        """

    def close(self) -> None:
        """Release the device. A closed runtime judges nothing."""


@runtime_checkable
class PreparingRuntime(Runtime, Protocol):
    """A runtime some of whose work needs no model: it can be done while the frame before is judged."""

    def prepare(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> None:
        """Do that work for a frame that `scores` will be asked for; it changes no score.

        The one call that another thread may make, for one frame at a time, while the runtime judges. What
        was made is kept for a read-only frame, while it lives.

        Raises:
            PartgateError: `scores` will say the same of this frame.
        """


def open_runtime(
    bundle: Bundle,
    kind: RuntimeKind = "auto",
    *,
    engines: Path | None = None,
    openvino: "OpenVinoOptions | None" = None,
) -> Runtime:
    """Compile a bundle's graph for this machine; parts that move are aligned first, if it was learned so.

    Args:
        bundle: what to judge with.
        kind: which runtime; `auto` takes TensorRT where a GPU and all it needs are there and an engine can be
            made of the graph, else OpenVINO.
        engines: the folder in which engines are kept; None compiles at every start.
        openvino: how the CPU judges, where it does.

    Raises:
        RuntimeUnavailable: this machine has no such runtime; says what to install.
        BundleRefused: the bundle was changed since it was opened.
        GraphRefused: the runtime cannot read the graph; with `auto`, OpenVINO cannot read it either.
        DeviceFailed: the GPU cannot be trusted any more; also with `auto`, this process must end.
    """
    if kind == "auto" and bundle.manifest.precision == "int8":
        kind = "openvino"  # the only one that takes it
    if kind == "auto":
        runtime = _opened_auto(bundle, engines, openvino)
    else:
        runtime = _opened(bundle, kind, engines, openvino)
    if bundle.manifest.pose is None:
        return runtime
    from partgate_engines._aligned_runtime import AlignedRuntime

    return AlignedRuntime(runtime, bundle.manifest.pose)


def _opened_auto(bundle: Bundle, engines: Path | None, openvino: "OpenVinoOptions | None") -> Runtime:
    from partgate_engines._tensorrt_choice import choose

    kind = choose()
    if kind == "tensorrt":
        try:
            return _opened(bundle, kind, engines, openvino)
        except (EngineNotBuilt, GraphRefused, DeviceOutOfMemory) as error:
            log.warning(
                "runtime.fell_back",
                failed="tensorrt",
                why=str(error),
                what_now="parts are judged by openvino on the CPU, maybe slower; put right what failed and"
                ' start again (of memory, nvidia-smi says who takes it), or set runtime = "openvino"',
            )
    # Outside, so that nothing of the GPU lives on in the error.
    return _opened(bundle, "openvino", engines, openvino)


def _opened(
    bundle: Bundle,
    kind: Literal["openvino", "tensorrt"],
    engines: Path | None,
    openvino: "OpenVinoOptions | None",
) -> Runtime:
    match kind:
        case "openvino":
            from partgate_engines._openvino_options import OpenVinoOptions
            from partgate_engines._openvino_runtime import OpenVinoRuntime

            return OpenVinoRuntime(bundle, replace(openvino or OpenVinoOptions(), engines=engines))
        case "tensorrt":
            from partgate_engines._tensorrt import TensorRtRuntime
            from partgate_engines._tensorrt_choice import require_tensorrt
            from partgate_engines._tensorrt_open import TensorRtOptions

            require_tensorrt()
            return TensorRtRuntime(bundle, TensorRtOptions(engines=engines))


def with_channels(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a frame as (h, w, c), contiguous; a view where it can be.

    Raises:
        FrameRefused: it is not uint8, or neither grey nor of three colours.
    """
    if frame.dtype != np.uint8:
        raise FrameRefused(f"a frame of {frame.dtype}; expected uint8 (convert 10- and 12-bit frames before)")
    shaped = frame[:, :, None] if frame.ndim == 2 else frame  # noqa: PLR2004 - rows and columns
    if shaped.ndim != 3 or shaped.shape[2] not in _CHANNELS or 0 in shaped.shape:  # noqa: PLR2004 - and channels
        raise FrameRefused(f"a frame of shape {frame.shape}; expected (h, w), (h, w, 1) or (h, w, 3)")
    return np.ascontiguousarray(shaped)


def score_in_turn(
    submit: Callable[[NDArray[np.uint8], tuple[Region, ...]], Callable[[], float]],
    frames: Sequence[NDArray[np.uint8]],
    regions: Sequence[tuple[Region, ...]],
    *,
    at_once: int,
) -> tuple[FrameScore, ...]:
    """Send frames to a device, at most so many before the first is answered; see `Runtime.scores`.

    Args:
        submit: sends one and returns at once with a function that waits for its answer.
        frames: as `Runtime.judge` takes them.
        regions: for every frame.
        at_once: how many may be under way.
    """
    answers: list[FrameScore] = []
    under_way: deque[Callable[[], FrameScore]] = deque()
    for frame, judged in zip(frames, regions, strict=True):
        if len(under_way) == at_once:
            answers.append(under_way.popleft()())
        under_way.append(_begun(submit, frame, judged))
    answers.extend(wait() for wait in under_way)
    return tuple(answers)


def _begun(
    submit: Callable[[NDArray[np.uint8], tuple[Region, ...]], Callable[[], float]],
    frame: NDArray[np.uint8],
    regions: tuple[Region, ...],
) -> Callable[[], FrameScore]:
    found = _or_error(lambda: submit(frame, regions))
    if isinstance(found, PartgateError):
        return lambda: found
    return lambda: _or_error(found)


def _or_error(ask: Callable[[], T]) -> T | PartgateError:
    try:
        return ask()
    except DeviceFailed:
        raise
    except PartgateError as error:
        return error
