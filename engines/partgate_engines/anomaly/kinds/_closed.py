"""Kinds that are solved at once, from the moments of frozen features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partgate_engines._manifest import KindName
from partgate_engines.anomaly._images import GoodImage
from partgate_engines.anomaly._reading import Reader
from partgate_engines.anomaly._settings import LearnSettings
from partgate_engines.anomaly._settle import Settled
from partgate_engines.anomaly.kinds._kind import Lesson, Taught
from partgate_engines.anomaly.kinds._moments import Moments, fit
from partgate_engines.anomaly.kinds._shared import opened, untrained
from partgate_station import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedForm:
    """Makes affine rows of moments."""

    name: KindName
    rows_of: Callable[[Moments], NDArray[np.float32]]
    by_place: bool = False
    """Whether every place of a part is learned on its own."""

    learns_from_defects: bool = False

    def settings(self, given: LearnSettings) -> LearnSettings:
        """See `Kind`."""
        if self.by_place and given.tile_px is not None:
            raise ConfigError(
                f"--tile-px {given.tile_px}: {self.name} learns every place of a part on its own, and tiles"
                " of a frame are many places in one; leave it out, or take patchcore or pca"
            )
        return untrained(given)

    def teach(self, good: Sequence[GoodImage], lesson: Lesson) -> Taught:
        """See `Kind`."""
        path, reader = opened(lesson)
        settled = self.relearn(reader, good, lesson.settings)
        return Taught(graph=path, grid=reader.graph.grid, tiling=reader.tiling, settled=settled)

    def relearn(self, reader: Reader, good: Sequence[GoodImage], settings: LearnSettings) -> Settled:
        """See `Kind`."""
        return fit(reader, good, settings, rows_of=self.rows_of, by_place=self.by_place)
