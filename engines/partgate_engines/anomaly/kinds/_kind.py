"""What a kind of model is to the rest: it is taught good parts, and leaves a graph and rows for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from partgate_engines._manifest import KindName, Tiling, Training
from partgate_engines._tiles import Grid
from partgate_engines.anomaly._images import DefectImage, GoodImage
from partgate_engines.anomaly._reading import Reader
from partgate_engines.anomaly._settings import LearnSettings, Progress
from partgate_engines.anomaly._settle import Settled
from partgate_engines.anomaly._weights import Weights
from partgate_station import Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """How a product is taught."""

    settings: LearnSettings
    weights: Weights
    """Of the backbone."""

    graphs: Path
    """The folder of the graphs that all products share."""

    regions: tuple[Region, ...]
    progress: Progress
    defects: Sequence[DefectImage] = ()
    """Defective parts with masks, for the kinds that learn from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """What a kind came to."""

    graph: Path
    grid: Grid
    tiling: Tiling | None
    settled: Settled
    training: Training | None = None
    module: Any = None
    """Of a trained network, the graph in torch: nothing else can say later what torch says."""


class Kind(Protocol):
    """One way of learning what good parts look like."""

    @property
    def name(self) -> KindName:
        """What it is called on the command line and in manifests."""

    @property
    def learns_from_defects(self) -> bool:
        """Whether defective images with masks are learned from, and not only scored."""

    def settings(self, given: LearnSettings) -> LearnSettings:
        """Return the settings with what this kind takes where nothing was said.

        Raises:
            ConfigError: something was asked for that it cannot do.
        """

    def teach(self, good: Sequence[GoodImage], lesson: Lesson) -> Taught:
        """Learn good parts.

        Raises:
            ImagesRefused, ConfigError, GraphRefused, BundleNotWritten: as `learn`.
            TrainingUnavailable: torch or anomalib are not installed.
        """

    def relearn(self, reader: Reader, good: Sequence[GoodImage], settings: LearnSettings) -> Settled:
        """Learn good parts anew with the graph of a product that was learned before.

        Raises:
            ImagesRefused: it cannot be done without training; says what to do.
        """
