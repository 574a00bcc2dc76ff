"""PatchCore: the distance of a patch to the nearest of those that good parts have shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from partgate_engines._manifest import KindName
from partgate_engines.anomaly._images import GoodImage
from partgate_engines.anomaly._reading import Reader
from partgate_engines.anomaly._settings import LearnSettings
from partgate_engines.anomaly._settle import Settled, settle
from partgate_engines.anomaly.kinds._kind import Lesson, Taught
from partgate_engines.anomaly.kinds._shared import opened, untrained


@dataclass(frozen=True, slots=True)
class PatchCore:
    """A memory bank of good patches.

    Source: Roth et al. 2022, Towards total recall in industrial anomaly detection, arXiv 2106.08265.
    """

    name: KindName = "patchcore"
    learns_from_defects: bool = False

    def settings(self, given: LearnSettings) -> LearnSettings:
        """See `Kind`."""
        return untrained(given)

    def teach(self, good: Sequence[GoodImage], lesson: Lesson) -> Taught:
        """See `Kind`."""
        path, reader = opened(lesson)
        settled = self.relearn(reader, good, lesson.settings)
        return Taught(graph=path, grid=reader.graph.grid, tiling=reader.tiling, settled=settled)

    def relearn(self, reader: Reader, good: Sequence[GoodImage], settings: LearnSettings) -> Settled:
        """See `Kind`."""
        patches = reader.patches(good, first=0, seed=settings.seed)
        return settle(reader, patches, good, settings)
