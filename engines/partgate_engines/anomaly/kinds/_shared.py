"""The graph that products share, opened for a lesson."""

from pathlib import Path

from partgate_engines._openvino import OpenVinoGraph
from partgate_engines.anomaly._graphs import graph_for
from partgate_engines.anomaly._reading import Reader
from partgate_engines.anomaly._settings import LearnSettings
from partgate_engines.anomaly.kinds._kind import Lesson
from partgate_station import ConfigError

GRAPH_STEP = "graph (exported once)"
"""Seconds once a graph is there; the first time torch and anomalib export it, some twenty seconds."""


def opened(lesson: Lesson, settings: LearnSettings | None = None) -> tuple[Path, Reader]:
    """Return the graph of a lesson's backbone, and what puts images through it.

    Args:
        lesson: whose graph.
        settings: other ones than the lesson's.
    """
    settings = settings or lesson.settings
    lesson.progress(GRAPH_STEP, 0, 1)
    path = graph_for(settings, lesson.weights, lesson.graphs)
    graph = OpenVinoGraph(path, with_features=True)
    lesson.progress(GRAPH_STEP, 1, 1)
    reader = Reader(
        graph=graph,
        regions=lesson.regions,
        tiling=settings.tiling(graph.grid),
        progress=lesson.progress,
    )
    return path, reader


def untrained(given: LearnSettings) -> LearnSettings:
    """Return settings that ask for no training.

    Raises:
        ConfigError: they do.
    """
    if given.steps is not None:
        raise ConfigError(f"--steps {given.steps}: {given.kind} is not trained in steps; leave it out")
    return given
