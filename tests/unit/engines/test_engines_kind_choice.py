"""Choosing the kind by defects that its head was taught, and by those it was not."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines._manifest import KindTrial
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines.anomaly import Budget, GoodImage, LearnSettings, learn
from partgate_engines.anomaly._export import calm
from partgate_engines.anomaly._graphs import graph_for
from partgate_engines.anomaly._kind_choice import bank_told, choose_kind, is_chosen
from partgate_engines.anomaly._reading import Reader
from partgate_engines.anomaly._settings import Progress, quiet
from partgate_engines.anomaly._weights import PACKAGED_BACKBONE, find_weights
from partgate_engines.anomaly.kinds import Lesson, kind_named
from partgate_engines.anomaly.kinds._drawn_families import (
    FAMILIES,
    ROUNDS,
    TESTED,
    by_family,
    family_pictures,
    slots_without,
)
from partgate_engines.anomaly.kinds._drawn_pictures import DEFECTS

TRIAL = "partgate_engines.anomaly.kinds._drawn_trial"
SIDE = 64
N_GOOD = 12
PAIRS = ((np.arange(6), np.arange(6, 12)), (np.arange(6, 12), np.arange(6)))
COMMISSIONING = Budget(commissioning=True)


@pytest.fixture
def found(settings: LearnSettings) -> LearnSettings:
    return replace(settings, size_px=SIDE, auto=("kind",), budget=COMMISSIONING)


@pytest.fixture
def lesson(found: LearnSettings, graphs: Path) -> Lesson:
    drawn = kind_named("drawn").settings(replace(found, kind="drawn", auto=()))
    weights = find_weights(PACKAGED_BACKBONE, None)
    return Lesson(settings=drawn, weights=weights, graphs=graphs, regions=(), progress=quiet)


@pytest.fixture
def reader(found: LearnSettings, lesson: Lesson) -> Reader:
    graph = OpenVinoGraph(graph_for(found, lesson.weights, lesson.graphs), with_features=True)
    return Reader(graph=graph, regions=(), progress=quiet)


@pytest.fixture
def trials() -> Any:
    """Import what trains heads, whose libraries warn while they are imported."""
    with calm():
        from partgate_engines.anomaly.kinds import _drawn_trial
    return _drawn_trial


def a_tile(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(90, 150, (SIDE, SIDE, 1), dtype=np.uint8)


@pytest.mark.parametrize("without", [None, 0, 1, 2])
def test_a_head_is_taught_as_many_pictures_without_a_family(without: int | None) -> None:
    slots = slots_without(without)
    families, rounds = slots % len(FAMILIES), slots // len(FAMILIES)
    assert without not in set(families.tolist())
    assert rounds.tolist() == [0, 0, 0, 1, 1, 1]
    others = len(FAMILIES) - (without is not None)
    assert np.bincount(families, minlength=len(FAMILIES)).max() == DEFECTS // others


def test_defects_lie_where_something_is_judged() -> None:
    mask = np.zeros((4, 4), dtype=np.float32)
    mask[2:, 2:] = 1
    made = family_pictures(a_tile(), mask, np.random.default_rng(0))
    assert made.spoilt.shape == (ROUNDS * len(FAMILIES), SIDE, SIDE, 1)
    assert (made.covered[:, 2:, 2:].max(axis=(1, 2)) > 0.08).all()
    again = family_pictures(a_tile(), mask, np.random.default_rng(0))
    assert np.array_equal(made.spoilt, again.spoilt)
    assert np.array_equal(made.clean, again.clean)


def test_the_last_round_is_tested_and_never_taught() -> None:
    made = family_pictures(a_tile(), np.ones((4, 4), dtype=np.float32), np.random.default_rng(0))
    scored = made.scored
    assert np.array_equal(scored[0], made.clean[0])
    numbered = np.arange(1, len(scored))[None]
    assert by_family(numbered.astype(np.float64))[0].tolist() == [[1, 4], [2, 5], [3, 6]]
    first = [turn * len(FAMILIES) for turn in TESTED]
    assert np.array_equal(scored[1], made.spoilt[first[0]])
    assert np.array_equal(scored[4], made.spoilt[first[1]])
    assert TESTED[-1] * len(FAMILIES) >= slots_without(None).max() + 1


@pytest.mark.parametrize(
    ("taught", "untaught", "expected"),
    [
        pytest.param((0.10, 0.02), 0.0, True, id="gains and loses nothing"),
        pytest.param((0.03, 0.02), 0.0, False, id="gains within two errors"),
        pytest.param((0.08, 0.02), -0.05, True, id="loses less than it gains"),
        pytest.param((0.05, 0.02), -0.06, False, id="loses more than it gains"),
        pytest.param((-0.02, 0.001), 0.1, False, id="worse where it was taught"),
    ],
)
def test_what_gains_where_taught_and_loses_less_elsewhere_is_taken(
    taught: tuple[float, float], untaught: float, expected: bool
) -> None:
    assert is_chosen(taught, untaught) is expected


def test_what_is_known_of_the_features_scores_as_the_product_does(
    good: Sequence[GoodImage], lesson: Lesson, trials: Any
) -> None:
    """Nothing of how a score is made is written down a second time."""
    import torch

    from partgate_engines.anomaly.kinds._drawn_graph import Head, Scaling

    shown = trials.exhibits(good[:2], lesson)
    seen = shown.shown.seen(0)
    torch.manual_seed(1)
    head, scaling = Head([layer.shape[1] for layer in seen]).eval(), Scaling(seen)
    bank = torch.from_numpy(shown._bank(np.array([1])).augmented())
    told = shown._score(0, bank, (scaling, head), 1.0)
    module = shown.looking.module.taught(scale=1.0, weight=1.0, scaling=scaling, head=head)
    frames = torch.from_numpy(shown.pictures[0].scored)
    side, mask = torch.eye(SIDE), torch.ones(len(frames), 4, 4)
    with torch.no_grad():
        score, _, _ = module(frames, side, side, torch.ones(3, 1), bank, mask)
    assert told == pytest.approx(score.numpy(), rel=1e-2)  # what the head sees is kept in half precision
    assert told.std() > 0


def test_no_head_was_taught_the_parts_that_it_is_asked_of(
    good: Sequence[GoodImage], lesson: Lesson, trials: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    shown = trials.exhibits(good[:N_GOOD], lesson)
    plain, each = shown.shown.layers[0][:: 5 + ROUNDS * len(FAMILIES)], []
    trained = trials.train_head

    def watched(pictured: Any, *, steps: int, seed: int, progress: Progress) -> Any:
        which = [
            n for n, one in enumerate(plain) if any(torch.equal(one, own) for own in pictured.clean[0][::5])
        ]
        each.append((which, len(pictured.spoilt[0]), len(pictured.covered)))
        assert steps == trials.STEPS
        return trained(pictured, steps=1, seed=seed, progress=progress)

    monkeypatch.setattr(trials, "train_head", watched)
    told = shown.told(PAIRS, quiet)
    assert each == [([*others], 6 * DEFECTS, 6 * DEFECTS) for _, others in PAIRS] * (1 + len(FAMILIES))
    assert [one.spoilt.shape for one in told] == [(N_GOOD, len(FAMILIES), len(TESTED))] * 4
    assert all(np.isfinite(one.spoilt).all() and one.clean.mean() > 0 for one in told)


def test_a_bank_judges_tiles_by_their_masks(
    good: Sequence[GoodImage], lesson: Lesson, reader: Reader
) -> None:
    """What lies outside of the mask changes no score."""
    mask = np.zeros((4, 4), dtype=np.float32)
    mask[:2] = 1
    random = np.random.default_rng(0)
    tiles = [np.ascontiguousarray(image.pixels[:SIDE, :SIDE, None]) for image in good[:N_GOOD]]
    made = [family_pictures(tile, mask, random) for tile in tiles]
    told = bank_told(reader, made, PAIRS, seed=0)
    assert told.spoilt.mean() > told.clean.mean()
    black = [replace(one, clean=_blackened(one.clean), spoilt=_blackened(one.spoilt)) for one in made]
    again = bank_told(reader, black, PAIRS, seed=0)
    assert again.clean.shape == told.clean.shape
    assert again.clean.mean() < 3 * told.clean.mean()  # the backbone sees a little beyond a patch
    whole = [replace(one, mask=np.ones((4, 4), dtype=np.float32)) for one in made]
    assert (bank_told(reader, whole, PAIRS, seed=0).clean >= 0).all()


def _blackened(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    changed = pictures.copy()
    changed[:, SIDE * 3 // 4 :] = 0
    return changed


@pytest.mark.parametrize(
    ("count", "parts"), [pytest.param(9, 9, id="nine images"), pytest.param(12, 7, id="seven parts")]
)
def test_too_few_parts_are_not_compared(
    count: int,
    parts: int,
    good: Sequence[GoodImage],
    found: LearnSettings,
    lesson: Lesson,
    reader: Reader,
) -> None:
    same = [
        replace(image, pixels=good[number % parts].pixels, pixels_sha256=None)
        for number, image in enumerate(good[:count])
    ]
    assert choose_kind(same, found, lesson, look=lambda tell: reader) is None


def test_without_what_trains_a_network_the_bank_stays(
    good: Sequence[GoodImage],
    found: LearnSettings,
    lesson: Lesson,
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, TRIAL, None)
    assert choose_kind(good[:N_GOOD], found, lesson, look=lambda tell: reader) is None


def test_learning_says_what_the_kind_was_chosen_from(
    good: Sequence[GoodImage],
    graphs: Path,
    found: LearnSettings,
    tmp_path: Path,
    trials: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trials, "STEPS", 2)
    monkeypatch.setattr("partgate_engines.anomaly.kinds._drawn._STEPS", 1)
    steps: dict[str, list[tuple[int, int]]] = {}
    learned = learn(
        good[:N_GOOD],
        settings=found,
        graphs=graphs,
        progress=lambda step, done, total: steps.setdefault(step, []).append((done, total)),
    )
    trial = learned.kind_trial
    assert trial is not None
    assert (trial.kind, trial.compared_with) == ("drawn", "patchcore")
    assert (trial.good_images, trial.drawn_defects) == (N_GOOD, N_GOOD * len(FAMILIES) * len(TESTED))
    assert [one.family for one in trial.families] == list(FAMILIES)
    gain = np.mean([one.taught - one.auroc for one in trial.families])
    assert trial.taught_gain == pytest.approx(gain)
    assert trial.untaught_gain == pytest.approx(np.mean([o.untaught - o.auroc for o in trial.families]))
    chosen = is_chosen((trial.taught_gain, trial.taught_error), trial.untaught_gain)
    assert trial.is_better is trial.taken is chosen
    assert learned.kind == ("drawn" if chosen else "patchcore")
    assert steps["defects to compare"][-1] == (N_GOOD, N_GOOD)
    assert steps["heads to compare"] == [(done, 16) for done in range(1, 17)]
    assert learned.save(tmp_path, product="weave").manifest.kind_trial == trial


@pytest.mark.parametrize(
    ("budget", "taken", "needs"),
    [
        pytest.param(COMMISSIONING, True, None, id="people look at the band"),
        pytest.param(Budget(), False, 90, id="too few parts for its thresholds"),
        pytest.param(Budget(review_one_in=4, reject_one_in=40), True, None, id="review is guaranteed"),
    ],
)
def test_a_better_kind_is_taken_where_its_thresholds_have_parts(
    budget: Budget,
    taken: bool,
    needs: int | None,
    good: Sequence[GoodImage],
    found: LearnSettings,
    lesson: Lesson,
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from partgate_engines.anomaly import _kind_choice
    from partgate_engines.anomaly._bench import Told

    clean, near, far = np.zeros(N_GOOD), np.full((N_GOOD, 3, 2), -0.5), np.ones((N_GOOD, 3, 2))
    clean[::2] = -1
    told = [Told(clean=clean, spoilt=near), *[Told(clean=clean, spoilt=far)] * 4]
    monkeypatch.setattr(_kind_choice, "_told", lambda *given: told)
    trial = choose_kind(good[:N_GOOD], replace(found, budget=budget), lesson, look=lambda tell: reader)
    assert trial is not None
    assert trial.is_better
    assert (trial.taken, trial.needs_parts) == (taken, needs)


class Taught(Exception):
    """What would be learned."""


@pytest.mark.parametrize("taken", [True, False])
def test_what_was_taken_is_learned(
    taken: bool,
    good: Sequence[GoodImage],
    graphs: Path,
    found: LearnSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[LearnSettings] = []

    def chosen(images: object, bank: LearnSettings, lesson: Lesson, *, look: object) -> KindTrial:
        given.extend((bank, lesson.settings))
        return _trial(taken=taken)

    def teach(kind: Any, images: object, lesson: Lesson) -> None:
        raise Taught(kind.name, lesson.settings)

    monkeypatch.setattr("partgate_engines.anomaly._learn.choose_kind", chosen)
    for kind in ("drawn", "patchcore"):
        monkeypatch.setattr(type(kind_named(kind)), "teach", teach)
    with pytest.raises(Taught) as taught:
        learn(good[:N_GOOD], settings=replace(found, tile_px=48), graphs=graphs)
    bank, drawn = given
    assert taught.value.args == (("drawn", drawn) if taken else ("patchcore", bank))
    assert (bank.kind, bank.layers, bank.contrast) == ("patchcore", ("blocks.2", "blocks.4"), "global")
    assert (drawn.kind, drawn.layers[0], drawn.layers[-1]) == ("drawn", "blocks.2", "blocks.6")
    assert (drawn.contrast, drawn.auto, drawn.tile_px) == ("local", (), 48)


def _trial(*, taken: bool) -> KindTrial:
    family = {"family": "lines", "auroc": 0.5, "taught": 0.7, "untaught": 0.5}
    return KindTrial.model_validate(
        {
            "kind": "drawn", "compared_with": "patchcore", "families": (family,), "taught_gain": 0.2,
            "taught_error": 0.01, "untaught_gain": 0.0, "untaught_error": 0.01, "is_better": taken,
            "taken": taken, "good_images": 12, "drawn_defects": 72,
        }
    )  # fmt: skip
