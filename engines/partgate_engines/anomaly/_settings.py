"""How a product is learned."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from partgate_engines.anomaly._weights import PACKAGED_BACKBONE

Progress = Callable[[str, int, int], None]
"""Called with the name of a step, how much of it is done, and how much there is."""


def quiet(_step: str, _done: int, _total: int) -> None:
    """Say nothing of the progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnSettings:
    """What learning may be told; the defaults serve tiles and textures alike (docs/decisions/0003)."""

    kind: Literal["patchcore"] = "patchcore"
    backbone: str = PACKAGED_BACKBONE
    """timm's name of it."""

    layers: tuple[str, ...] = ("blocks.2", "blocks.4")
    """The layers whose features make a patch; the first one's grid is the map's."""

    size_px: int = 256
    """What is judged is resized to this width and height."""

    bank_rows: int = 2048
    seed: int = 0
    weights: Path | None = None
    """A file of weights or a folder with one; None for those that come with a package."""

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("layers: none given")
        if self.size_px < 32 or self.size_px % 32:  # noqa: PLR2004 - the stride of the coarsest layers
            raise ValueError(f"size_px: {self.size_px}; expected a multiple of 32")
        if self.bank_rows < 1:
            raise ValueError(f"bank_rows: {self.bank_rows}; expected at least 1")
