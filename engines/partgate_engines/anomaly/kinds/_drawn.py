"""A memory bank, and a small network that is taught on defects drawn on the good images: the sum of both."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bank import MemoryBank
from partgate_engines._errors import ImagesRefused
from partgate_engines._manifest import KindName, Source
from partgate_engines.anomaly._budget import Budget, parts_needed
from partgate_engines.anomaly._images import GoodImage
from partgate_engines.anomaly._kinship import parts_of
from partgate_engines.anomaly._reading import Reader
from partgate_engines.anomaly._settings import LearnSettings
from partgate_engines.anomaly._settle import Settled, calibrated
from partgate_engines.anomaly._weights import PACKAGED_BACKBONE
from partgate_engines.anomaly.kinds._kind import Lesson, Taught
from partgate_engines.anomaly.kinds._own_graph import Belonging, OwnGraph, belonging, training_libraries
from partgate_station import ConfigError, Region

_USUAL_LAYERS = LearnSettings().layers
_LAYERS = ("blocks.2", "blocks.3", "blocks.4", "blocks.5", "blocks.6")
_STEPS = 200
_FEWEST_PARTS = 8
"""From fewer the head knows the parts, not the defects: alone it then says less than the bank."""

# Thresholds from so many were seen to flag defects (docs/decisions/0024): of 100 tiles 96 are told apart.
_MANY_PARTS = 90
_FOLDS = 3
"""Groups of parts that are scored by a head that saw the others: each takes a training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnResult(OwnGraph):
    """What a lesson leaves; its losses are those of the head that the product keeps."""

    bank: MemoryBank
    coverage: float
    scores: NDArray[np.float32]
    """(n,) float32, of every image by a head that did not see its part, and by the others' rows."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A memory bank of all good images, and a head that saw defects drawn on them.

    For the thresholds, every third of the parts is scored by a head that was taught on the other two, and by
    the bank without their own rows.

    Source: the bank is PatchCore's, Roth et al. 2022, arXiv 2106.08265; to train on defects that are drawn is
    what Zavrtanik et al. 2021 (DRAEM, arXiv 2108.07610) and Li et al. 2021 (CutPaste, arXiv 2104.04015) do.
    """

    name: KindName = "drawn"
    learns_from_defects: bool = False

    def settings(self, given: LearnSettings) -> LearnSettings:
        """See `Kind`."""
        if given.backbone != PACKAGED_BACKBONE:
            raise ConfigError(
                f"--backbone {given.backbone}: {self.name} is built for {PACKAGED_BACKBONE} only; leave it"
                " out, or take another kind"
            )
        if given.layers not in {_USUAL_LAYERS, _LAYERS}:
            raise ConfigError(
                f"--layers {','.join(given.layers)}: {self.name} looks at {','.join(_LAYERS)}; leave it out"
            )
        if not set(given.auto) <= {"tile_px"}:
            raise ConfigError(
                f"to choose {', '.join(given.auto)}: {self.name} has layers of its own and always sees local"
                " contrast; choose tile_px alone"
            )
        return replace(given, layers=_LAYERS, contrast="local", steps=given.steps or _STEPS)

    def teach(self, good: Sequence[GoodImage], lesson: Lesson) -> Taught:
        """See `Kind`."""
        settings = lesson.settings
        found = belonging(good, lesson, layers=_USUAL_LAYERS)
        sources = found.known.sources
        _check_parts(sources)
        made = self._drawn(found.images, _folds(sources, settings.seed), sources, lesson)
        path, reader = made.kept(lesson)
        return Taught(
            graph=path,
            grid=made.grid,
            tiling=reader.tiling,
            settled=_judged(reader, made, found, settings=settings),
            training=made.training(steps=settings.steps or _STEPS),
            module=made.module,
        )

    def relearn(self, reader: Reader, good: Sequence[GoodImage], settings: LearnSettings) -> Settled:
        """See `Kind`."""
        del reader, good, settings
        raise ImagesRefused(
            f"{self.name} is trained, on all good images at once: none can be added or taken out afterwards."
            f" Learn the product again: partgate learn PRODUCT --kind {self.name} --good DIR"
        )

    def _drawn(
        self, good: Sequence[GoodImage], folds: NDArray[np.intp], sources: Sequence[Source], lesson: Lesson
    ) -> DrawnResult:
        with training_libraries(self.name):
            from partgate_engines.anomaly.kinds._drawn_lesson import drawn_graphs
        return drawn_graphs(good, folds, sources, lesson, lesson.settings.steps or _STEPS)


def _check_parts(sources: Sequence[Source]) -> None:
    parts = len(set(parts_of(sources)))
    if parts < _FEWEST_PARTS:
        raise ImagesRefused(
            f"{len(sources)} good images of {parts} parts; drawn needs at least {_FEWEST_PARTS} parts: from"
            " fewer its head finds less than a memory bank does. Give more, or leave --kind out"
        )


def parts_advised(budget: Budget) -> int:
    """Return from how many parts on the thresholds were seen to flag defects."""
    if budget.commissioning:
        return _FEWEST_PARTS
    return min(_MANY_PARTS, parts_needed(budget.review_one_in, budget.confidence))


def few_told(sources: Sequence[Source], budget: Budget) -> tuple[str, ...]:
    """Say that few parts leave `review` high, unless people look at all that is unsure."""
    parts = len(set(parts_of(sources)))
    if parts >= parts_advised(budget):
        return ()
    text = (
        "drawn: every part was held out of a head that the others had taught, so scores of good parts differ"
        f" more, and from {parts} parts review is an extrapolation that lies high: few defects may reach it."
        " Of magnetic tiles 39 % of the defective ones did with thresholds from 100 parts, at most 5 % with"
        f" those from 20 or fewer. Give {_MANY_PARTS} parts or more, or learn with --commissioning"
    )
    return (text,)


def _folds(sources: Sequence[Source], seed: int) -> NDArray[np.intp]:
    """Return which of the groups each image is in; those of one part are together."""
    numbers, part = np.unique(parts_of(sources), return_inverse=True)
    group = np.random.default_rng(seed).permutation(len(numbers)) % _FOLDS
    return np.asarray(group[part], dtype=np.intp)


def _judged(reader: Reader, made: DrawnResult, found: Belonging, *, settings: LearnSettings) -> Settled:
    scores, calibration = calibrated(
        reader,
        made.bank,
        found.images,
        sources=found.known.sources,
        scores=made.scores,
        budget=settings.budget,
        warnings=(
            *found.warnings,
            *few_told(found.known.sources, settings.budget),
            *_not_weighed(reader.regions),
        ),
    )
    return replace(
        found.known,
        bank=made.bank,
        coverage=made.coverage,
        scores=scores,
        calibration=calibration,
        regions=reader.regions,
    )


def _not_weighed(regions: Sequence[Region]) -> tuple[str, ...]:
    left = [region.name for region in regions if region.name is not None and region.sensitivity is None]
    if len(left) < 2:  # noqa: PLR2004 - nothing to tell apart
        return ()
    return (
        f"regions {', '.join(left)} count once: drawn sets no sensitivities; write them into the recipe file",
    )


DRAWN = Drawn()
