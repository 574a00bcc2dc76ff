"""How a product is learned."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from partgate_engines._manifest import Contrast, GraphPrecision, KindName, Tiling
from partgate_engines._pose import PoseLimits
from partgate_engines._tiles import Grid
from partgate_engines.anomaly._budget import Budget
from partgate_engines.anomaly._images import SMALLEST_PX
from partgate_engines.anomaly._weights import PACKAGED_BACKBONE

Progress = Callable[[str, int, int], None]
"""Called with the name of a step, how much of it is done, and how much there is."""

Choosable = Literal["tile_px", "layers", "contrast", "kind"]
"""What learning may choose by itself: names of settings."""


def quiet(_step: str, _done: int, _total: int) -> None:
    """Say nothing of the progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnSettings:
    """What learning may be told; the defaults serve tiles and textures alike (docs/decisions/0003)."""

    kind: KindName = "patchcore"
    """What is learned (docs/reference/models.md)."""

    backbone: str = PACKAGED_BACKBONE
    """timm's name of it."""

    layers: tuple[str, ...] = ("blocks.2", "blocks.4")
    """The layers whose features make a patch; the first one's grid is the map's."""

    size_px: int = 256
    """What is judged is resized to this width and height."""

    tile_px: int | None = None
    """What is judged is cut into tiles of this width and height in pixels of the frame, and each is
    resized to `size_px` on its own; None: all of it is one tile."""

    contrast: Contrast = "global"
    """What the backbone sees: "global" grey levels as they are, "local" how each differs from its
    surroundings, for light and shading that differ between good parts (docs/decisions/0015)."""

    precision: GraphPrecision = "f32"
    """What the graph is computed in; "int8" is quicker on processors with VNNI (docs/decisions/0030)."""

    align: PoseLimits | None = None
    """Parts are aligned to the one that lies most in the middle of them; how far off one may lie. None: they
    are held in place, and frames are judged as they are."""

    auto: tuple[Choosable, ...] = ()
    """What is chosen by drawing defects on good images; what is given for it stays unless another is
    better (docs/decisions/0025)."""

    budget: Budget = field(default_factory=Budget)
    """How many good parts the thresholds may flag."""

    keep_outliers: bool = False
    """Whether images that do not belong to the others are learned all the same (docs/decisions/0019)."""

    bank_rows: int = 2048
    steps: int | None = None
    """Of a kind that is trained; None for as many as it usually takes. More take longer."""

    seed: int = 0
    weights: Path | None = None
    """A file of weights or a folder with one; None for those that come with a package."""

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("layers: none given")
        if self.size_px < 32 or self.size_px % 32:  # noqa: PLR2004 - the stride of the coarsest layers
            raise ValueError(f"size_px: {self.size_px}; expected a multiple of 32")
        if self.tile_px is not None and self.tile_px < SMALLEST_PX:
            raise ValueError(f"tile_px: {self.tile_px}; expected at least {SMALLEST_PX}")
        if "layers" in self.auto and self.backbone != PACKAGED_BACKBONE:
            raise ValueError(
                f"layers: auto knows those of {PACKAGED_BACKBONE} only; name those of {self.backbone}"
            )
        if self.precision == "int8" and self.kind != "patchcore":
            raise ValueError(f"precision: int8 is for patchcore; {self.kind} is learned in f32")
        if self.precision == "int8" and "kind" in self.auto:
            raise ValueError("precision: int8 is for patchcore; give the kind, or leave the precision at f32")
        if self.bank_rows < 1:
            raise ValueError(f"bank_rows: {self.bank_rows}; expected at least 1")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps: {self.steps}; expected at least 1")

    def tiling(self, grid: Grid) -> Tiling | None:
        """Return how frames are cut into tiles for a graph of so many patches; None if they are not."""
        return None if self.tile_px is None else Tiling.of(self.tile_px, patches=min(grid))
