"""A memory bank, and a small network that is taught on defects drawn on the good images: the sum of both."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bank import MemoryBank
from partgate_engines._errors import ImagesRefused, TrainingUnavailable
from partgate_engines._manifest import KindName, Source, Training
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines._tiles import Grid
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

_USUAL_LAYERS = LearnSettings().layers
_LAYERS = ("blocks.2", "blocks.3", "blocks.4", "blocks.5", "blocks.6")
_STEPS = 200
_FEWEST_PARTS = 8
"""From fewer the head knows the parts, not the defects: alone it then says less than the bank."""

_FEW_ROWS = 512  # of the bank that finds images which do not belong
_FOLDS = 3
"""Groups of parts that are scored by a head that saw the others: each takes a training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnGraphs:
    """What a lesson leaves."""

    module: Any
    """The graph in torch."""

    content: bytes
    """The graph in ONNX."""

    grid: Grid
    bank: MemoryBank
    coverage: float
    scores: NDArray[np.float32]
    """(n,) float32, of every image by a head that did not see its part, and by the others' rows."""

    losses: tuple[float, float]
    """Mean over the first and the last tenth of the last head's steps."""

    batch: int


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
        if given.auto:
            raise ConfigError(
                f"--{given.auto[0]} auto: {self.name} has layers of its own and always sees local contrast;"
                " leave it out"
            )
        return replace(given, layers=_LAYERS, contrast="local", steps=given.steps or _STEPS)

    def teach(self, good: Sequence[GoodImage], lesson: Lesson) -> Taught:
        """See `Kind`."""
        settings = lesson.settings
        known = self._known(good, lesson)
        aside = {one.position for one in known.set_aside}
        kept = Chosen(good, [position for position in range(len(good)) if position not in aside])
        _check_parts(known.sources)
        made = self._drawn(kept, _folds(known.sources, settings.seed), known.sources, lesson)
        path = keep_graph(made.content, lesson.graphs)
        reader = Reader(
            graph=OpenVinoGraph(path, with_features=True),
            regions=lesson.regions,
            tiling=settings.tiling(made.grid),
            progress=lesson.progress,
        )
        return Taught(
            graph=path,
            grid=made.grid,
            tiling=reader.tiling,
            settled=_judged(reader, made, kept, known=known, settings=settings),
            training=_training(made, settings),
            module=made.module,
        )

    def relearn(self, reader: Reader, good: Sequence[GoodImage], settings: LearnSettings) -> Settled:
        """See `Kind`."""
        del reader, good, settings
        raise ImagesRefused(
            f"{self.name} is trained, on all good images at once: none can be added or taken out afterwards."
            f" Learn the product again: partgate learn PRODUCT --kind {self.name} --good DIR"
        )

    def _known(self, good: Sequence[GoodImage], lesson: Lesson) -> Settled:
        """Return which images show the same part, and which do not belong: by a small memory bank."""
        plain = replace(
            lesson.settings, kind="patchcore", layers=_USUAL_LAYERS, bank_rows=_FEW_ROWS, steps=None
        )
        _, reader = opened(lesson, plain)
        return settle(reader, reader.patches(good, first=0, seed=plain.seed), good, plain)

    def _drawn(
        self, good: Sequence[GoodImage], folds: NDArray[np.intp], sources: Sequence[Source], lesson: Lesson
    ) -> DrawnGraphs:
        try:
            from partgate_engines.anomaly._export import calm

            with calm():
                from partgate_engines.anomaly.kinds._drawn_lesson import drawn_graphs
        except ModuleNotFoundError as error:
            raise TrainingUnavailable(
                f"learning with {self.name} needs {error.name}; install partgate[train]"
            ) from error
        return drawn_graphs(good, folds, sources, lesson, lesson.settings.steps or _STEPS)


def _check_parts(sources: Sequence[Source]) -> None:
    parts = len(set(parts_of(sources)))
    if parts < _FEWEST_PARTS:
        raise ImagesRefused(
            f"{len(sources)} good images of {parts} parts; drawn needs at least {_FEWEST_PARTS} parts: from"
            " fewer its head finds less than a memory bank does. Give more, or leave --kind out"
        )


def _folds(sources: Sequence[Source], seed: int) -> NDArray[np.intp]:
    """Return which of the groups each image is in; those of one part are together."""
    numbers, part = np.unique(parts_of(sources), return_inverse=True)
    group = np.random.default_rng(seed).permutation(len(numbers)) % _FOLDS
    return np.asarray(group[part], dtype=np.intp)


def _judged(
    reader: Reader,
    made: DrawnGraphs,
    good: Sequence[GoodImage],
    *,
    known: Settled,
    settings: LearnSettings,
) -> Settled:
    scores, calibration = calibrated(
        reader,
        made.bank,
        good,
        sources=known.sources,
        scores=made.scores,
        budget=settings.budget,
        warnings=told(known.set_aside, len(good) + len(known.set_aside)),
    )
    return replace(known, bank=made.bank, coverage=made.coverage, scores=scores, calibration=calibration)


def _training(made: DrawnGraphs, settings: LearnSettings) -> Training:
    first, last = made.losses
    return Training(
        steps=settings.steps or _STEPS,
        batch=made.batch,
        held_back=0,
        defects=0,
        first_loss=first,
        last_loss=last,
    )


DRAWN = Drawn()
