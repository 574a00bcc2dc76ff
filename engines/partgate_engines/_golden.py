"""Golden frames: what every runtime must say of them is written in the bundle."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bundle_files import read_tensors
from partgate_engines._errors import BundleRefused
from partgate_engines._manifest import Golden, GoldenEntry

MapShape = Callable[[int, int], tuple[int, int]]
"""Gives the shape of the anomaly map of a frame of so many pixels down and across."""

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
    """(GH, GW) float32, read-only."""

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


def read_golden(path: Path, raw: bytes, golden: Golden, map_shape: MapShape) -> tuple[GoldenFrame, ...]:
    """Read the golden frames from a safetensors file's bytes.

    Args:
        path: names it in an error.
        raw: its bytes.
        golden: what the manifest says of it.
        map_shape: how large the map of a frame is.

    Raises:
        BundleRefused: they are not what the manifest says.
    """
    tensors = read_tensors(path, raw)
    wanted = {f"{what}.{number}" for number in range(len(golden.frames)) for what in ("pixels", "map")}
    if set(tensors) != wanted:
        raise BundleRefused(
            f"{path}: holds {len(tensors)} tensors; the manifest names {len(golden.frames)} golden frames,"
            f" which are {len(wanted)}"
        )
    return tuple(
        _frame(path, entry, tensors[f"pixels.{number}"], tensors[f"map.{number}"], map_shape)
        for number, entry in enumerate(golden.frames)
    )


def _frame(
    path: Path,
    entry: GoldenEntry,
    pixels: NDArray[Any],
    anomaly_map: NDArray[Any],
    map_shape: MapShape,
) -> GoldenFrame:
    if pixels.dtype != np.uint8 or pixels.ndim not in {2, 3} or 0 in pixels.shape:
        raise BundleRefused(f"{path}: {entry.name}: pixels of {pixels.dtype} {pixels.shape}")
    wanted = map_shape(pixels.shape[0], pixels.shape[1])
    if anomaly_map.dtype != np.float32 or anomaly_map.shape != wanted or not np.isfinite(anomaly_map).all():
        raise BundleRefused(
            f"{path}: {entry.name}: a map of {anomaly_map.dtype} {anomaly_map.shape}, or one with values that"
            f" are not finite; expected float32 {wanted}"
        )
    return GoldenFrame(name=entry.name, pixels=pixels, score=entry.score, anomaly_map=anomaly_map)
