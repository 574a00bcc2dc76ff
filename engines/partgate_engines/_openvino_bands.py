"""The resize in bands, where it is OpenVINO that resizes.

The graph resizes by two whole matrices (`_resize`), because every runtime takes those. A row of such a
matrix is zero but for a few pixels. Here 32 rows or columns of the result are made at a time, of the pixels
that they are made of: the same sums without most of the zeros. Of a colour frame of 5 Mpx, averaged to
612 x 512 pixels, that takes less than half of the time (docs/decisions/0031).

    frames   uint8 (n, b, b, kh, kw, c)     rows (b, 1, 32, kh)     columns (b, kw * c, 32 * c)

Blocks overlap by the filter's width, so the host copies a few pixels twice. Columns are resized with all
channels of a pixel side by side, as a camera gives them: nothing has to be turned round before.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partgate_engines._resize import resize_matrix

BAND_PX = 32  # of the result: with 16 the host copies for longer, with 64 more zeros are multiplied
_KEPT = 64  # sizes of tiles: a station sees one or two per camera
_BLOCKS_RANK = 6
# From the product with `columns` back to `rows`, and from the product with those back to `frames`.
_TO_ROWS = ("MatMul", "Reshape", "Transpose", "Reshape", "MatMul", "Parameter")
_TO_FRAMES = ("Reshape", "Convert", "Parameter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """How tiles of one size are cut into blocks, and by what these are resized."""

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    rows: NDArray[np.float32]
    """(b, 1, 32, kh)"""

    columns: NDArray[np.float32]
    """(b, kw * c, 32 * c)"""

    block: tuple[int, int]
    """kh and kw, pixels."""

    def cut(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the blocks of tiles.

        Args:
            tiles: (t, h, w, c) uint8, of the size that this was made for.

        Returns:
            (t, b, b, kh, kw, c) uint8, a new array.
        """
        import cv2

        high, wide = self.block
        blocks = [
            tile[top : top + high, left : left + wide]
            for tile in tiles
            for top in self.tops
            for left in self.lefts
        ]
        # In one call. 64 copies by numpy let go of Python's lock 64 times, and in a station, whose other
        # threads take it, that was 1.1 ms in place of 0.07 (docs/decisions/0029).
        one_below_the_other = np.asarray(cv2.vconcat(blocks), dtype=np.uint8)
        return one_below_the_other.reshape(
            len(tiles), len(self.tops), len(self.lefts), high, wide, tiles.shape[3]
        )


@lru_cache(maxsize=_KEPT)
def bands(*, height_px: int, width_px: int, size_px: int, channels: int) -> Bands:
    """Return how tiles of a size are resized to `size_px`, a multiple of 32, along both sides."""
    tops, rows = _banded(resize_matrix(height_px, size_px))
    lefts, columns = _banded(resize_matrix(width_px, size_px))
    # Beside each other lie the pixels' channels, and each channel is made of its own alone.
    apart = np.einsum("bpk,cd->bkcpd", columns, np.eye(channels, dtype=np.float32))
    return Bands(
        tops=tops,
        lefts=lefts,
        rows=np.ascontiguousarray(rows[:, None]),
        columns=np.ascontiguousarray(apart.reshape(len(lefts), -1, BAND_PX * channels)),
        block=(rows.shape[2], columns.shape[2]),
    )


def _banded(matrix: NDArray[np.float32]) -> tuple[tuple[int, ...], NDArray[np.float32]]:
    """Return where each band of a resize begins to look, and its weights: (b, 32, k), k the widest band's."""
    size_px, length_px = matrix.shape
    parts = matrix.reshape(size_px // BAND_PX, BAND_PX, length_px)
    used = [np.flatnonzero(part.any(axis=0)) for part in parts]
    widest = max(int(pixels[-1] - pixels[0]) + 1 for pixels in used)
    begins = tuple(min(int(pixels[0]), length_px - widest) for pixels in used)
    weights = [part[:, begin : begin + widest] for part, begin in zip(parts, begins, strict=True)]
    return begins, np.stack(weights)


def takes_blocks(compiled: Any) -> bool:
    """Return whether a compiled graph resizes in bands."""
    rank: int = compiled.input("frames").get_partial_shape().rank.get_length()
    return rank == _BLOCKS_RANK


def resize_in_bands(model: Any) -> bool:
    """Have a model take blocks of frames, and resize them in bands.

    Args:
        model: `openvino.Model` of a graph; changed, unless it resizes in another way than `FrameGraph` does.

    Returns:
        Whether it was changed.
    """
    resized = _resized(model)
    if resized is None:
        return False
    from openvino import Type, op  # type: ignore[import-untyped]  # the wheel ships no annotations

    size_px: int = resized.get_output_partial_shape(0)[2].get_length()
    count = size_px // BAND_PX
    frames = op.Parameter(Type.u8, _shape(-1, count, count, -1, -1, -1))
    rows = op.Parameter(Type.f32, _shape(count, 1, BAND_PX, -1))
    columns = op.Parameter(Type.f32, _shape(count, -1, -1))
    old = {name: model.input(name).get_node() for name in ("frames", "rows", "columns")}
    resized.output(0).replace(_small(frames, rows, columns, size_px))
    for reader in _readers(old["frames"]):
        if reader.get_type_name() == "ShapeOf":
            reader.output(0).replace(_frame_shape(frames))
    for name, parameter in (("frames", frames), ("rows", rows), ("columns", columns)):
        model.remove_parameter(old[name])
        parameter.set_friendly_name(name)
        parameter.output(0).get_tensor().set_names({name})
    model.add_parameters([frames, rows, columns])
    model.validate_nodes_and_infer_types()
    return True


def _resized(model: Any) -> Any | None:
    """Return the node that gives the resized frames, (n, c, s, s); None if it is not there as expected."""
    readers = _readers(model.input("columns").get_node())
    steps = _made_of(readers[0]) if len(readers) == 1 else []
    if _kinds(steps) != _TO_ROWS or steps[-1].get_friendly_name() != "rows":
        return None
    pixels = _made_of(steps[-2].input_value(1).get_node())
    if _kinds(pixels) != _TO_FRAMES or pixels[-1].get_friendly_name() != "frames":
        return None
    made, *others = _readers(steps[0])
    shape = made.get_output_partial_shape(0)
    if others or made.get_type_name() != "Reshape" or shape.rank.get_length() != 4:  # noqa: PLR2004
        return None
    return made if shape[2].is_static and shape[2].get_length() % BAND_PX == 0 else None


def _made_of(node: Any) -> list[Any]:
    """Return a node, what its first input is made of, and so on to the first that has none."""
    steps = [node]
    while steps[-1].get_input_size():
        steps.append(steps[-1].input_value(0).get_node())
    return steps


def _kinds(nodes: list[Any]) -> tuple[str, ...]:
    return tuple(node.get_type_name() for node in nodes)


def _small(frames: Any, rows: Any, columns: Any, size_px: int) -> Any:
    """Return the output of (n, c, s, s) float32 that is made of blocks."""
    from openvino import opset13

    # 0 keeps a side as it is.
    pixels = opset13.reshape(opset13.convert(frames, np.float32), [0, 0, 0, 0, -1], special_zero=True)
    lines = opset13.matmul(rows, pixels, transpose_a=False, transpose_b=False)  # (n, b, b, 32, kw * c)
    points = opset13.matmul(lines, columns, transpose_a=False, transpose_b=False)  # (n, b, b, 32, 32 * c)
    apart = opset13.reshape(points, [0, 0, 0, 0, BAND_PX, -1], special_zero=True)
    upright = opset13.transpose(apart, [0, 5, 1, 3, 2, 4])  # (n, c, b, 32, b, 32)
    return opset13.reshape(upright, [0, 0, size_px, size_px], special_zero=True).output(0)


def _frame_shape(frames: Any) -> Any:
    """Return n, kh, kw and c in the places where the shape of frames has n, h, w and c.

    What still asks for it needs to know how many frames and channels there are; height and width were
    needed by the resize alone.
    """
    from openvino import opset13

    return opset13.gather(opset13.shape_of(frames), [0, 3, 4, 5], 0).output(0)


def _readers(node: Any) -> list[Any]:
    return [target.get_node() for target in node.output(0).get_target_inputs()]


def _shape(*sides: int) -> Any:
    from openvino import PartialShape

    return PartialShape(list(sides))
