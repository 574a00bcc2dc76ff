"""Drawing defects on good images, and choosing by what finds them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines._manifest import Source, Trial
from partgate_engines.anomaly import GoodImage, LearnSettings, learn
from partgate_engines.anomaly._choice import LAYERS, best, candidates, choose
from partgate_engines.anomaly._reading import Patches, source_of
from partgate_engines.anomaly._synthetic import KINDS, DefectKind, draw_defect

Draw = Callable[..., NDArray[np.uint8]]

AUTO = LearnSettings(auto=("contrast",))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [None, 1, 3], ids=["grey", "one channel", "colour"])
def test_a_drawn_defect_is_the_same_every_time_and_stays_in_its_box(
    kind: DefectKind, channels: int | None, draw: Draw
) -> None:
    pixels = draw(3, height_px=300, width_px=260)
    if channels is not None:
        pixels = np.repeat(pixels[:, :, None], channels, axis=2)
    before, box = pixels.copy(), (40, 50, 240, 260)
    for seed in range(8):
        once, again = (draw_defect(pixels, kind, np.random.default_rng(seed), box=box) for _ in range(2))
        np.testing.assert_array_equal(once, again)
        assert once.shape == pixels.shape
        assert once.dtype == np.dtype(np.uint8)
        where = np.argwhere(once != before)
        assert len(where)
        assert (where[:, :2].min(axis=0) >= (50, 40)).all()
        assert (where[:, :2].max(axis=0) < (260, 240)).all()
    np.testing.assert_array_equal(pixels, before)


def test_seeds_draw_defects_of_different_places_and_sizes(draw: Draw) -> None:
    pixels = draw(3, height_px=256, width_px=256)
    box = (0, 0, 256, 256)
    drawn = [draw_defect(pixels, "blob", np.random.default_rng(seed), box=box) for seed in range(20)]
    sizes = [int((one != pixels).sum()) for one in drawn]
    assert max(sizes) > 5 * min(sizes)


def test_defects_grow_with_the_frame() -> None:
    def share(length_px: int) -> float:
        flat = np.full((length_px, length_px), 128, dtype=np.uint8)
        box = (0, 0, length_px, length_px)
        drawn = [draw_defect(flat, "dot", np.random.default_rng(seed), box=box) for seed in range(20)]
        return float(np.mean([(one != flat).mean() for one in drawn]))

    assert share(1024) == pytest.approx(share(256), rel=0.5)


class Eyes:
    """Sees noise in every image, and a drawn defect as far outside of it as each contrast is told."""

    def __init__(self, *, sees: dict[str, float], families: int | None = None) -> None:
        self.sees = sees
        self.families = families
        self.asked: list[tuple[str, int]] = []

    def __call__(self, settings: LearnSettings, images: Sequence[GoodImage]) -> Patches:
        self.asked.append((settings.contrast, len(images)))
        rows = np.concatenate([self._rows(settings, position, one) for position, one in enumerate(images)])
        return Patches(
            rows=rows.astype(np.float32),
            origin=np.repeat(np.arange(len(images), dtype=np.int32), 50),
            sources=tuple(self._source(position, one, len(images)) for position, one in enumerate(images)),
        )

    def _rows(self, settings: LearnSettings, position: int, image: GoodImage) -> NDArray[np.float64]:
        rows = np.random.default_rng(position).normal(0, 1, (50, 4))
        if "drawn" in image.origin:
            rows[:3] += self.sees[settings.contrast]
        return rows

    def _source(self, position: int, image: GoodImage, count: int) -> Source:
        alike: tuple[int, ...] = ()
        if self.families is not None:
            alike = tuple(n for n in range(count) if n % self.families == position % self.families)
        return source_of(image).model_copy(update={"alike": alike})


@pytest.mark.parametrize(
    ("sees", "expected"),
    [
        ({"global": 0.2, "local": 6.0}, "local"),
        ({"global": 6.0, "local": 0.2}, "global"),
        ({"global": 2.0, "local": 2.0}, "global"),
    ],
    ids=["local sees them", "global sees them", "a tie goes to the default"],
)
def test_what_sees_the_drawn_defects_is_taken(
    sees: dict[str, float], expected: str, good: Sequence[GoodImage]
) -> None:
    eyes = Eyes(sees=sees)
    choice = choose(good, AUTO, patches_of=eyes)
    assert choice.settings.contrast == expected
    assert [trial.contrast for trial in choice.trials] == ["global", "local"]
    assert choice.trials[0].error == 0
    assert {(trial.good_images, trial.drawn_defects) for trial in choice.trials} == {(30, 120)}
    assert eyes.asked == [("global", 30), ("global", 120), ("local", 30), ("local", 120)]
    assert choose(good, AUTO, patches_of=Eyes(sees=sees)) == choice


def test_a_gain_within_the_error_is_none() -> None:
    def trial(auroc: float, error: float) -> Trial:
        return Trial(
            contrast="local", layers=("a",), auroc=auroc, error=error, good_images=20, drawn_defects=80
        )

    first = trial(0.8, 0.0)
    assert best([first, trial(0.82, 0.03)]) == 0
    assert best([first, trial(0.82, 0.01)]) == 1
    assert best([first, trial(0.82, 0.01), trial(0.85, 0.02)]) == 2
    assert best([first, trial(0.7, 0.01)]) == 0


@pytest.mark.parametrize(
    ("count", "families"), [(9, None), (30, 3)], ids=["nine images", "three parts photographed ten times"]
)
def test_too_few_parts_leave_what_was_given(
    count: int, families: int | None, good: Sequence[GoodImage]
) -> None:
    eyes = Eyes(sees={"global": 0.0, "local": 9.0}, families=families)
    choice = choose(good[:count], AUTO, patches_of=eyes)
    assert (choice.settings, choice.trials) == (AUTO, ())


def test_the_settings_as_given_come_first() -> None:
    given = LearnSettings(auto=("contrast", "layers"), contrast="local", layers=LAYERS[1])
    every = candidates(given)
    assert every[0] == given
    assert len(set(every)) == 4
    assert candidates(replace(given, auto=())) == (replace(given, auto=()),)


def test_layers_of_another_backbone_are_not_known() -> None:
    with pytest.raises(ValueError, match="layers: auto knows those of tf_efficientnet_lite0 only"):
        LearnSettings(backbone="resnet18", auto=("layers",))


def test_learning_says_what_it_chose_from(
    good: Sequence[GoodImage], graphs: Path, settings: LearnSettings, tmp_path: Path
) -> None:
    steps: list[str] = []
    learned = learn(
        good[:12],
        settings=replace(settings, auto=("contrast",)),
        graphs=graphs,
        progress=lambda step, _done, _total: steps.append(step),
    )
    assert [trial.contrast for trial in learned.trials] == ["global", "local"]
    assert learned.contrast == learned.trials[best(learned.trials)].contrast
    assert "trying local contrast, blocks.2+blocks.4" in steps
    assert learned.save(tmp_path, product="weave").manifest.trials == learned.trials
