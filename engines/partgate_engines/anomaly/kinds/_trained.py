"""Kinds whose network is trained for the product: minutes instead of seconds, and a graph of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bank import EVERY_IMAGE, MemoryBank
from partgate_engines._errors import ImagesRefused
from partgate_engines._manifest import KindName, Source
from partgate_engines.anomaly._budget import Budget
from partgate_engines.anomaly._held_out import HeldOut
from partgate_engines.anomaly._images import Chosen, GoodImage
from partgate_engines.anomaly._kinship import parts_of
from partgate_engines.anomaly._reading import Reader
from partgate_engines.anomaly._sensitivity import weighed
from partgate_engines.anomaly._settings import LearnSettings
from partgate_engines.anomaly._settle import Settled, calibrated_by
from partgate_engines.anomaly._weights import PACKAGED_BACKBONE
from partgate_engines.anomaly.kinds._kind import Lesson, Taught
from partgate_engines.anomaly.kinds._own_graph import Belonging, OwnGraph, belonging, training_libraries
from partgate_station import ConfigError

_HELD_BACK = 0.25  # of the parts: not trained on, so that the thresholds rest on something


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedGraph(OwnGraph):
    """What a training leaves."""

    row: NDArray[np.float32]
    """(1, m + 1), how its m maps are read out."""


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
        found = belonging(good, lesson, layers=settings.layers)
        held_back = withheld(found.known.sources, settings.seed)
        trained_on = np.flatnonzero(~held_back) if not held_back.all() else np.arange(len(held_back))
        made = self._trained(Chosen(found.images, trained_on.tolist()), lesson)
        path, reader = made.kept(lesson)
        bank = MemoryBank(rows=made.row, origin=np.full(1, EVERY_IMAGE, dtype=np.int32), form="affine")
        return Taught(
            graph=path,
            grid=made.grid,
            tiling=reader.tiling,
            settled=_judged(reader, bank, found, held_back, budget=settings.budget),
            training=made.training(
                steps=settings.steps or self.steps,
                held_back=int(held_back.sum()),
                defects=len(lesson.defects),
            ),
            module=made.module,
        )

    def relearn(self, reader: Reader, good: Sequence[GoodImage], settings: LearnSettings) -> Settled:
        """See `Kind`."""
        del reader, good, settings
        raise ImagesRefused(
            f"{self.name} is trained, for minutes, on all good images at once: none can be added or taken out"
            f" afterwards. Learn the product again: partgate learn PRODUCT --kind {self.name} --good DIR"
        )

    def _trained(self, good: Sequence[GoodImage], lesson: Lesson) -> TrainedGraph:
        with training_libraries(self.name):
            from partgate_engines.anomaly.kinds._train import taught
        return taught(self.name, good, lesson, steps=lesson.settings.steps or self.steps)


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
    found: Belonging,
    held_back: NDArray[np.bool_],
    *,
    budget: Budget,
) -> Settled:
    good, known = found.images, found.known
    positions = np.flatnonzero(held_back) if not held_back.all() else np.array([], dtype=np.intp)

    def held_out(one: Reader) -> HeldOut:
        held = HeldOut.none(len(good), one.regions)
        for done, position in enumerate(positions):
            held.put(int(position), one.judged(good[int(position)], bank))
            one.progress("scores", done + 1, len(positions))
        return held

    judged = calibrated_by(
        weighed(reader, known.sources, held_out),
        bank,
        good,
        sources=known.sources,
        budget=budget,
        method="held-back",
        warnings=found.warnings,
    )
    return replace(
        known,
        bank=bank,
        coverage=0.0,
        scores=judged.scores,
        calibration=judged.calibration,
        regions=judged.regions,
    )


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
