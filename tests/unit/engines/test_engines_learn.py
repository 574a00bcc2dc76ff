import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import overload

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines import Bundle, ImagesRefused, open_runtime
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines._placement import place
from partgate_engines.anomaly import GoodImage, Learned, LearnSettings, learn, update
from partgate_station import ConfigError, Region, Verdict

Pixels = NDArray[np.uint8]
Draw = Callable[..., Pixels]


def test_every_row_names_the_image_that_brought_it(learned: Learned, good: Sequence[GoodImage]) -> None:
    assert learned.bank.rows.shape == (200, 152)
    assert [source.origin for source in learned.good] == [image.origin for image in good]
    graph = OpenVinoGraph(learned.graph, with_features=True)
    graph.bind_bank(learned.bank.augmented())
    placement = place(height_px=96, width_px=80, regions=(), size_px=64, grid=graph.grid)
    for position in (0, 13, 29):
        graph.run(good[position].pixels[:, :, None], placement)
        patches = {row.tobytes() for row in graph.patches()}
        brought = learned.bank.rows[learned.bank.origin == position]
        assert {row.tobytes() for row in brought} <= patches
    assert len(set(learned.bank.origin)) > 15  # most images bring something


def test_the_held_out_scores_are_those_of_a_bank_without_the_image(
    learned: Learned, good: Sequence[GoodImage], tmp_path: Path
) -> None:
    others = learned.bank.origin != 4
    without = replace(
        learned, bank=type(learned.bank)(rows=learned.bank.rows[others], origin=learned.bank.origin[others])
    )
    runtime = open_runtime(without.save(tmp_path, product="without"))
    assert learned.held_out_scores[4] == pytest.approx(runtime.judge(good[4].pixels).score, rel=1e-5)
    runtime.close()


def test_held_out_scores_look_like_those_of_unseen_good_parts(
    learned: Learned, bundle: Bundle, draw: Draw
) -> None:
    runtime = open_runtime(bundle)
    unseen = [runtime.judge(draw(seed)).score for seed in range(100, 160)]
    runtime.close()
    assert np.median(learned.held_out_scores) == pytest.approx(np.median(unseen), rel=0.1)


def test_learning_again_gives_the_same(
    learned: Learned, good: Sequence[GoodImage], settings: LearnSettings, graphs: Path
) -> None:
    again = learn(good, settings=settings, graphs=graphs)
    np.testing.assert_array_equal(again.bank.rows, learned.bank.rows)
    np.testing.assert_array_equal(again.held_out_scores, learned.held_out_scores)
    assert again.calibration == learned.calibration
    assert again.graph_sha256 == learned.graph_sha256


class Lazy(Sequence[GoodImage]):
    """Draws an image whenever one is asked for, and remembers how many are alive at most."""

    def __init__(self, images: Sequence[GoodImage]) -> None:
        self.images = images
        self.reads = 0

    @overload
    def __getitem__(self, index: int) -> GoodImage: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[GoodImage]: ...
    def __getitem__(self, index: int | slice) -> GoodImage | Sequence[GoodImage]:
        if isinstance(index, slice):
            raise TypeError("images are read one at a time")
        self.reads += 1
        return self.images[index]

    def __len__(self) -> int:
        return len(self.images)


def test_images_may_be_decoded_as_they_are_asked_for(
    learned: Learned, good: Sequence[GoodImage], settings: LearnSettings, graphs: Path
) -> None:
    lazy = Lazy(good)
    assert learn(lazy, settings=settings, graphs=graphs).calibration == learned.calibration
    assert lazy.reads <= 2 * (len(good) + 1)  # one more finds the end


def test_progress_is_told_to_the_end(
    good: Sequence[GoodImage], settings: LearnSettings, graphs: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    learn(good[:3], settings=settings, graphs=graphs, progress=lambda *step: told.append(step))
    assert [step for step, done, total in told if done == total] == [
        "graph (exported once)",
        "features",
        "bank",
        "scores",
    ]
    assert ("features", 2, 3) in told


def test_images_of_many_sizes_grey_and_colour(draw: Draw, settings: LearnSettings, graphs: Path) -> None:
    images = [
        GoodImage(pixels=draw(n, height_px=60 + 9 * n, width_px=150 - 7 * n), origin=str(n)) for n in range(8)
    ]
    colour = np.repeat(draw(8)[:, :, None], 3, axis=2)
    learned = learn([*images, GoodImage(pixels=colour, origin="8")], settings=settings, graphs=graphs)
    assert learned.held_out_scores.shape == (9,)
    assert np.isfinite(learned.held_out_scores).all()


def test_what_is_ignored_is_not_learned(
    good: Sequence[GoodImage], settings: LearnSettings, graphs: Path, tmp_path: Path
) -> None:
    stripe = Region(use="ignore", polygon=((0, 0), (80, 0), (80, 12), (0, 12)))
    rows = settings.bank_rows * 100
    learned = learn(good[:3], settings=replace(settings, bank_rows=rows), graphs=graphs, regions=(stripe,))
    assert len(learned.bank.rows) <= 3 * 7 * 8  # one line of eight patches less
    assert learned.save(tmp_path, product="p").manifest.regions == (stripe,)


def test_a_region_that_does_not_fit_names_the_image(
    draw: Draw, settings: LearnSettings, graphs: Path
) -> None:
    region = Region(polygon=((0, 0), (80, 0), (80, 96), (0, 96)))
    images = [GoodImage(pixels=draw(0), origin="fits.png")]
    images.append(GoodImage(pixels=draw(1, width_px=70), origin="narrow.png"))
    with pytest.raises(ConfigError, match="outside 70×96") as refused:
        learn(images, settings=settings, graphs=graphs, regions=(region,))
    assert "narrow.png" in refused.value.problems[0]


def test_no_images_are_refused_with_the_count_that_is_needed(settings: LearnSettings, graphs: Path) -> None:
    with pytest.raises(ImagesRefused, match="0 good images given; at least 1") as refused:
        learn([], settings=settings, graphs=graphs)
    assert refused.value.exit_code == 65


def test_one_image_works_with_a_loud_warning(
    draw: Draw, settings: LearnSettings, graphs: Path, tmp_path: Path
) -> None:
    learned = learn([GoodImage(pixels=draw(0), origin="0")], settings=settings, graphs=graphs)
    assert learned.calibration.method == "mirrored"
    assert any("single image" in warning for warning in learned.calibration.warnings)
    bundle = learned.save(tmp_path, product="p")
    runtime = open_runtime(bundle)
    bad = runtime.judge(draw(1, defect=True)).score
    runtime.close()
    assert bundle.manifest.calibration.thresholds.verdict(bad) is not Verdict.ACCEPT


def test_copies_of_one_image_count_once(draw: Draw, settings: LearnSettings, graphs: Path) -> None:
    copies = [GoodImage(pixels=draw(0), origin=str(n)) for n in range(3)]
    calibration = learn(copies, settings=settings, graphs=graphs).calibration
    assert calibration.method == "mirrored"
    assert any("2 of 3 good images are copies" in warning for warning in calibration.warnings)
    mixed = learn([*copies, GoodImage(pixels=draw(1), origin="other")], settings=settings, graphs=graphs)
    assert min(mixed.held_out_scores) > 1.0  # a copy of itself does not vouch for an image


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((31, 64), dtype=np.uint8), "64×31 px is too small"),
        (np.zeros((64, 64), dtype=np.uint16), "uint16; expected 8 bits"),
        (np.zeros((64, 64, 4), dtype=np.uint8), "64×64×4"),
    ],
    ids=["small", "16 bits", "four channels"],
)
def test_an_image_that_cannot_be_used_is_named(
    pixels: Pixels, message: str, draw: Draw, settings: LearnSettings, graphs: Path
) -> None:
    images = [GoodImage(pixels=draw(0), origin="fine.png"), GoodImage(pixels=pixels, origin="odd.png")]
    with pytest.raises(ImagesRefused, match=f"odd.png: .*{message}"):
        learn(images, settings=settings, graphs=graphs)


def test_an_all_black_product_gives_thresholds(
    settings: LearnSettings, graphs: Path, draw: Draw, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    black = [
        GoodImage(pixels=random.integers(0, 2, (64, 64), dtype=np.uint8), origin=str(n)) for n in range(5)
    ]
    bundle = learn(black, settings=settings, graphs=graphs).save(tmp_path, product="black")
    runtime = open_runtime(bundle)
    score = runtime.judge(draw(0)).score
    runtime.close()
    assert bundle.manifest.calibration.thresholds.verdict(score) is Verdict.REJECT


def test_a_second_product_needs_no_torch(
    learned: Learned, graphs: Path, tmp_path: Path, good: Sequence[GoodImage]
) -> None:
    bundle = learned.save(tmp_path / "bundles", product="weave")
    np.save(tmp_path / "good.npy", np.stack([image.pixels for image in good]))
    code = f"""
import sys
import numpy as np
from pathlib import Path
from partgate_engines import Bundle
from partgate_engines.anomaly import GoodImage, LearnSettings, learn, update
pixels = np.load({str(tmp_path / "good.npy")!r})
good = [GoodImage(pixels=part, origin=f"{{n}}.png") for n, part in enumerate(pixels)]
added = [GoodImage(pixels=pixels[0].T.copy(), origin="turned")]
settings = LearnSettings(size_px=64, bank_rows=200)
second = learn(good[:10], settings=settings, graphs=Path({str(graphs)!r}))
better = update(Bundle.open(Path({str(bundle.folder)!r}), trusted=None), good=good, added=added)
print(len(second.bank.rows), len(better.good))
heavy = sorted({{"torch", "anomalib", "timm", "torchvision", "lightning"}} & set(sys.modules))
assert not heavy, heavy
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == ["200", "31"]


@pytest.fixture
def odd(draw: Draw) -> list[GoodImage]:
    """Good parts with a bright band that no image so far had."""
    images = []
    for seed in range(300, 304):
        pixels = draw(seed)
        pixels[30:50] = np.maximum(pixels[30:50], 200)
        images.append(GoodImage(pixels=pixels, origin=f"part:{seed}"))
    return images


def scores(bundle: Bundle, images: Sequence[Pixels]) -> Iterator[float]:
    runtime = open_runtime(bundle)
    yield from (runtime.judge(pixels).score for pixels in images)
    runtime.close()


def test_an_update_accepts_what_was_a_false_reject(
    bundle: Bundle, good: Sequence[GoodImage], odd: list[GoodImage], draw: Draw, tmp_path: Path
) -> None:
    another = draw(310)
    another[30:50] = np.maximum(another[30:50], 200)
    bad = draw(311, defect=True)
    before = list(scores(bundle, [another, bad]))
    better = update(bundle, good=good, added=odd).save(tmp_path, product="weave")
    after = list(scores(better, [another, bad]))
    thresholds = bundle.manifest.calibration.thresholds, better.manifest.calibration.thresholds
    assert thresholds[0].verdict(before[0]) is not Verdict.ACCEPT
    assert thresholds[1].verdict(after[0]) is Verdict.ACCEPT
    assert thresholds[1].verdict(after[1]) is not Verdict.ACCEPT
    assert all(new <= old * (1 + 1e-5) for new, old in zip(after, before, strict=True))


def test_an_update_keeps_the_size_and_says_where_every_row_is_from(
    bundle: Bundle, good: Sequence[GoodImage], odd: list[GoodImage], tmp_path: Path
) -> None:
    better = update(bundle, good=good, added=odd).save(tmp_path, product="weave")
    old, new = bundle.bank(), better.bank()
    assert len(new.rows) == len(old.rows) == bundle.manifest.bank_rows_learned
    known = {row.tobytes(): origin for row, origin in zip(old.rows, old.origin, strict=True)}
    stayed = new.origin < 30
    assert all(known[row.tobytes()] == n for row, n in zip(new.rows[stayed], new.origin[stayed], strict=True))
    assert set(new.origin[~stayed]) <= {30, 31, 32, 33}
    assert 0 < (~stayed).sum() <= len(old.rows) // 4
    assert better.manifest.parent == bundle.id
    added = [source.origin for source in better.manifest.good[30:]]
    assert added == ["part:300", "part:301", "part:302", "part:303"]
    assert better.manifest.graph_sha256 == bundle.manifest.graph_sha256
    assert len(better.manifest.calibration.scores) == 34


def test_a_bank_smaller_than_was_asked_for_grows_to_that(
    good: Sequence[GoodImage], settings: LearnSettings, graphs: Path, draw: Draw, tmp_path: Path
) -> None:
    few = learn(good[:2], settings=settings, graphs=graphs).save(tmp_path, product="weave")
    assert few.manifest.bank_rows == 128  # all patches of two images
    added = [GoodImage(pixels=draw(seed), origin=str(seed)) for seed in range(100, 120)]
    better = update(few, good=good[:2], added=added).save(tmp_path, product="weave")
    assert 128 < better.manifest.bank_rows <= 200


def test_an_update_needs_the_images_it_was_learned_from(
    bundle: Bundle, good: Sequence[GoodImage], odd: list[GoodImage]
) -> None:
    with pytest.raises(ImagesRefused, match="learned from 30 images, 29 are given"):
        update(bundle, good=good[:-1], added=odd)
    with pytest.raises(ImagesRefused, match=r"number 1, 1\.png: it was 0\.png"):
        update(bundle, good=[good[1], good[0], *good[2:]], added=odd)
    with pytest.raises(ImagesRefused, match="0 good images to add"):
        update(bundle, good=good, added=[])


def test_the_report_can_be_written_as_json(learned: Learned) -> None:
    report = json.loads(learned.calibration.model_dump_json())
    assert report["scores"] == pytest.approx(learned.held_out_scores.tolist())
    assert set(report) == {
        "thresholds",
        "method",
        "scores",
        "promise",
        "warnings",
        "defects",
        "regions",
        "card",
    }


@pytest.mark.parametrize(
    "wrong", [{"layers": ()}, {"size_px": 100}, {"size_px": 0}, {"bank_rows": 0}], ids=str
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LearnSettings(**wrong)  # type: ignore[arg-type]  # the wrong values are the test
