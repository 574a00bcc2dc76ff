"""What goes into a graph and what comes out: the agreement that every engine is held to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from partgate_engines._manifest import Manifest
from partgate_engines._tiles import Grid

FREE = -1
"""The length of an axis that a frame, a product or a batch decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An input or output of a graph."""

    dtype: str
    """As numpy calls it."""

    shape: tuple[int, ...]

    def __str__(self) -> str:
        lengths = ", ".join("free" if length == FREE else str(length) for length in self.shape)
        return f"{self.dtype} ({lengths})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """The inputs and outputs of the graph of a bundle."""

    size_px: int
    grid: Grid
    features: int

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Return what a bundle's manifest says of its graph."""
        return cls(size_px=manifest.size_px, grid=manifest.grid, features=manifest.features)

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """The inputs by name."""
        return {
            "frames": Tensor(dtype="uint8", shape=(FREE, FREE, FREE, FREE)),
            "rows": Tensor(dtype="float32", shape=(self.size_px, FREE)),
            "columns": Tensor(dtype="float32", shape=(FREE, self.size_px)),
            "channels": Tensor(dtype="float32", shape=(3, FREE)),
            "bank": Tensor(dtype="float32", shape=(FREE, self.features + 1)),
            "mask": Tensor(dtype="float32", shape=(FREE, *self.grid)),
        }

    @property
    def outputs(self) -> Mapping[str, Tensor]:
        """The outputs, by name, that judging needs."""
        return {
            "score": Tensor(dtype="float32", shape=(FREE,)),
            "anomaly_map": Tensor(dtype="float32", shape=(FREE, *self.grid)),
        }

    def problems(self, *, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> tuple[str, ...]:
        """Return what is wrong with a graph; nothing if it keeps the agreement.

        Convention: a fixed axis where the agreement has a free one is wrong as well. NVIDIA's builder
        takes a graph with the batch baked in without a word.
        """
        return (
            *_differences("input", self.inputs, inputs),
            *_differences("output", self.outputs, outputs),
        )


def _differences(what: str, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> tuple[str, ...]:
    missing = [f"{what} {name} is missing" for name in wanted if name not in found]
    strange = [f"{what} {name} is not known" for name in found if name not in wanted]
    other = [
        f"{what} {name} is {found[name]}, expected {tensor}"
        for name, tensor in wanted.items()
        if name in found and found[name] != tensor
    ]
    return (*missing, *strange, *other)
