"""What runs a graph, and what it answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bundle import Bundle
from partgate_engines._errors import FrameRefused
from partgate_engines._placement import Box
from partgate_station import Region

RuntimeKind = Literal["auto", "openvino", "tensorrt"]
_CHANNELS = (1, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyResult:
    """What a model says of one frame."""

    score: float
    """Raw anomaly score: higher is worse, unbounded above; not a number if any patch's is not."""

    anomaly_map: NDArray[np.float32]
    """(gh, gw) float32, read-only: each patch's distance to the memory bank; 0 where none is judged."""

    box: Box | None = None
    """(left, top, right, bottom): the pixels of the frame that the map covers; None for all of it."""


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

    def close(self) -> None:
        """Release the device. A closed runtime judges nothing."""


def open_runtime(bundle: Bundle, kind: RuntimeKind = "auto", *, engines: Path | None = None) -> Runtime:
    """Compile a bundle's graph for this machine.

    Args:
        bundle: what to judge with.
        kind: which runtime; `auto` takes TensorRT where a GPU and all it needs are there, else OpenVINO.
        engines: the folder in which TensorRT's engines are kept; None compiles at every start.

    Raises:
        RuntimeUnavailable: this machine has no such runtime; says what to install.
        BundleRefused: the bundle was changed since it was opened.
        GraphRefused: the runtime cannot read the graph.
    """
    if kind == "auto":
        from partgate_engines._tensorrt_choice import choose

        kind = choose()
    match kind:
        case "openvino":
            from partgate_engines._openvino import OpenVinoRuntime

            return OpenVinoRuntime(bundle)
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
