"""Golden frames: what every runtime must say of them is written in the bundle."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partgate_engines._errors import BundleRefused
from partgate_engines._manifest import Golden

LARGEST_GOLDEN = 96 * 2**20  # bytes of pixels in one bundle: six colour frames of 5 Mpx


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenFrame:
    """A frame whose anomaly score and map are known."""

    name: str
    """What it shows, in a person's words."""

    pixels: NDArray[np.uint8]
    """(h, w) grey or (h, w, 3) red, green, blue; uint8, read-only."""

    score: float
    anomaly_map: NDArray[np.float32]
    """(gh, gw) float32, read-only."""

    def __post_init__(self) -> None:
        self.pixels.flags.writeable = False
        self.anomaly_map.flags.writeable = False


def golden_bytes(frames: Sequence[GoldenFrame]) -> bytes:
    """Return what `golden.safetensors` holds: pixels and maps, numbered as the manifest names them."""
    from safetensors.numpy import save

    tensors: dict[str, NDArray[np.generic]] = {}
    for number, frame in enumerate(frames):
        tensors[f"pixels.{number}"] = np.ascontiguousarray(frame.pixels)
        tensors[f"map.{number}"] = np.ascontiguousarray(frame.anomaly_map)
    return save(tensors)


def read_golden(path: Path, raw: bytes, golden: Golden, grid: tuple[int, int]) -> tuple[GoldenFrame, ...]:
    """Read the golden frames from a safetensors file's bytes.

    Raises:
        BundleRefused: they are not what the manifest says.
    """
    import safetensors
    from safetensors.numpy import load

    try:
        tensors = load(raw)
    except safetensors.SafetensorError as error:
        raise BundleRefused(f"{path}: not a safetensors file ({error})") from error
    wanted = {f"{what}.{number}" for number in range(len(golden.frames)) for what in ("pixels", "map")}
    if set(tensors) != wanted:
        raise BundleRefused(
            f"{path}: holds {len(tensors)} tensors; the manifest names {len(golden.frames)} golden frames,"
            f" which are {len(wanted)}"
        )
    return tuple(
        _frame(path, entry.name, entry.score, tensors[f"pixels.{number}"], tensors[f"map.{number}"], grid)
        for number, entry in enumerate(golden.frames)
    )


def _frame(  # noqa: PLR0917 - one line of a table
    path: Path,
    name: str,
    score: float,
    pixels: NDArray[np.uint8],
    anomaly_map: NDArray[np.float32],
    grid: tuple[int, int],
) -> GoldenFrame:
    if pixels.dtype != np.uint8 or pixels.ndim not in {2, 3} or 0 in pixels.shape:
        raise BundleRefused(f"{path}: {name}: pixels of {pixels.dtype} {pixels.shape}")
    if anomaly_map.dtype != np.float32 or anomaly_map.shape != grid or not np.isfinite(anomaly_map).all():
        raise BundleRefused(
            f"{path}: {name}: a map of {anomaly_map.dtype} {anomaly_map.shape}, or one with values that are"
            f" not finite; expected float32 {grid}"
        )
    return GoldenFrame(name=name, pixels=pixels, score=score, anomaly_map=anomaly_map)
