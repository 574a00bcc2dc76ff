"""Local contrast: the stage, its graph, and what keeps it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines import Bundle, Manifest, open_runtime
from partgate_engines._tensorrt_api import find_tensorrt
from partgate_engines._tensorrt_build import Profile, build_plan
from partgate_engines._tensorrt_contract import Contract
from partgate_engines._tensorrt_half import halve_backbone
from partgate_engines.anomaly import GoodImage, Learned, LearnSettings, _graphs, learn, update
from partgate_engines.anomaly._contrast import down_matrix, up_matrix
from partgate_engines.anomaly._export import _INPUTS, _OUTPUTS, _compare, _example, build_graph
from partgate_engines.anomaly._weights import PACKAGED_BACKBONE, find_weights

Draw = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="module")
def local(good: Sequence[GoodImage], graphs: Path, settings: LearnSettings) -> Learned:
    """What is learned from the thirty good parts by local contrast."""
    return learn(good, settings=replace(settings, contrast="local"), graphs=graphs)


@pytest.fixture(scope="module")
def local_bundle(local: Learned, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its bundle; not to be changed."""
    return local.save(tmp_path_factory.mktemp("local"), product="weave")


def around(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the local means by the two matrices."""
    down, up = down_matrix(len(plane)), up_matrix(len(plane))
    return np.asarray(up @ (down @ plane @ down.T) @ up.T, dtype=np.float64)


@pytest.mark.parametrize("size_px", [32, 64, 96, 256, 512])
def test_the_matrices_keep_what_is_even(size_px: int) -> None:
    assert down_matrix(size_px).shape == (32, size_px)
    assert up_matrix(size_px).shape == (size_px, 32)
    assert around(np.full((size_px, size_px), 97.0)) == pytest.approx(97.0, abs=1e-4)


@pytest.mark.parametrize("size_px", [64, 128, 256])
def test_the_means_are_nearly_those_of_a_gaussian_at_full_size(size_px: int) -> None:
    random = np.random.default_rng(1)
    coarse = random.uniform(0, 255, (7, 7)).astype(np.float32)
    plane = cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_LINEAR).astype(np.float64)
    plane += random.normal(0, 10, plane.shape)
    exact = cv2.GaussianBlur(plane, (0, 0), size_px / 12, borderType=cv2.BORDER_REFLECT)
    assert np.abs(around(plane) - exact).mean() < 0.5
    assert np.abs(around(plane) - exact).max() < 3


def test_a_bright_part_and_a_dark_one_look_the_same(local: Learned, learned: Learned, draw: Draw) -> None:
    bright = draw(99)
    dark = np.asarray(np.rint(0.5 * bright), dtype=np.uint8)

    def apart(product: Learned) -> float:
        from partgate_engines.anomaly._references import Look, openvino_reference

        look = Look(size_px=product.size_px, grid=product.grid, tiling=None, regions=())
        judge = openvino_reference(product.graph, product.bank.augmented(), look).judge
        return abs(judge(bright)[0] / judge(dark)[0] - 1)

    assert apart(local) < 0.1
    assert apart(learned) > 0.3


def test_a_grey_frame_is_three_equal_channels(local_bundle: Bundle, draw: Draw) -> None:
    grey = draw(7, defect=True)
    runtime = open_runtime(local_bundle, "openvino")
    try:
        colour = runtime.judge(np.repeat(grey[:, :, None], 3, axis=2)).score
        assert runtime.judge(grey).score == pytest.approx(colour, rel=1e-3)
    finally:
        runtime.close()


@pytest.mark.parametrize("shape", [(1, 96, 80, 1), (4, 70, 130, 3)], ids=["one grey", "four in colour"])
def test_torch_and_openvino_say_the_same(
    local: Learned, settings: LearnSettings, shape: tuple[int, int, int, int]
) -> None:
    torch = pytest.importorskip("torch")
    module = build_graph(
        backbone=settings.backbone,
        layers=settings.layers,
        size_px=settings.size_px,
        scored_share=_graphs.SCORED_SHARE,
        weights=find_weights(PACKAGED_BACKBONE, None),
        contrast="local",
    )
    example = _example(shape, settings.size_px, local.grid, local.bank.rows.shape[1])
    assert len(example) == len(_INPUTS)
    with torch.inference_mode():
        expected = [tensor.numpy() for tensor in module(*(torch.from_numpy(a.copy()) for a in example))]
    assert len(expected) == len(_OUTPUTS)
    _compare(local.graph.read_bytes(), example, tuple(expected))


@pytest.mark.parametrize("halved", [False, True], ids=["fp32", "fp16"])
def test_nvidias_builder_takes_the_graph(local_bundle: Bundle, *, halved: bool) -> None:
    content = local_bundle.graph.read_bytes()
    plan = build_plan(
        find_tensorrt("tensorrt_rtx"),
        halve_backbone(content) if halved else content,
        contract=Contract.of(local_bundle.manifest),
        profile=Profile(),
    )
    assert plan[1:4] == b"trt"
    assert len(plan) > 1_000_000


def test_the_contrast_is_a_part_of_the_graph_and_of_the_bundle(
    local: Learned, learned: Learned, local_bundle: Bundle, settings: LearnSettings
) -> None:
    weights = find_weights(PACKAGED_BACKBONE, None)
    assert local.graph_sha256 != learned.graph_sha256
    assert local.graph.stem == _graphs._key(replace(settings, contrast="local"), weights)
    assert local_bundle.manifest.contrast == "local"


def test_a_bundle_of_before_has_global_contrast(bundle: Bundle) -> None:
    raw = json.loads(bundle.manifest.model_dump_json())
    del raw["contrast"]
    assert Manifest.model_validate_json(json.dumps(raw)).contrast == "global"


def test_an_update_keeps_the_contrast(local_bundle: Bundle, good: Sequence[GoodImage], draw: Draw) -> None:
    added = [GoodImage(pixels=draw(200), origin="200.png")]
    again = update(local_bundle, good=good, added=added)
    assert (again.contrast, again.graph_sha256) == ("local", local_bundle.manifest.graph_sha256)
