"""Choosing tile size, layers and contrast for a product from its good images alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partgate_engines._manifest import SizeTrial, Trial
from partgate_engines.anomaly._bench import Bench, Looking, Scores
from partgate_engines.anomaly._images import Chosen, GoodImage
from partgate_engines.anomaly._settings import LearnSettings, Progress, quiet
from partgate_engines.anomaly._ways import Counted, named, stages, tiles_of
from partgate_station import Region

LEAST_IMAGES = 10
"""With fewer, five and five, an error is larger than any difference there is."""

ERRORS = 2
"""Standard errors by which a way has to be better: beyond one, half of all choices among four would hold a
way that is better by chance (docs/decisions/0025)."""

_MOST_IMAGES = 24
_MOST_RUNS = 6_000  # tiles through the graph to choose their size: a minute on two quiet cores

Look = Callable[[LearnSettings, Progress], Looking]
"""Returns a way of looking by these settings, which tells of its progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen, and from what."""

    settings: LearnSettings
    trials: tuple[Trial, ...]
    """In the order they were tried; empty where there were too few images, or nothing to compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    settings: LearnSettings
    number: int
    """Among the trials."""

    aurocs: NDArray[np.float64]
    """(sizes,)"""

    draws: NDArray[np.float64]
    """(rounds, sizes), over draws of parts."""

    def counted(self, what: Counted) -> tuple[float, NDArray[np.float64]]:
        """Return what counts of its sizes, and the same of each draw."""
        if what == "mean":
            return float(self.aurocs.mean()), self.draws.mean(axis=1)
        return float(self.aurocs.min()), self.draws.min(axis=1)


def choose(
    good: Sequence[GoodImage],
    settings: LearnSettings,
    *,
    look: Look,
    regions: tuple[Region, ...] = (),
    progress: Progress = quiet,
) -> Choice:
    """Choose by which settings defects that are drawn on good images score highest above clean ones.

    First how large tiles are, then layers, then contrast, each with what was found before. Defects are of
    three sizes in pixels of the frame. What was tried first is the cheapest; another one takes its place only
    if it is better by more than two standard errors of the gain, over draws of parts: tiles in the size they
    see worst, layers and contrast in the mean over the sizes.

    Args:
        good: at most 24 of them are looked at, spread evenly; fewer where a frame is many tiles.
        settings: what `auto` names is chosen.
        look: opens a way of looking.
        regions: defects are drawn within the box around what is inspected.
        progress: called with a step for each way that is tried.

    Raises:
        ImagesRefused, ConfigError: as `look` does.
    """
    if len(good) < LEAST_IMAGES:
        return Choice(settings=settings, trials=())
    bench = Bench(spread(good, _MOST_IMAGES), regions, seed=settings.seed)
    every = [settings, *(one for stage in stages(settings) for one in stage.candidates(settings, bench.box))]
    if len(every) == 1:
        return Choice(settings=settings, trials=())
    scales = {one.tile_px: tiles_of(one, bench.box) for one in every}
    count = max(_MOST_RUNS // (bench.looks * sum(scales.values())), LEAST_IMAGES)
    if count < len(bench.images):
        bench = Bench(spread(good, count), regions, seed=settings.seed)
    return _Narrowing(bench, look, progress).narrowed(settings)


def is_better(gain: float, error: float) -> bool:
    """Return whether a way takes the place of the one it was compared with."""
    return gain > ERRORS * error


class _Narrowing:
    """Tries one way after the other and keeps the best."""

    def __init__(self, bench: Bench, look: Look, progress: Progress) -> None:
        self._bench, self._look, self._progress = bench, look, progress
        self._trials: list[Trial] = []

    def narrowed(self, settings: LearnSettings) -> Choice:
        """Try all stages; nothing is chosen where there are too few parts."""
        best = self._tried(settings)
        if best is None:
            return Choice(settings=settings, trials=())
        for stage in stages(settings):
            for one in stage.candidates(best.settings, self._bench.box):
                best = self._better(one, best, stage.counted)
        return Choice(settings=best.settings, trials=tuple(self._trials))

    def _better(self, settings: LearnSettings, best: _Tried, counted: Counted) -> _Tried:
        """Try a way and hold it against the best so far; return the better one."""
        tried = self._tried(settings)
        if tried is None:
            return best
        (own, own_draws), (other, other_draws) = tried.counted(counted), best.counted(counted)
        gain, error = own - other, float((own_draws - other_draws).std())
        taken = is_better(gain, error)
        compared = {"counted": counted, "compared_with": best.number, "gain": gain, "error": error}
        self._trials[-1] = self._trials[-1].model_copy(update=compared | {"taken": taken})
        return tried if taken else best

    def _tried(self, settings: LearnSettings) -> _Tried | None:
        """Try a way; None where there are too few parts."""
        step = named(settings)
        total = len(self._bench.images) * self._bench.looks

        def tell(_: str, done: int, __: int) -> None:
            self._progress(step, done, total)

        tell(step, 0, total)
        scores = self._bench.scores(self._look(settings, tell), tell)
        if scores is None:
            return None
        aurocs, draws = self._bench.aurocs(scores), self._bench.draws(scores)
        self._trials.append(self._trial(settings, scores, aurocs))
        return _Tried(settings=settings, number=len(self._trials) - 1, aurocs=aurocs, draws=draws)

    def _trial(self, settings: LearnSettings, scores: Scores, aurocs: NDArray[np.float64]) -> Trial:
        """Return what is kept of a way, as if it were the first."""
        return Trial(
            tile_px=settings.tile_px,
            contrast=settings.contrast,
            layers=settings.layers,
            auroc=float(aurocs.mean()),
            error=0.0,
            taken=True,
            by_size=tuple(
                SizeTrial(
                    smallest_px=round(size.smallest_px, 1),
                    largest_px=round(size.largest_px, 1),
                    auroc=float(auroc),
                )
                for size, auroc in zip(self._bench.sizes, aurocs, strict=True)
            ),
            tiles=scores.tiles,
            frame_ms=round(scores.frame_ms, 2),
            good_images=len(self._bench.images),
            drawn_defects=self._bench.drawn,
        )


def spread(good: Sequence[GoodImage], count: int) -> Chosen:
    """Return so many of the images, spread evenly over all."""
    count = min(count, len(good))
    return Chosen(good, [int(place) for place in np.linspace(0, len(good) - 1, count)])
