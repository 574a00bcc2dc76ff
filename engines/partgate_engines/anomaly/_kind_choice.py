"""Choosing between a memory bank and the kind that is taught on drawn defects, from good images alone."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from partgate_engines._errors import GraphRefused, TrainingUnavailable
from partgate_engines._manifest import FamilyTrial, KindTrial
from partgate_engines._placement import Placement, place
from partgate_engines.anomaly._bench import Pairs, Told, by_class, draws_of, few_rows, folds_of
from partgate_engines.anomaly._choice import LEAST_IMAGES, is_better, spread
from partgate_engines.anomaly._images import GoodImage
from partgate_engines.anomaly._kinship import parts_of
from partgate_engines.anomaly._reading import Reader
from partgate_engines.anomaly._settings import LearnSettings, Progress
from partgate_engines.anomaly.kinds import Lesson
from partgate_engines.anomaly.kinds._drawn import parts_advised
from partgate_engines.anomaly.kinds._drawn_families import FAMILIES, FamilyPictures, by_family
from partgate_engines.anomaly.kinds._own_graph import training_libraries

_log = logging.getLogger(__name__)

_MOST_IMAGES = 48
"""With 24 the errors on tiles were as large as 0.03, and one choice of 24 said no (docs/decisions/0025)."""

_LEAST_PARTS = 8  # below which the drawn kind refuses to learn
_LEAST_OF_FOLD = 3  # parts: one that was photographed often may leave few others to its fold


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """A kind beside another one, by family and over draws of parts."""

    gain: float
    error: float
    aurocs: NDArray[np.float64]
    """(families,)"""


def choose_kind(
    good: Sequence[GoodImage], found: LearnSettings, lesson: Lesson, *, look: Callable[[Progress], Reader]
) -> KindTrial | None:
    """Hold the drawn kind against the memory bank that was found.

    A real defect is some mixture of what was drawn and of what nobody drew. So it is taken where it gains on
    families of defects that its head was taught, on tiles of parts and by draws that it has not seen, and
    loses less on those it was not. Where there are too few parts for its thresholds it is not taken either.

    Args:
        good: at most 48 of them are looked at; all, to count the parts, where it would be taken.
        found: how the bank looks at frames.
        lesson: how the drawn kind would be taught.
        look: opens the bank's way of looking.

    Returns:
        None where there are too few images or parts, or what trains a network is not installed.

    Raises:
        ImagesRefused, ConfigError: as `learn`.
    """
    if len(good) < LEAST_IMAGES:
        return None
    images = spread(good, _MOST_IMAGES)
    reader = look(_named(lesson.progress, "images to compare"))
    sources = reader.patches(images, first=0, seed=found.seed).sources
    folds = folds_of(parts_of(sources), found.seed)
    if sum(map(len, folds)) < _LEAST_PARTS or min(map(len, folds)) < _LEAST_OF_FOLD:
        return None
    whole = [np.concatenate(fold) for fold in folds]
    try:
        told = _told(images, reader, (whole, whole[::-1]), found, lesson)
    except (TrainingUnavailable, GraphRefused) as error:
        _log.warning("kinds are not compared: %s", error)
        return None
    trial = _trial(told, whole, draws_of(folds, found.seed), found, lesson)
    return _held_back(trial, good, reader, found) if trial.is_better else trial


def _told(
    images: Sequence[GoodImage],
    reader: Reader,
    turns: Sequence[list[NDArray[np.intp]]],
    found: LearnSettings,
    lesson: Lesson,
) -> list[Told]:
    """Return what the bank says, what the drawn kind does, and what it does without each family in turn."""
    pairs: Pairs = list(zip(*turns, strict=True))
    with training_libraries("drawn"):
        from partgate_engines.anomaly.kinds._drawn_trial import exhibits
    shown = exhibits(images, lesson)
    of_bank = bank_told(reader, shown.pictures, pairs, seed=found.seed)
    return [of_bank, *shown.told(pairs, lesson.progress)]


def bank_told(reader: Reader, pictures: Sequence[FamilyPictures], folds: Pairs, *, seed: int) -> Told:
    """Judge the tiles of every fold by a small bank of the other's."""
    graph = reader.graph
    graph.bind_bank(np.zeros((reader.blank_rows, graph.features + 1), dtype=np.float32))
    rows, placements = [], []
    for made in pictures:
        placement = _placed(made, reader)
        graph.run(made.clean[0], placement)
        rows.append(graph.patches()[placement.mask.ravel() > 0])
        placements.append(placement)
    origin = np.repeat(np.arange(len(rows), dtype=np.int32), [len(few) for few in rows])
    pool = np.concatenate(rows)
    scores = np.zeros((len(pictures), len(pictures[0].scored)))
    for fold, others in folds:
        own = np.isin(origin, others)
        graph.bind_bank(few_rows(pool[own], origin[own], seed).augmented())
        for position in fold:
            shown, placement = pictures[position].scored, placements[position]
            scores[position] = [graph.run(picture, placement)[0] for picture in shown]
    return Told(clean=scores[:, 0], spoilt=by_family(scores[:, 1:]))


def _placed(made: FamilyPictures, reader: Reader) -> Placement:
    """Return where the bank's graph looks in a tile that was cut before, by the mask that it has there."""
    size_px, grid = made.clean.shape[1], reader.graph.grid
    whole = place(height_px=size_px, width_px=size_px, regions=(), size_px=reader.graph.size_px, grid=grid)
    each = tuple(fine // coarse for fine, coarse in zip(grid, made.mask.shape, strict=True))
    mask = np.kron(made.mask, np.ones(each, dtype=np.float32))
    return replace(whole, mask=np.ascontiguousarray(mask[None], dtype=np.float32))


def _trial(
    told: Sequence[Told],
    whole: Sequence[NDArray[np.intp]],
    draws: Sequence[Sequence[NDArray[np.intp]]],
    found: LearnSettings,
    lesson: Lesson,
) -> KindTrial:
    other, taught, *without = told
    aurocs = by_class(other, whole)
    known, unknown = (_compared(ways, other, whole, draws) for ways in ([taught] * len(without), without))
    better = is_chosen((known.gain, known.error), unknown.gain)
    return KindTrial(
        kind=lesson.settings.kind,
        compared_with=found.kind,
        families=tuple(
            FamilyTrial(family=name, auroc=of_bank, taught=of_known, untaught=of_unknown)
            for name, of_bank, of_known, of_unknown in zip(
                FAMILIES, aurocs.tolist(), known.aurocs.tolist(), unknown.aurocs.tolist(), strict=True
            )
        ),
        taught_gain=known.gain,
        taught_error=known.error,
        untaught_gain=unknown.gain,
        untaught_error=unknown.error,
        is_better=better,
        taken=better,
        good_images=len(other.clean),
        drawn_defects=other.spoilt.size,
    )


def is_chosen(taught: tuple[float, float], untaught_gain: float) -> bool:
    """Return whether a kind is to be taken.

    Args:
        taught: gain and error on families that its head was taught.
        untaught_gain: on those it was not: it may lose there, but less than it gains on the others, so that
            a defect of which nobody knows whether it was drawn is told apart better.
    """
    return is_better(*taught) and taught[0] + untaught_gain > 0


def _compared(
    ways: Sequence[Told],
    other: Told,
    whole: Sequence[NDArray[np.intp]],
    draws: Sequence[Sequence[NDArray[np.intp]]],
) -> _Compared:
    """Compare ways, one for each family, with another one."""

    def aurocs(folds: Sequence[NDArray[np.intp]]) -> NDArray[np.float64]:
        return np.array([by_class(way, folds)[family] for family, way in enumerate(ways)])

    own = aurocs(whole)
    gains = [float((aurocs(draw) - by_class(other, draw)).mean()) for draw in draws]
    return _Compared(
        gain=float((own - by_class(other, whole)).mean()), error=float(np.std(gains)), aurocs=own
    )


def _held_back(
    trial: KindTrial, good: Sequence[GoodImage], reader: Reader, found: LearnSettings
) -> KindTrial:
    """Return the trial, not taken where there are too few parts for its thresholds to flag defects."""
    needed, parts = parts_advised(found.budget), len(good)  # of one part there may be many images
    if parts >= needed:
        parts = len(set(parts_of(reader.patches(good, first=0, seed=found.seed).sources)))
    if parts >= needed:
        return trial
    return trial.model_copy(update={"taken": False, "needs_parts": needed})


def _named(progress: Progress, step: str) -> Progress:
    return lambda _, done, total: progress(step, done, total)
