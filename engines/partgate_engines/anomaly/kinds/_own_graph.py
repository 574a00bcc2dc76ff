"""What the kinds that train a network share: its graph is the product's own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from partgate_engines._errors import TrainingUnavailable
from partgate_engines._manifest import Training
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines._tiles import Grid
from partgate_engines.anomaly._graphs import keep_graph
from partgate_engines.anomaly._images import Chosen, GoodImage
from partgate_engines.anomaly._outliers import told
from partgate_engines.anomaly._reading import Reader
from partgate_engines.anomaly._settle import Settled, settle
from partgate_engines.anomaly.kinds._kind import Lesson
from partgate_engines.anomaly.kinds._shared import opened

_FEW_ROWS = 512  # of the bank that finds images which do not belong


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnGraph:
    """What a training leaves."""

    module: Any
    """The graph in torch."""

    content: bytes
    """The graph in ONNX."""

    grid: Grid
    losses: tuple[float, float]
    """Mean over the first and the last tenth of the steps."""

    batch: int

    def kept(self, lesson: Lesson) -> tuple[Path, Reader]:
        """Keep the graph with the others, and return where, with what puts images through it."""
        path = keep_graph(self.content, lesson.graphs)
        reader = Reader(
            graph=OpenVinoGraph(path, with_features=True),
            regions=lesson.regions,
            tiling=lesson.settings.tiling(self.grid),
            progress=lesson.progress,
        )
        return path, reader

    def training(self, *, steps: int, held_back: int = 0, defects: int = 0) -> Training:
        """Return what the manifest says of the training."""
        first, last = self.losses
        return Training(
            steps=steps,
            batch=self.batch,
            held_back=held_back,
            defects=defects,
            first_loss=first,
            last_loss=last,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Belonging:
    """The images that a network is trained on, and what a small memory bank says of them."""

    images: Sequence[GoodImage]
    known: Settled
    """Which of them show the same part, and which were left out because they do not belong."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of those that were left out."""
        aside = self.known.set_aside
        return told(aside, len(self.images) + len(aside))


def belonging(good: Sequence[GoodImage], lesson: Lesson, *, layers: tuple[str, ...]) -> Belonging:
    """Find the images that belong to the others: a network would learn the odd ones as well.

    Args:
        good: all.
        lesson: how.
        layers: that the small memory bank compares.
    """
    plain = replace(lesson.settings, kind="patchcore", layers=layers, bank_rows=_FEW_ROWS, steps=None)
    _, reader = opened(lesson, plain)
    known = settle(reader, reader.patches(good, first=0, seed=plain.seed), good, plain)
    aside = {one.position for one in known.set_aside}
    positions = [position for position in range(len(good)) if position not in aside]
    return Belonging(images=Chosen(good, positions), known=known)


@contextmanager
def training_libraries(kind: str) -> Iterator[None]:
    """Import what trains a network in here.

    Raises:
        TrainingUnavailable: it is not installed.
    """
    try:
        from partgate_engines.anomaly._export import calm

        with calm():
            yield
    except ModuleNotFoundError as error:
        raise TrainingUnavailable(
            f"learning with {kind} needs {error.name}; install partgate[train]"
        ) from error
