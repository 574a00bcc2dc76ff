"""Learning a product from good images."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from partgate_engines._manifest import KindTrial, Trial
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines.anomaly._alignment import aligned, aligned_defects, teach_reference
from partgate_engines.anomaly._calibrate import counting
from partgate_engines.anomaly._choice import choose
from partgate_engines.anomaly._graphs import feature_step, graph_for
from partgate_engines.anomaly._images import DefectImage, GoodImage, check_count
from partgate_engines.anomaly._kind_choice import choose_kind
from partgate_engines.anomaly._learned import Learned, file_sha256
from partgate_engines.anomaly._reading import Reader
from partgate_engines.anomaly._settings import LearnSettings, Progress, quiet
from partgate_engines.anomaly._ways import LAYERS
from partgate_engines.anomaly._weights import find_weights
from partgate_engines.anomaly.kinds import Lesson, kind_named
from partgate_station import Region


def learn(
    good: Sequence[GoodImage],
    *,
    settings: LearnSettings,
    graphs: Path,
    regions: tuple[Region, ...] = (),
    progress: Progress = quiet,
    defects: Sequence[DefectImage] = (),
) -> Learned:
    """Learn a product: what good parts look like, in the way of a kind, and thresholds.

    Images among them that do not belong are set aside, unless the settings say to learn them.

    Args:
        good: at least one; read twice, three times if any is set aside, one at a time, so it may decode
            images as they are asked for.
        settings: how.
        graphs: the folder of the graphs that all products share.
        regions: what of every image is judged.
        progress: called with a step's name, what is done of it and what there is.
        defects: defective parts with masks; only some kinds learn from them.

    Raises:
        ImagesRefused: no images, or one that cannot be used.
        ConfigError: a region does not fit into an image.
        MissingInput, DataError, Unavailable: the weights or the packages for them are not there.
    """
    check_count(good)
    pose = None if settings.align is None else teach_reference(good, settings.align, progress)
    good = aligned(good, pose)
    settings = kind_named(settings.kind).settings(settings)
    weights = find_weights(settings.backbone, settings.weights)
    lesson = Lesson(settings=settings, weights=weights, graphs=graphs, regions=regions, progress=progress)
    lesson, trials, kind_trial = _chosen(good, lesson)
    settings, kind = lesson.settings, kind_named(lesson.settings.kind)
    if kind.learns_from_defects:
        lesson = replace(lesson, defects=aligned_defects(defects, pose))
    taught = kind.teach(good, lesson)
    settled = taught.settled
    return Learned(
        kind=settings.kind,
        backbone=settings.backbone,
        layers=settings.layers,
        size_px=settings.size_px,
        grid=taught.grid,
        tiling=taught.tiling,
        contrast=settings.contrast,
        precision=settings.precision,
        feature_step=feature_step(taught.graph) if settings.precision == "int8" else None,
        pose=pose,
        trials=trials,
        kind_trial=kind_trial,
        weights_sha256=weights.sha256,
        graph=taught.graph,
        graph_sha256=file_sha256(taught.graph),
        bank=settled.bank,
        bank_rows_learned=settings.bank_rows,
        coverage=settled.coverage,
        seed=settings.seed,
        good=settled.sources,
        held_out_scores=settled.scores,
        calibration=counting(settled.calibration, len(settled.set_aside)),
        regions=settled.regions,
        learned_at=datetime.now(UTC),
        set_aside=settled.set_aside,
        training=taught.training,
        module=taught.module,
    )


def _chosen(good: Sequence[GoodImage], lesson: Lesson) -> tuple[Lesson, tuple[Trial, ...], KindTrial | None]:
    """Choose what is to be chosen: how a memory bank looks best, then whether another kind is better."""
    settings = lesson.settings
    if not settings.auto:
        return lesson, (), None
    # By a memory bank, with whose features all kinds begin; the drawn kind's bank has deeper layers.
    layers = LAYERS[1] if settings.kind == "drawn" else settings.layers
    bank_alone = replace(settings, kind="patchcore", layers=layers, steps=None)
    look = bank_looks(lesson)
    choice = choose(good, bank_alone, look=look, regions=lesson.regions, progress=lesson.progress)
    chosen = {name: getattr(choice.settings, name) for name in settings.auto}
    found = replace(lesson, settings=replace(settings, **chosen))
    if "kind" not in settings.auto:
        return found, choice.trials, None
    drawn = replace(lesson, settings=drawn_settings(found.settings))
    trial = choose_kind(good, choice.settings, drawn, look=partial(look, choice.settings))
    return drawn if trial is not None and trial.taken else found, choice.trials, trial


def drawn_settings(found: LearnSettings) -> LearnSettings:
    """Return how the drawn kind looks at the frames that were found for a memory bank."""
    usual = LearnSettings()
    alike = replace(found, kind="drawn", layers=usual.layers, contrast=usual.contrast, auto=())
    return kind_named("drawn").settings(alike)


def bank_looks(lesson: Lesson) -> Callable[[LearnSettings, Progress], Reader]:
    """Return what opens ways of looking of a lesson's bank."""

    def look(one: LearnSettings, tell: Progress) -> Reader:
        graph = OpenVinoGraph(graph_for(one, lesson.weights, lesson.graphs), with_features=True)
        return Reader(graph=graph, regions=lesson.regions, tiling=one.tiling(graph.grid), progress=tell)

    return look
