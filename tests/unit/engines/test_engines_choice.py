"""Choosing by what finds defects that were drawn on good images."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines._bank import MemoryBank
from partgate_engines._manifest import Source, Trial
from partgate_engines.anomaly import GoodImage, LearnSettings, choosable, learn
from partgate_engines.anomaly._bench import Bench, folds_of
from partgate_engines.anomaly._choice import Choice, choose, is_better
from partgate_engines.anomaly._reading import Patches, source_of
from partgate_engines.anomaly._settings import Progress
from partgate_engines.anomaly._ways import LAYERS, scales, stages, tiles_of

EVERYTHING = LearnSettings(size_px=64, auto=("tile_px", "layers", "contrast"))
FRAME_PX = 160

Sees = dict[object, float]
"""How far outside of a good image's noise a defect lies, by tile size, layers or contrast; added up."""


class Eye:
    """Scores an image by how far its brightest noise lies from the bank's, and a defect as far as it sees it.

    What is drawn on an image shows in its name alone, so that a test says what is seen.
    """

    def __init__(
        self,
        sees: float,
        tell: Progress,
        *,
        families: int | None = None,
        tiles: int = 1,
        blind_below_px: int = 0,
    ) -> None:
        self.sees, self.tell, self.families, self.tiles = sees, tell, families, tiles
        self.blind_below_px = blind_below_px
        self.scored: list[str] = []
        self.banks: list[NDArray[np.int32]] = []

    def patches(self, images: Sequence[GoodImage], *, first: int, seed: int) -> Patches:
        del seed
        for done in range(len(images)):
            self.tell("features", done + 1, len(images))
        rows = np.random.default_rng(0).normal(0, 1, (len(images) * 8, 4)).astype(np.float32)
        origin = np.repeat(np.arange(first, first + len(images), dtype=np.int32), 8)
        sources = tuple(self._source(n, image, len(images)) for n, image in enumerate(images))
        return Patches(rows=rows, origin=origin, sources=sources)

    def look(self, image: GoodImage) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        del image
        return np.zeros((self.tiles, 4), dtype=np.float32), np.ones((self.tiles, 1, 1), dtype=np.float32)

    def score(self, image: GoodImage, bank: MemoryBank) -> float:
        self.scored.append(image.origin)
        self.banks.append(bank.origin)
        name, _, defect = image.origin.partition(" with ")
        noise = np.random.default_rng(int(name.partition(".")[0])).normal()
        is_seen = bool(defect) and int(defect.split()[-2]) >= self.blind_below_px
        return float(noise + self.sees * is_seen)

    def _source(self, position: int, image: GoodImage, count: int) -> Source:
        if self.families is None:
            return source_of(image)
        same = tuple(n for n in range(count) if n % self.families == position % self.families)
        return source_of(image).model_copy(update={"alike": same})


class Eyes:
    """Opens an eye for every way, and keeps it."""

    def __init__(
        self,
        sees: Sees,
        *,
        families: int | None = None,
        blind_below_px: Mapping[int | None, int] | None = None,
    ) -> None:
        self.sees, self.families, self.blind_below_px = sees, families, blind_below_px or {}
        self.opened: list[tuple[LearnSettings, Eye]] = []

    def __call__(self, settings: LearnSettings, tell: Progress) -> Eye:
        way = (settings.tile_px, settings.layers, settings.contrast)
        eye = Eye(
            sum(self.sees.get(one, 0.0) for one in way),
            tell,
            families=self.families,
            tiles=settings.tile_px or 1,
            blind_below_px=self.blind_below_px.get(settings.tile_px, 0),
        )
        self.opened.append((settings, eye))
        return eye


@pytest.fixture(scope="module")
def frames() -> Sequence[GoodImage]:
    """Thirty plain frames of 160 px: nobody in these tests looks at them."""
    pixels = np.full((FRAME_PX, FRAME_PX), 120, dtype=np.uint8)
    return [
        GoodImage(pixels=pixels, origin=f"{number}.png", pixels_sha256=f"{number:064x}")
        for number in range(30)
    ]


def chosen(frames: Sequence[GoodImage], sees: Sees, settings: LearnSettings = EVERYTHING) -> Choice:
    return choose(frames, settings, look=Eyes(sees))


@pytest.mark.parametrize(
    ("sees", "expected"),
    [
        ({}, (None, LAYERS[0], "global")),
        ({64: 3.0}, (64, LAYERS[0], "global")),
        ({128: 3.0}, (128, LAYERS[0], "global")),
        ({128: 2.0, 64: 5.0}, (64, LAYERS[0], "global")),
        ({128: 3.0, 64: 3.0}, (128, LAYERS[0], "global")),
        ({LAYERS[1]: 3.0}, (None, LAYERS[1], "global")),
        ({"local": 3.0}, (None, LAYERS[0], "local")),
        ({128: 1.0, LAYERS[1]: 1.0, "local": 1.0}, (128, LAYERS[1], "local")),
        ({None: 3.0, 128: 1.0, LAYERS[1]: -2.0, "local": -2.0}, (None, LAYERS[0], "global")),
    ],
    ids=[
        "nothing helps: what was given",
        "small tiles",
        "large tiles",
        "both, small ones more",
        "both alike: the cheaper ones",
        "deeper layers",
        "local contrast",
        "a little of each adds up",
        "all are worse",
    ],
)
def test_what_sees_the_drawn_defects_is_taken(
    sees: Sees, expected: tuple[object, ...], frames: Sequence[GoodImage]
) -> None:
    choice = chosen(frames, sees)
    assert (choice.settings.tile_px, choice.settings.layers, choice.settings.contrast) == expected
    last = [trial for trial in choice.trials if trial.taken][-1]
    assert (last.tile_px, last.layers, last.contrast) == expected


def test_each_stage_begins_with_what_the_one_before_found(frames: Sequence[GoodImage]) -> None:
    trials = chosen(frames, {64: 3.0, LAYERS[1]: -2.0, "local": -1.0}).trials
    tried = [(trial.tile_px, trial.layers, trial.contrast) for trial in trials]
    assert tried == [
        (None, LAYERS[0], "global"),
        (128, LAYERS[0], "global"),
        (64, LAYERS[0], "global"),
        (64, LAYERS[1], "global"),
        (64, LAYERS[0], "local"),
    ]
    assert [trial.compared_with for trial in trials] == [0, 0, 0, 2, 2]
    assert [trial.taken for trial in trials] == [True, False, True, False, False]
    assert trials[0].error == 0
    assert trials[2].error > 0
    assert [trial.tiles for trial in trials] == [1, 128, 64, 64, 64]  # as the eyes say
    assert {(trial.good_images, trial.drawn_defects) for trial in trials} == {(24, 144)}
    assert trials[2].gain == pytest.approx(
        min(size.auroc for size in trials[2].by_size) - min(size.auroc for size in trials[0].by_size)
    )
    assert trials[4].gain == pytest.approx(trials[4].auroc - trials[2].auroc)
    for trial in trials:
        assert trial.auroc == pytest.approx(np.mean([size.auroc for size in trial.by_size]))
        assert trial.frame_ms is not None


def test_the_same_images_give_the_same_choice(frames: Sequence[GoodImage]) -> None:
    first, second = (
        [trial.model_copy(update={"frame_ms": None}) for trial in chosen(frames, {128: 1.0}).trials]
        for _ in range(2)
    )
    assert first == second


def test_nobody_is_scored_by_a_bank_that_saw_its_part(frames: Sequence[GoodImage]) -> None:
    eyes = Eyes({}, families=8)
    choose(frames, EVERYTHING, look=eyes)
    _, eye = eyes.opened[0]
    places = {image.origin: place for place, image in enumerate(spread(frames))}
    for name, bank in zip(eye.scored, eye.banks, strict=True):
        own = places[name.partition(" with ")[0]]
        assert not {int(origin) % 8 for origin in bank} & {own % 8}
    assert len(eye.scored) == 24 * 7


def spread(frames: Sequence[GoodImage]) -> list[GoodImage]:
    return [frames[int(place)] for place in np.linspace(0, len(frames) - 1, 24)]


def test_parts_are_dealt_whole_to_two_folds_alike_in_size() -> None:
    parts = [0, 0, 0, 1, 2, 2, 3, 4, 5, 6]
    folds = folds_of(parts, seed=1)
    found = [{parts[place] for group in fold for place in group} for fold in folds]
    assert not found[0] & found[1]
    assert sorted(int(place) for fold in folds for group in fold for place in group) == list(range(10))
    assert {sum(len(group) for group in fold) for fold in folds} <= {4, 5, 6}


def test_each_size_has_a_figure_of_its_own(frames: Sequence[GoodImage]) -> None:
    bench = Bench(frames, (), seed=0)
    scores = bench.scores(Eye(5.0, lambda *_: None, blind_below_px=7), lambda *_: None)
    assert scores is not None
    small, middle, large = bench.aurocs(scores)
    assert small == pytest.approx(0.5, abs=0.05)
    assert small + 0.2 < middle < large  # some of the middle ones are small as well
    assert large > 0.95
    assert bench.draws(scores).mean(axis=0) == pytest.approx([small, middle, large], abs=0.03)


def test_tiles_are_taken_for_the_size_that_is_seen_worst(frames: Sequence[GoodImage]) -> None:
    """Whole frames see all but the smallest well, tiles see all of them a little."""
    eyes = Eyes({None: 5.0, 64: 1.0}, blind_below_px={None: 7})
    choice = choose(frames, EVERYTHING, look=eyes)
    assert choice.settings.tile_px == 64
    whole, _, tiles, *others = choice.trials
    assert whole.auroc == pytest.approx(tiles.auroc, abs=0.1)
    assert tiles.gain == pytest.approx(min(s.auroc for s in tiles.by_size) - whole.by_size[0].auroc)
    assert [trial.counted for trial in (tiles, *others)] == ["weakest", "mean", "mean"]


def test_a_gain_within_two_errors_is_none() -> None:
    assert not is_better(0.05, 0.03)
    assert is_better(0.07, 0.03)
    assert not is_better(-0.1, 0.01)
    assert not is_better(0.0, 0.0)


@pytest.mark.parametrize(
    ("count", "families"), [(9, None), (30, 3)], ids=["nine images", "three parts photographed often"]
)
def test_too_few_parts_leave_what_was_given(
    count: int, families: int | None, frames: Sequence[GoodImage]
) -> None:
    choice = choose(frames[:count], EVERYTHING, look=Eyes({64: 9.0}, families=families))
    assert (choice.settings, choice.trials) == (EVERYTHING, ())


def test_where_there_is_nothing_to_compare_nothing_is_looked_at(good: Sequence[GoodImage]) -> None:
    eyes = Eyes({})
    settings = LearnSettings(auto=("tile_px",))
    assert choose(good, settings, look=eyes).trials == ()  # 96 x 80 px are smaller than the graph's input
    assert not eyes.opened


def test_what_was_given_for_layers_and_contrast_comes_first(frames: Sequence[GoodImage]) -> None:
    given = replace(
        EVERYTHING, contrast="local", layers=("blocks.1", "blocks.3"), auto=("layers", "contrast")
    )
    trials = chosen(frames, {}, given).trials
    assert [(trial.layers, trial.contrast) for trial in trials] == [
        (("blocks.1", "blocks.3"), "local"),
        (LAYERS[0], "local"),
        (LAYERS[1], "local"),
        (("blocks.1", "blocks.3"), "global"),
    ]


def test_frames_of_many_tiles_are_looked_at_less_often() -> None:
    pixels = np.full((300, 360), 120, dtype=np.uint8)
    large = [GoodImage(pixels=pixels, origin=f"{n}.png", pixels_sha256=f"{n:064x}") for n in range(20)]
    trials = choose(large, LearnSettings(size_px=32, auto=("tile_px",)), look=Eyes({})).trials
    assert [(trial.tile_px, trial.good_images) for trial in trials] == [(None, 10), (64, 10), (32, 10)]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 256, 256), ()),
        ((0, 0, 257, 100), (256,)),
        ((0, 0, 512, 512), (256,)),
        ((0, 0, 640, 480), (512, 256)),
        ((0, 0, 9000, 9000), (512,)),
    ],
    ids=["no larger", "a little wider", "twice as large", "640 px", "too many small tiles"],
)
def test_tiles_are_tried_where_frames_are_larger(
    box: tuple[int, int, int, int], expected: tuple[int, ...]
) -> None:
    assert tuple(one.tile_px for one in scales(LearnSettings(), box)) == expected


def test_tiles_are_counted() -> None:
    assert tiles_of(LearnSettings(tile_px=256), (0, 0, 640, 640)) == 9
    assert tiles_of(LearnSettings(), (0, 0, 640, 640)) == 1
    assert tiles_of(LearnSettings(tile_px=256), (0, 0, 9000, 9000)) == 0


def test_stages_are_those_that_were_asked_for() -> None:
    assert len(stages(EVERYTHING)) == 3
    assert stages(LearnSettings()) == ()


@pytest.mark.parametrize(
    ("kind", "backbone", "expected"),
    [
        ("patchcore", "tf_efficientnet_lite0", ("tile_px", "layers", "contrast", "kind")),
        ("patchcore", "resnet18", ("tile_px", "contrast")),
        ("padim", "resnet18", ("tile_px", "contrast")),
        ("drawn", "tf_efficientnet_lite0", ("tile_px",)),
        ("reverse-distillation", "tf_efficientnet_lite0", ("tile_px", "contrast")),
    ],
)
def test_a_kind_may_have_layers_and_contrast_of_its_own(
    kind: str, backbone: str, expected: tuple[str, ...]
) -> None:
    assert choosable(kind, backbone) == expected  # type: ignore[arg-type]  # a name from the table above


def test_trials_of_older_bundles_are_still_read() -> None:
    old = (
        '{"contrast": "local", "layers": ["blocks.4", "blocks.6"], "auroc": 0.7, "error": 0.02,'
        ' "good_images": 40, "drawn_defects": 160}'
    )
    trial = Trial.model_validate_json(old)
    assert (trial.tile_px, trial.by_size, trial.compared_with, trial.counted) == (None, (), 0, "mean")


def test_layers_of_another_backbone_are_not_known() -> None:
    with pytest.raises(ValueError, match="layers: auto knows those of tf_efficientnet_lite0 only"):
        LearnSettings(backbone="resnet18", auto=("layers",))


def test_learning_says_what_it_chose_from(
    good: Sequence[GoodImage], graphs: Path, settings: LearnSettings, tmp_path: Path
) -> None:
    steps: dict[str, list[tuple[int, int]]] = {}
    learned = learn(
        good[:12],
        settings=replace(settings, auto=("tile_px",)),
        graphs=graphs,
        progress=lambda step, done, total: steps.setdefault(step, []).append((done, total)),
    )
    ways = [(trial.tile_px, trial.tiles, trial.contrast) for trial in learned.trials]
    assert ways == [(None, 1, "global"), (64, 4, "global")]
    last = [trial for trial in learned.trials if trial.taken][-1]
    assert (learned.tiling and learned.tiling.tile_px) == last.tile_px
    counts = steps["trying tiles of 64 px, global contrast, blocks.2+blocks.4"]
    assert counts[0] == (0, 96)
    assert counts[-1] == (96, 96)
    assert counts == sorted(counts)
    assert learned.save(tmp_path, product="weave").manifest.trials == learned.trials
