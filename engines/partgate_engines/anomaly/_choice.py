"""Choosing contrast and layers for a product from its good images alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from partgate_engines._manifest import Contrast, Trial
from partgate_engines._tiles import inspected_box
from partgate_engines.anomaly._coreset import k_centre, nearest_distance
from partgate_engines.anomaly._graphs import SCORED_SHARE
from partgate_engines.anomaly._images import GoodImage
from partgate_engines.anomaly._kinship import families
from partgate_engines.anomaly._reading import Patches
from partgate_engines.anomaly._settings import LearnSettings
from partgate_engines.anomaly._synthetic import KINDS, draw_defect
from partgate_station import Region

PatchesOf = Callable[[LearnSettings, Sequence[GoodImage]], Patches]
"""Returns the patches of images by the graph of these settings."""

CONTRASTS: tuple[Contrast, ...] = ("global", "local")
LAYERS = (("blocks.2", "blocks.4"), ("blocks.4", "blocks.6"))

LEAST_IMAGES = 10
"""With fewer, five and five, an error is larger than any difference there is."""

_MOST_IMAGES = 40
_DEFECTS = len(KINDS)  # one of each kind on every image
_BANK_ROWS = 512
_ROUNDS = 200

Folds = list[list[NDArray[np.intp]]]
"""Two folds of families; a family are the positions of images of one part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen, and from what."""

    settings: LearnSettings
    trials: tuple[Trial, ...]
    """The first is what is taken unless another is better; empty where there were too few images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scores:
    clean: NDArray[np.float32]
    """(n,)"""

    spoilt: NDArray[np.float32]
    """(n, kinds)"""


def candidates(settings: LearnSettings) -> tuple[LearnSettings, ...]:
    """Return the settings that are compared; what they were given as comes first."""
    contrasts = CONTRASTS if "contrast" in settings.auto else (settings.contrast,)
    layers = LAYERS if "layers" in settings.auto else (settings.layers,)
    every = [replace(settings, contrast=c, layers=names) for names, c in product(layers, contrasts)]
    return tuple(sorted(every, key=lambda one: one != settings))


def choose(
    good: Sequence[GoodImage],
    settings: LearnSettings,
    *,
    patches_of: PatchesOf,
    regions: tuple[Region, ...] = (),
) -> Choice:
    """Choose by which settings defects that are drawn on good images score highest above clean ones.

    Images of one part stay in one fold. A small bank learned on one fold scores the other, as it is
    and with a defect of each kind, and the other way round. The settings as given stay unless others
    are better by more than one standard error of the difference, over draws of parts.

    Args:
        good: at most 40 of them are looked at, spread evenly.
        settings: what `auto` names is chosen.
        patches_of: puts images through a graph.
        regions: defects are drawn within the box around what is inspected.

    Raises:
        ImagesRefused, ConfigError: as `patches_of` does.
    """
    chosen = [good[int(place)] for place in np.linspace(0, len(good) - 1, min(len(good), _MOST_IMAGES))]
    every = candidates(settings)
    if len(chosen) < LEAST_IMAGES or len(every) == 1:
        return Choice(settings=settings, trials=())
    spoilt = _spoilt(chosen, regions, settings.seed)
    folds: Folds = []
    scores: list[_Scores] = []
    for one in every:
        clean = patches_of(one, chosen)
        folds = folds or _folds(families(clean.sources), settings.seed)
        if any(len(fold) < 2 for fold in folds):  # noqa: PLR2004 - one part says nothing of the spread
            return Choice(settings=settings, trials=())
        scores.append(_scores(clean, patches_of(one, spoilt), folds, settings.seed))
    trials = _trials(every, scores, folds, settings.seed)
    return Choice(settings=every[best(trials)], trials=trials)


def best(trials: Sequence[Trial]) -> int:
    """Return the trial to go by: the best, if it beats the first by more than the error."""
    found = max(range(len(trials)), key=lambda index: trials[index].auroc)
    return found if trials[found].auroc - trials[0].auroc > trials[found].error else 0


def _spoilt(chosen: Sequence[GoodImage], regions: tuple[Region, ...], seed: int) -> list[GoodImage]:
    """Return every image with a defect of every kind: n * kinds images."""
    found = []
    for position, image in enumerate(chosen):
        height_px, width_px = image.pixels.shape[:2]
        box = inspected_box(regions, width_px=width_px, height_px=height_px)
        random = np.random.default_rng((seed, position))
        for kind in KINDS:
            pixels = draw_defect(image.pixels, kind, random, box=box)
            found.append(GoodImage(pixels=pixels, origin=f"{image.origin} with a drawn {kind}"))
    return found


def _folds(together: NDArray[np.bool_], seed: int) -> Folds:
    """Deal families out to two folds, each to the smaller one."""
    folds: Folds = [[], []]
    left = set(range(len(together)))
    for start in np.random.default_rng(seed).permutation(len(together)):
        if int(start) not in left:
            continue
        family = _family(together, int(start))
        left -= family
        smaller = min(folds, key=lambda fold: sum(map(len, fold)))
        smaller.append(np.array(sorted(family), dtype=np.intp))
    return folds


def _family(together: NDArray[np.bool_], start: int) -> set[int]:
    """Return all images that are alike to one that is alike, and so on."""
    family, fresh = {start}, [start]
    while fresh:
        others = {int(other) for other in np.flatnonzero(together[fresh.pop()])} - family
        family |= others
        fresh.extend(others)
    return family


def _scores(clean: Patches, spoilt: Patches, folds: Folds, seed: int) -> _Scores:
    count = len(clean.sources)
    found = _Scores(
        clean=np.zeros(count, dtype=np.float32), spoilt=np.zeros((count, _DEFECTS), dtype=np.float32)
    )
    for scored, learned in (folds, folds[::-1]):
        rows = clean.rows[np.isin(clean.origin, np.concatenate(learned))]
        bank = rows[k_centre(rows, count=_BANK_ROWS, seed=seed).chosen]
        for position in np.concatenate(scored):
            found.clean[position] = _score(clean.rows[clean.origin == position], bank)
            for kind in range(_DEFECTS):
                own = spoilt.rows[spoilt.origin == position * _DEFECTS + kind]
                found.spoilt[position, kind] = _score(own, bank)
    return found


def _score(rows: NDArray[np.float32], bank: NDArray[np.float32]) -> float:
    """Return the mean of the worst distances, as the graph does."""
    distance = np.sort(nearest_distance(rows, bank))
    return float(distance[-max(round(SCORED_SHARE * len(distance)), 1) :].mean())


def _trials(
    every: Sequence[LearnSettings], scores: Sequence[_Scores], folds: Folds, seed: int
) -> tuple[Trial, ...]:
    whole = [np.concatenate(fold) for fold in folds]
    found = [_auroc(one, whole) for one in scores]
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(_ROUNDS):
        draw = [
            np.concatenate([fold[index] for index in random.integers(len(fold), size=len(fold))])
            for fold in folds
        ]
        drawn.append([_auroc(one, draw) for one in scores])
    gains = np.array(drawn) - np.array(drawn)[:, :1]
    count = len(scores[0].clean)
    return tuple(
        Trial(
            contrast=one.contrast,
            layers=one.layers,
            auroc=auroc,
            error=float(error),
            good_images=count,
            drawn_defects=count * _DEFECTS,
        )
        for one, auroc, error in zip(every, found, gains.std(axis=0), strict=True)
    )


def _auroc(scores: _Scores, folds: Sequence[NDArray[np.intp]]) -> float:
    """Return the mean over the folds, because each is scored by a bank of its own."""
    return float(np.mean([_higher(scores.clean[fold], scores.spoilt[fold].ravel()) for fold in folds]))


def _higher(clean: NDArray[np.float32], spoilt: NDArray[np.float32]) -> float:
    """Return the chance that a spoilt image scores higher than a clean one; a tie counts half."""
    ordered = np.sort(clean)
    below = np.searchsorted(ordered, spoilt, "left") + np.searchsorted(ordered, spoilt, "right")
    return float(below.mean() / 2 / len(clean))
