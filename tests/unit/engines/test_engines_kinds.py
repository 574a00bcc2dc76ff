"""Every kind of model goes the same way: learned, saved, judged alike by every runtime, built by NVIDIA's."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines import (
    Bundle,
    BundleRefused,
    ImagesRefused,
    Signer,
    TrainingUnavailable,
    TrustedSigners,
    WeightsMissing,
    open_runtime,
    verify_parity,
)
from partgate_engines._manifest import KindName
from partgate_engines._tensorrt_api import find_tensorrt
from partgate_engines._tensorrt_build import Profile, build_plan
from partgate_engines._tensorrt_contract import Contract
from partgate_engines._tensorrt_half import halve_backbone
from partgate_engines.anomaly import DefectImage, GoodImage, Learned, LearnSettings, learn, recomputed, update
from partgate_engines.anomaly.kinds import kind_named
from partgate_station import ConfigError, Region

Draw = Callable[..., NDArray[np.uint8]]

KINDS = get_args(KindName)
CLOSED = ("padim", "pca")
TRAINED = ("drawn", "fastflow", "reverse-distillation", "stfpm", "supersimplenet")
STEPS = 2


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights of a ResNet18: any will do to see that they are taken."""
    timm, torch = pytest.importorskip("timm"), pytest.importorskip("torch")
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(
            timm.create_model("resnet18", pretrained=False).state_dict(), folder / "resnet18.safetensors"
        )
    return folder


@pytest.fixture(scope="module")
def defects(draw: Draw) -> tuple[DefectImage, ...]:
    """Defective parts whose scratch is marked."""
    found = []
    for seed in range(50, 54):
        pixels = draw(seed, defect=True)
        found.append(DefectImage(pixels=pixels, mask=pixels >= 245, origin=f"{seed}.png"))
    return tuple(found)


@pytest.fixture(scope="module")
def settings_of(settings: LearnSettings, brought: Path) -> Callable[[KindName], LearnSettings]:
    def of(kind: KindName) -> LearnSettings:
        steps = STEPS if kind in TRAINED else None
        weights = brought if kind == "reverse-distillation" else None
        return replace(settings, kind=kind, steps=steps, weights=weights)

    return of


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> KindName:
    found: KindName = request.param
    return found


@pytest.fixture(scope="module")
def product(
    kind: KindName,
    good: Sequence[GoodImage],
    graphs: Path,
    settings_of: Callable[[KindName], LearnSettings],
    defects: tuple[DefectImage, ...],
) -> Learned:
    return learn(good[:16], settings=settings_of(kind), graphs=graphs, defects=defects)


@pytest.fixture(scope="module")
def own(
    product: Learned,
    good: Sequence[GoodImage],
    signer: Signer,
    brought: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    """A signed bundle of the kind; not to be changed."""
    weights = brought if product.backbone == "resnet18" else None
    folder = tmp_path_factory.mktemp("kinds")
    kept = product.kept(good[:16])
    return product.save(folder, product="weave", signer=signer, good=kept, weights=weights)


def test_every_kind_has_its_own_name(kind: KindName) -> None:
    assert kind_named(kind).name == kind


def test_the_manifest_says_what_was_learned(own: Bundle, kind: KindName, trusted: TrustedSigners) -> None:
    manifest = Bundle.open(own.folder, trusted=trusted).manifest
    assert manifest.kind == kind
    assert (manifest.training is not None) == (kind in TRAINED)
    assert own.bank().form == ("patches" if kind in {"drawn", "patchcore"} else "affine")
    assert own.bank().augmented().shape == (manifest.bank_rows, manifest.features + 1)
    if manifest.training is not None:
        assert manifest.training.steps == STEPS
        assert manifest.training.defects == (4 if kind == "supersimplenet" else 0)


def test_openvino_says_what_torch_said(own: Bundle) -> None:
    assert own.manifest.golden.references.startswith("torch ")
    runtime = open_runtime(own, "openvino")
    try:
        report = verify_parity(own, runtime)
    finally:
        runtime.close()
    assert report.problems == ()
    assert len(report.frames) >= 4


@pytest.mark.parametrize("halved", [False, True], ids=["fp32", "fp16"])
def test_nvidias_builder_takes_the_graph(own: Bundle, *, halved: bool) -> None:
    content = own.graph_bytes()
    plan = build_plan(
        find_tensorrt("tensorrt_rtx"),
        halve_backbone(content) if halved else content,
        contract=Contract.of(own.manifest),
        profile=Profile.of(own.manifest),
    )
    assert plan[1:4] == b"trt"
    assert len(plan) > 1_000_000


def test_thresholds_come_from_parts_that_were_not_learned_from(
    product: Learned, own: Bundle, good: Sequence[GoodImage], kind: KindName
) -> None:
    calibration, training = product.calibration, product.training
    held_back = kind in TRAINED and kind != "drawn"
    assert calibration.method == ("held-back" if held_back else "leave-one-out")
    known = np.isfinite(product.held_out_scores)
    if training is None or not held_back:
        assert known.all()
        return
    assert known.sum() == training.held_back == len(calibration.scores)
    assert 2 <= training.held_back <= 6
    runtime = open_runtime(own, "openvino")
    try:
        position = int(np.flatnonzero(known)[0])
        score = runtime.judge(product.kept(good[:16])[position].pixels).score
    finally:
        runtime.close()
    assert score == pytest.approx(float(product.held_out_scores[position]), rel=1e-4)


def test_what_is_not_inspected_does_not_count(own: Bundle, draw: Draw) -> None:
    pixels = draw(70)
    spoilt = pixels.copy()
    spoilt[:, 60:] = 255
    left = Region(polygon=((0, 0), (30, 0), (30, 96), (0, 96)))
    away = Region(use="ignore", polygon=((30, 0), (80, 0), (80, 96), (30, 96)))
    runtime = open_runtime(own, "openvino")
    try:
        results = [runtime.judge(frame, (away,)) for frame in (pixels, spoilt)]
        whole = runtime.judge(spoilt).score
        assert np.isfinite(runtime.judge(pixels, (left,)).score)
    finally:
        runtime.close()
    assert all((result.anomaly_map[:, -1] == 0).all() for result in results)
    assert whole >= results[1].score


def test_an_update_learns_again_or_says_what_to_do(
    own: Bundle, product: Learned, good: Sequence[GoodImage], draw: Draw, kind: KindName, tmp_path: Path
) -> None:
    added = [GoodImage(pixels=draw(200), origin="200.png")]
    kept = list(product.kept(good[:16]))
    if kind in TRAINED:
        with pytest.raises(ImagesRefused, match=f"partgate learn PRODUCT --kind {kind}"):
            update(own, good=kept, added=added)
        return
    again = update(own, good=kept, added=added)
    assert (again.kind, again.graph_sha256, again.parent) == (kind, own.manifest.graph_sha256, own.id)
    assert [source.origin for source in again.good] == [*(one.origin for one in kept), "200.png"]
    if kind in CLOSED:
        assert not np.array_equal(again.bank.rows, product.bank.rows)
        assert len(again.bank.rows) == len(product.bank.rows)
    assert again.save(tmp_path, product="weave", good=[*kept, *added]).manifest.kind == kind


def test_torch_can_say_again_what_it_said_unless_it_was_trained(own: Bundle, kind: KindName) -> None:
    if kind in TRAINED:
        with pytest.raises(TrainingUnavailable, match="verify without --torch"):
            recomputed(own, None)
        return
    frames, by = recomputed(own, None)
    assert by == own.manifest.golden.references
    for frame, kept in zip(frames, own.golden(), strict=True):
        assert frame.score == pytest.approx(kept.score, rel=1e-5)


def test_a_trained_graph_is_the_products_own(product: Learned, kind: KindName) -> None:
    digest = hashlib.sha256(product.graph.read_bytes()).hexdigest()
    assert digest == product.graph_sha256
    assert (product.graph.stem == digest) == (kind in TRAINED)


@pytest.mark.parametrize("kind_name", [*CLOSED, "supersimplenet"])
def test_the_same_images_give_the_same_model(
    kind_name: KindName,
    good: Sequence[GoodImage],
    graphs: Path,
    settings_of: Callable[[KindName], LearnSettings],
) -> None:
    first, second = (learn(good[:6], settings=settings_of(kind_name), graphs=graphs) for _ in range(2))
    assert first.graph_sha256 == second.graph_sha256
    np.testing.assert_array_equal(first.bank.rows, second.bank.rows)
    np.testing.assert_array_equal(first.held_out_scores, second.held_out_scores)


@pytest.mark.parametrize("kind_name", ["padim", "pca", "stfpm"])
def test_from_one_image_nothing_is_promised(
    kind_name: KindName,
    good: Sequence[GoodImage],
    graphs: Path,
    settings_of: Callable[[KindName], LearnSettings],
) -> None:
    learned = learn(good[:1], settings=settings_of(kind_name), graphs=graphs)
    assert learned.calibration.method == "mirrored"
    assert len(learned.held_out_scores) == 3
    assert "nothing can be promised" in learned.calibration.promise


@pytest.mark.parametrize("kind_name", [*CLOSED])
def test_an_image_that_does_not_belong_is_not_learned(
    kind_name: KindName,
    good: Sequence[GoodImage],
    graphs: Path,
    settings_of: Callable[[KindName], LearnSettings],
    draw: Draw,
) -> None:
    odd = GoodImage(pixels=255 - draw(300, defect=True) // 2, origin="odd.png")
    given = [*good[:15], odd]
    learned = learn(given, settings=settings_of(kind_name), graphs=graphs)
    assert [one.origin for one in learned.set_aside] == ["odd.png"]
    assert len(learned.good) == 15
    everything = replace(settings_of(kind_name), keep_outliers=True)
    assert len(learn(given, settings=everything, graphs=graphs).good) == 16


def test_places_are_not_learned_in_tiles(
    good: Sequence[GoodImage], graphs: Path, settings: LearnSettings
) -> None:
    with pytest.raises(ConfigError, match="--tile-px 64: padim learns every place"):
        learn(good[:2], settings=replace(settings, kind="padim", tile_px=64), graphs=graphs)


@pytest.mark.parametrize("kind_name", ["patchcore", *CLOSED])
def test_steps_are_for_kinds_that_are_trained(
    kind_name: KindName, good: Sequence[GoodImage], graphs: Path, settings: LearnSettings
) -> None:
    with pytest.raises(ConfigError, match=f"--steps 5: {kind_name} is not trained"):
        learn(good[:2], settings=replace(settings, kind=kind_name, steps=5), graphs=graphs)


def test_weights_that_have_to_be_brought_are_named(
    good: Sequence[GoodImage], graphs: Path, settings: LearnSettings, tmp_path: Path
) -> None:
    wanted = replace(settings, kind="reverse-distillation")
    with pytest.raises(WeightsMissing, match=r"resnet18\.safetensors into a folder"):
        learn(good[:2], settings=wanted, graphs=graphs)
    with pytest.raises(WeightsMissing, match=str(tmp_path / r"resnet18\.safetensors")):
        learn(good[:2], settings=replace(wanted, weights=tmp_path), graphs=graphs)
    with pytest.raises(ConfigError, match="is built for resnet18, resnet34, resnet50, wide_resnet50_2 only"):
        learn(good[:2], settings=replace(wanted, backbone="resnet26"), graphs=graphs)


def test_tiles_are_trained_on_and_judged(
    good: Sequence[GoodImage], graphs: Path, settings_of: Callable[[KindName], LearnSettings], tmp_path: Path
) -> None:
    tiled = replace(settings_of("supersimplenet"), tile_px=64)
    learned = learn(good[:4], settings=tiled, graphs=graphs)
    bundle = learned.save(tmp_path, product="weave", good=good[:4])
    runtime = open_runtime(bundle, "openvino")
    try:
        assert verify_parity(bundle, runtime).passed
        shape = runtime.judge(good[0].pixels).anomaly_map.shape
    finally:
        runtime.close()
    assert shape > learned.grid


@pytest.mark.parametrize("origin", [-2, 30], ids=["below", "above"])
def test_a_row_of_no_image_is_refused(origin: int, own: Bundle, tmp_path: Path) -> None:
    from safetensors.numpy import load, save

    folder = tmp_path / "bundle"
    folder.mkdir()
    for path in own.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tensors = load((folder / "bank.safetensors").read_bytes())
    tensors["origin"] = np.full_like(tensors["origin"], origin)
    (folder / "bank.safetensors").write_bytes(save(tensors))
    raw = json.loads((folder / "manifest.json").read_text())
    raw["bank_sha256"] = hashlib.sha256((folder / "bank.safetensors").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(raw))
    with pytest.raises(BundleRefused, match="origins"):
        Bundle.open(folder, trusted=None).bank()
