"""OpenVINO's resize in bands against the whole matrices that every graph has."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_engines import Bundle
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines._openvino_bands import BAND_PX, bands, resize_in_bands, takes_blocks
from partgate_engines._openvino_device import compile_graph
from partgate_engines._placement import place
from partgate_engines._resize import resize_matrix
from partgate_engines.anomaly import LearnSettings
from partgate_engines.anomaly._graphs import graph_for
from partgate_engines.anomaly._references import Look, openvino_reference
from partgate_engines.anomaly._weights import PACKAGED_BACKBONE, find_weights

Pixels = NDArray[np.uint8]
Draw = Callable[..., Pixels]

SIZES = [
    (512, 612, 256),
    (320, 320, 256),
    (64, 64, 64),
    (97, 1013, 128),
    (20, 31, 96),
    (1, 2, 32),
    (64, 1, 64),
]


def in_bands(tiles: Pixels, size_px: int) -> NDArray[np.float32]:
    """Resize as the graph does: (t, s, s, c)."""
    count, height_px, width_px, channels = tiles.shape
    found = bands(height_px=height_px, width_px=width_px, size_px=size_px, channels=channels)
    blocks = found.cut(tiles).astype(np.float32)
    points = found.rows @ blocks.reshape(*blocks.shape[:4], -1) @ found.columns
    apart = points.reshape(count, size_px // BAND_PX, size_px // BAND_PX, BAND_PX, BAND_PX, channels)
    upright = apart.transpose(0, 1, 3, 2, 4, 5)
    return np.asarray(upright.reshape(count, size_px, size_px, channels), np.float32)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height_px", "width_px", "size_px"), SIZES)
def test_bands_make_what_the_whole_matrices_make(
    height_px: int, width_px: int, size_px: int, channels: int
) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (2, height_px, width_px, channels)).astype(np.uint8)
    rows, columns = resize_matrix(height_px, size_px), resize_matrix(width_px, size_px)
    whole = np.einsum("sh,thwc,zw->tszc", rows, tiles.astype(np.float32), columns, optimize=True)
    np.testing.assert_allclose(in_bands(tiles, size_px), whole, rtol=1e-5, atol=1e-3)


def test_bands_leave_most_zeros_out() -> None:
    found = bands(height_px=512, width_px=612, size_px=256, channels=3)
    assert found.block == (66, 79)
    assert found.rows.size < resize_matrix(512, 256).size / 7


@pytest.fixture
def pair(bundle: Bundle) -> tuple[OpenVinoGraph, OpenVinoGraph]:
    """The bundle's graph with the whole matrices, and in bands."""
    whole = OpenVinoGraph(bundle.graph, compiled=compile_graph(bundle.graph, as_exported=True))
    banded = OpenVinoGraph(bundle.graph)
    for graph in (whole, banded):
        graph.bind_bank(bundle.bank().augmented())
    return whole, banded


def inputs_of(graph: OpenVinoGraph) -> dict[str, int]:
    return {name: array.ndim for name, array in graph._bound.items() if name in ("frames", "rows", "columns")}


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("height_px", [50, 96, 333])
def test_a_graph_says_the_same_in_bands(
    pair: tuple[OpenVinoGraph, OpenVinoGraph], draw: Draw, height_px: int, colour: bool
) -> None:
    whole, banded = pair
    frame = draw(1, defect=True, height_px=height_px)[..., None]
    if colour:
        frame = np.concatenate([frame, frame // 2, 255 - frame], axis=2)
    placement = place(
        height_px=frame.shape[0], width_px=frame.shape[1], regions=(), size_px=whole.size_px, grid=whole.grid
    )
    assert (banded.size_px, banded.grid, banded.features) == (whole.size_px, whole.grid, whole.features)
    for _ in range(2):  # the second finds the matrices bound
        score, anomaly_map = banded.run(frame, placement)
        wanted, wanted_map = whole.run(frame, placement)
        assert score == pytest.approx(wanted, rel=1e-5)
        np.testing.assert_allclose(anomaly_map, wanted_map, rtol=1e-4, atol=1e-4)
    assert inputs_of(whole) == {"frames": 4, "rows": 2, "columns": 2}
    assert inputs_of(banded) == {"frames": 6, "rows": 4, "columns": 3}


def test_references_are_made_by_the_graph_as_it_was_exported(bundle: Bundle) -> None:
    augmented = bundle.bank().augmented()
    look = Look(size_px=bundle.manifest.size_px, grid=(8, 8), tiling=None, regions=())
    reference = openvino_reference(bundle.graph, augmented, look)
    reference.judge(np.zeros((96, 80), np.uint8))
    assert inputs_of(reference.graph) == {"frames": 4, "rows": 2, "columns": 2}


def test_graphs_with_local_contrast_resize_in_bands_as_well(tmp_path: Any) -> None:
    pytest.importorskip("torch")
    settings = LearnSettings(backbone=PACKAGED_BACKBONE, layers=("blocks.2",), size_px=64, contrast="local")
    path = graph_for(settings, find_weights(PACKAGED_BACKBONE, None), tmp_path)
    assert takes_blocks(compile_graph(path))


def a_model(size_px: int, *, turned: bool) -> Any:
    """Return a model that resizes: as our graphs do, or without turning the frames round."""
    from openvino import Model, PartialShape, Type, op, opset13  # type: ignore[import-untyped]

    inputs = {
        "frames": op.Parameter(Type.u8, PartialShape([-1, -1, -1, -1])),
        "rows": op.Parameter(Type.f32, PartialShape([size_px, -1])),
        "columns": op.Parameter(Type.f32, PartialShape([-1, size_px])),
    }
    for name, parameter in inputs.items():
        parameter.set_friendly_name(name)
        parameter.output(0).get_tensor().set_names({name})
    frames, rows, columns = inputs.values()
    pixels = opset13.reshape(opset13.convert(frames, np.float32), [0, 0, -1], special_zero=True)
    lines = opset13.matmul(rows, pixels, transpose_a=False, transpose_b=False)
    apart = opset13.reshape(lines, [0, size_px, -1, 1], special_zero=True)
    upright = opset13.transpose(apart, [0, 3, 1, 2]) if turned else apart
    flat = opset13.reshape(upright, [0, size_px, -1], special_zero=True)
    small = opset13.matmul(flat, columns, transpose_a=False, transpose_b=False)
    result = opset13.result(opset13.reshape(small, [-1, 1, size_px, size_px], special_zero=False))
    return Model([result], [*inputs.values()], "resize")


@pytest.mark.parametrize(
    ("size_px", "turned", "changed"),
    [(64, True, True), (64, False, False), (48, True, False)],
    ids=["as ours", "in another way", "not in whole bands"],
)
def test_a_graph_that_resizes_in_another_way_is_left_as_it_is(
    size_px: int, turned: bool, changed: bool
) -> None:
    pytest.importorskip("openvino")
    model = a_model(size_px, turned=turned)
    assert resize_in_bands(model) is changed
    assert model.input("frames").get_partial_shape().rank.get_length() == (6 if changed else 4)
