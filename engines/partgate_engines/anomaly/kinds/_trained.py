"""Kinds whose network is trained for the product: minutes instead of seconds, and a graph of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bank import EVERY_IMAGE, MemoryBank
from partgate_engines._errors import ImagesRefused, TrainingUnavailable
from partgate_engines._manifest import KindName, Source, Training
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines._tiles import Grid
from partgate_engines.anomaly._budget import Budget
from partgate_engines.anomaly._graphs import keep_graph
from partgate_engines.anomaly._images import Chosen, GoodImage
from partgate_engines.anomaly._kinship import parts_of
from partgate_engines.anomaly._outliers import told
from partgate_engines.anomaly._reading import Reader
from partgate_engines.anomaly._settings import LearnSettings
from partgate_engines.anomaly._settle import Settled, calibrated, settle
from partgate_engines.anomaly._weights import PACKAGED_BACKBONE
from partgate_engines.anomaly.kinds._kind import Lesson, Taught
from partgate_engines.anomaly.kinds._shared import opened
from partgate_station import ConfigError

_HELD_BACK = 0.25  # of the parts: not trained on, so that the thresholds rest on something
_FEW_ROWS = 512  # of the bank that finds images which do not belong


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedGraph:
    """What a training leaves."""

    module: Any
    """The graph in torch."""

    content: bytes
    """The graph in ONNX."""

    grid: Grid
    row: NDArray[np.float32]
    """(1, m + 1), how its m maps are read out."""

    losses: tuple[float, float]
    """Mean over the first and the last tenth of the steps."""

    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Trains a network on good images, and holds some of them back for the thresholds."""

    name: KindName
    steps: int
    """As many as it takes where nobody says."""

    learns_from_defects: bool = False
    backbones: tuple[str, ...] = ()
    """The only ones it can be built for; empty: any."""

    layers: tuple[str, ...] = ()
    """Whose features it compares, where its backbones have to have certain ones."""

    def settings(self, given: LearnSettings) -> LearnSettings:
        """See `Kind`."""
        found = replace(given, steps=given.steps or self.steps)
        if not self.backbones:
            return found
        if given.backbone == PACKAGED_BACKBONE:
            found = replace(found, backbone=self.backbones[0])
        if found.backbone not in self.backbones:
            raise ConfigError(
                f"--backbone {found.backbone}: {self.name} is built for {', '.join(self.backbones)} only"
            )
        return replace(found, layers=self.layers)

    def teach(self, good: Sequence[GoodImage], lesson: Lesson) -> Taught:
        """See `Kind`."""
        settings = lesson.settings
        known = self._known(good, lesson)
        kept = Chosen(good, _without(len(good), known))
        held_back = withheld(known.sources, settings.seed)
        trained_on = np.flatnonzero(~held_back) if not held_back.all() else np.arange(len(kept))
        made = self._trained(Chosen(kept, trained_on.tolist()), lesson)
        path = keep_graph(made.content, lesson.graphs)
        reader = Reader(
            graph=OpenVinoGraph(path, with_features=True),
            regions=lesson.regions,
            tiling=settings.tiling(made.grid),
            progress=lesson.progress,
        )
        bank = MemoryBank(rows=made.row, origin=np.full(1, EVERY_IMAGE, dtype=np.int32), form="affine")
        return Taught(
            graph=path,
            grid=made.grid,
            tiling=reader.tiling,
            settled=_judged(reader, bank, kept, held_back, known, budget=settings.budget),
            training=self._training(made, lesson, held_back=int(held_back.sum())),
            module=made.module,
        )

    def relearn(self, reader: Reader, good: Sequence[GoodImage], settings: LearnSettings) -> Settled:
        """See `Kind`."""
        del reader, good, settings
        raise ImagesRefused(
            f"{self.name} is trained, for minutes, on all good images at once: none can be added or taken out"
            f" afterwards. Learn the product again: partgate learn PRODUCT --kind {self.name} --good DIR"
        )

    def _known(self, good: Sequence[GoodImage], lesson: Lesson) -> Settled:
        """Return which images show the same part, and which do not belong: by a small memory bank."""
        plain = replace(lesson.settings, kind="patchcore", bank_rows=_FEW_ROWS, steps=None)
        _, reader = opened(lesson, plain)
        return settle(reader, reader.patches(good, first=0, seed=plain.seed), good, plain)

    def _training(self, made: TrainedGraph, lesson: Lesson, *, held_back: int) -> Training:
        first, last = made.losses
        return Training(
            steps=lesson.settings.steps or self.steps,
            batch=made.batch,
            held_back=held_back,
            defects=len(lesson.defects),
            first_loss=first,
            last_loss=last,
        )

    def _trained(self, good: Sequence[GoodImage], lesson: Lesson) -> TrainedGraph:
        try:
            from partgate_engines.anomaly._export import calm

            with calm():
                from partgate_engines.anomaly.kinds._train import taught
        except ModuleNotFoundError as error:
            raise TrainingUnavailable(
                f"learning with {self.name} needs {error.name}; install partgate[train]"
            ) from error
        return taught(self.name, good, lesson, steps=lesson.settings.steps or self.steps)


def _without(count: int, known: Settled) -> list[int]:
    aside = {one.position for one in known.set_aside}
    return [position for position in range(count) if position not in aside]


def withheld(sources: Sequence[Source], seed: int) -> NDArray[np.bool_]:
    """Return which images are not trained on: those of a quarter of the parts, at least of one.

    Where there is a single part all of them are, and all are trained on: nothing can be promised then.
    """
    numbers, part = np.unique(parts_of(sources), return_inverse=True)
    if len(numbers) == 1:
        return np.ones(len(sources), dtype=np.bool_)
    count = max(round(_HELD_BACK * len(numbers)), 1)
    chosen = np.random.default_rng(seed).permutation(len(numbers))[:count]
    return np.asarray(np.isin(part, chosen))


def _judged(
    reader: Reader,
    bank: MemoryBank,
    good: Sequence[GoodImage],
    held_back: NDArray[np.bool_],
    known: Settled,
    *,
    budget: Budget,
) -> Settled:
    scores = np.full(len(good), np.nan, dtype=np.float32)
    positions = np.flatnonzero(held_back) if not held_back.all() else np.array([], dtype=np.intp)
    for done, position in enumerate(positions):
        scores[position] = reader.score(good[int(position)], bank)
        reader.progress("scores", done + 1, len(positions))
    scores, calibration = calibrated(
        reader,
        bank,
        good,
        sources=known.sources,
        scores=scores,
        budget=budget,
        method="held-back",
        warnings=told(known.set_aside, len(good) + len(known.set_aside)),
    )
    return replace(known, bank=bank, coverage=0.0, scores=scores, calibration=calibration)


_RESNETS = ("resnet18", "resnet34", "resnet50", "wide_resnet50_2")

TRAINED: Mapping[KindName, Trained] = {
    "stfpm": Trained(name="stfpm", steps=200),
    "fastflow": Trained(name="fastflow", steps=200),
    "supersimplenet": Trained(name="supersimplenet", steps=300, learns_from_defects=True),
    "reverse-distillation": Trained(
        name="reverse-distillation",
        steps=200,
        backbones=_RESNETS,
        layers=("layer1", "layer2", "layer3"),
    ),
}
