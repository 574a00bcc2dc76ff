"""The graph on the CPU, by OpenVINO."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partgate_engines._openvino_bands import Bands, bands, takes_blocks
from partgate_engines._openvino_bytes import bank_inputs
from partgate_engines._openvino_device import compile_graph, library, wait_for
from partgate_engines._openvino_map import FEATURES, FeatureMaps
from partgate_engines._placement import Placement
from partgate_engines._tiles import Grid

# The graph takes any three channels; (3, c) makes red, green and blue of a camera's.
_CHANNELS: Mapping[int, NDArray[np.float32]] = {
    1: np.ones((3, 1), dtype=np.float32),
    3: np.eye(3, dtype=np.float32),
}

# What a score leaves behind, so that a map costs no second run: 1.5 MB a tile with ResNet18.
_TILES_KEPT = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CutFrame:
    """What the graph gets to see of a frame, before anything is asked of it."""

    placement: Placement
    given: NDArray[np.uint8]
    """Tiles, (t, h, w, c), or their blocks, (t, b, b, kh, kw, c); a copy, so that nothing keeps the frame."""

    bands: Bands | None
    """How the tiles are resized; None where the graph does it by whole matrices."""

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return len(self.given)


class OpenVinoGraph:
    """A request to a compiled graph.

    What a product and a camera add is bound when it changes, not per frame.
    """

    def __init__(
        self, path: Path, *, with_features: bool = False, compiled: Any = None, step: float | None = None
    ) -> None:
        """Make a request.

        Args:
            path: of the graph.
            with_features: whether the patch features are wanted as well.
            compiled: of that graph, with other requests; None compiles it for this one alone, with maps.
            step: by which it was compiled to take the bank as bytes; None: it takes float32.
        """
        if compiled is None:
            compiled = compile_graph(path, with_features=with_features, step=step)
        self._in_bands = takes_blocks(compiled)
        self.size_px: int = _size(_static(compiled, "rows"))
        self.grid: Grid = _grid(_static(compiled, "mask"))
        self.features: int = _static(compiled, "bank")[1] - (step is None)  # float32 has |y|^2 beside y
        self._step = step
        self._request = compiled.create_infer_request()
        self._under_way: CutFrame | None = None
        self._bound: dict[str, NDArray[Any]] = {}
        self._with_features = with_features
        self._has_features = any(FEATURES in output.names for output in compiled.outputs)
        self._patches: NDArray[np.float32] | None = None
        self._scored: tuple[float, Placement] | None = None

    def bind_bank(self, augmented: NDArray[np.float32]) -> None:
        """Use this memory bank from now on: (k, d + 1) float32, kept, not copied.

        Raises:
            BundleRefused: the graph takes bytes, and the bank does not consist of steps.
        """
        for name, array in bank_inputs(augmented, self._step).items():
            self._bind(name, array)

    def run(self, frame: NDArray[np.uint8], placement: Placement) -> tuple[float, NDArray[np.float32]]:
        """Judge one frame.

        Args:
            frame: (h, w, c) uint8, the size that the placement was made for.
            placement: where in it to look.

        Returns:
            The score, the highest of its tiles', and a new (GH, GW) map of the whole box. A frame with
            a distance that is not finite has no score: what a runtime's TopK does with NaN is not defined.
        """
        self.start(frame, placement)
        return self.answer()

    def cut(self, frame: NDArray[np.uint8], placement: Placement) -> CutFrame:
        """Return what the graph gets to see of a frame; for any thread, and any request to this graph."""
        tiles = placement.cut(frame)
        found = self._bands_of(tiles) if self._in_bands else None
        return CutFrame(
            placement=placement, given=tiles.copy() if found is None else found.cut(tiles), bands=found
        )

    def start(self, frame: NDArray[np.uint8], placement: Placement, *, cut: CutFrame | None = None) -> None:
        """Begin to judge one frame as `run` does, and return before it is judged.

        Args:
            frame: as `run` takes it.
            placement: likewise.
            cut: what `cut` made of them; None if nothing was made yet.
        """
        if cut is None or cut.placement is not placement:
            cut = self.cut(frame, placement)
        self._bind("channels", _CHANNELS[frame.shape[2]])
        resize = cut.bands or placement
        self._bind("rows", resize.rows)
        self._bind("columns", resize.columns)
        self._scored = None
        self._under_way = cut
        self._make_room(cut.count)
        self._start_run(cut, 0)

    def answer(self) -> tuple[float, NDArray[np.float32]]:
        """Wait for the frame that was begun last and return what `run` would; to be called once for it.

        Raises:
            DeviceHung: it was not answered in time.
        """
        cut = self._begun()
        scores = np.empty(cut.count, dtype=np.float32)
        maps = np.empty(cut.placement.mask.shape, dtype=np.float32)
        for tile in self._tiles(cut):
            scores[tile], maps[tile] = self._answer("score")[0], self._answer("anomaly_map")[0]
        score = float(scores.max()) if np.isfinite(maps).all() else float("nan")
        return score, cut.placement.stitch(maps)

    def score(self) -> float:
        """Wait for the frame that was begun last and return its score; to be called once for it.

        All that there is of a graph that was compiled without maps. Not a number if any patch's distance is
        not finite: the graph says so itself.

        Raises:
            DeviceHung: it was not answered in time.
        """
        cut = self._begun()
        # numpy's max, other than Python's, is not a number as soon as one of them is not.
        score = float(np.max([self._answer("score")[0] for _ in self._tiles(cut)]))
        if self._patches is not None and len(self._patches) == cut.count:
            self._scored = (score, cut.placement)
        return score

    def map_of_scored(self, maps: FeatureMaps) -> tuple[float, NDArray[np.float32]] | None:
        """Return the score of the frame that was scored last, and its map, as `run` would.

        None where its features are gone: it had too many tiles, or another frame was begun since.
        """
        if self._scored is None or self._patches is None:
            return None
        score, placement = self._scored
        found = np.empty(placement.mask.shape, dtype=np.float32)
        for tile, features in enumerate(self._patches):
            found[tile] = maps.of(features, placement.mask[tile])
        return score, placement.stitch(found)

    def run_in_halves(
        self, frame: NDArray[np.uint8], placement: Placement, maps: FeatureMaps
    ) -> tuple[float, NDArray[np.float32]]:
        """Judge one frame as `run` does; of a graph that was compiled without maps, and with features."""
        self.start(frame, placement)
        cut = self._begun()
        scores = np.empty(cut.count, dtype=np.float32)
        found = np.empty(placement.mask.shape, dtype=np.float32)
        for tile in self._tiles(cut):
            scores[tile] = self._answer("score")[0]
            found[tile] = maps.of(self._answer(FEATURES)[0], placement.mask[tile])
        score = float(scores.max()) if np.isfinite(found).all() else float("nan")
        return score, placement.stitch(found)

    def patches(self) -> NDArray[np.float32]:
        """Return the last frame's patch features.

        Returns:
            (t * gh * gw, d) float32, tile by tile; the next frame makes a new one.
        """
        if self._patches is None or not self._with_features:
            raise ValueError("no frame was run with features")
        return self._patches.reshape(-1, self.features)

    def _bands_of(self, tiles: NDArray[np.uint8]) -> Bands:
        _, height_px, width_px, channels = tiles.shape
        return bands(height_px=height_px, width_px=width_px, size_px=self.size_px, channels=channels)

    def _begun(self) -> CutFrame:
        if self._under_way is None:
            raise ValueError("no frame was begun")
        begun, self._under_way = self._under_way, None
        return begun

    def _make_room(self, tiles: int) -> None:
        """Have an array for the features of a frame: of all its tiles, or of one where they are many."""
        if not self._has_features:
            return
        count = tiles if self._with_features or tiles <= _TILES_KEPT else 1
        if self._with_features or self._patches is None or len(self._patches) != count:
            self._patches = np.empty((count, prod(self.grid), self.features), dtype=np.float32)

    def _tiles(self, cut: CutFrame) -> Iterator[int]:
        """Wait for one tile after the other; the first is under way."""
        for tile in range(cut.count):
            if tile:
                self._start_run(cut, tile)
            wait_for(self._request)
            yield tile

    def _start_run(self, cut: CutFrame, tile: int) -> None:
        self._bind("frames", cut.given[tile : tile + 1])
        self._bind("mask", cut.placement.mask[tile : tile + 1])
        if self._patches is not None:
            place = tile if len(self._patches) == cut.count else 0
            self._bind(FEATURES, self._patches[place : place + 1])
        self._request.start_async()

    def _answer(self, name: str) -> NDArray[np.float32]:
        return np.asarray(self._request.get_tensor(name).data)

    def _bind(self, name: str, array: NDArray[Any]) -> None:
        if self._bound.get(name) is array:
            return
        # OpenVINO shares only memory that it could write to, and copies the rest. It does not keep
        # what it shares alive: `_bound` does, until another array has taken its place.
        self._request.set_tensor(name, library().Tensor(array, shared_memory=array.flags.writeable))
        self._bound[name] = array


def _static(compiled: Any, name: str) -> list[int]:
    """Return an input's shape, -1 where it is free."""
    shape = compiled.input(name).get_partial_shape()
    return [size.get_length() if size.is_static else -1 for size in shape]


def _size(rows: list[int]) -> int:
    """Return the side of what a graph makes of a tile: of (s, h), or in bands (b, 1, s / b, kh)."""
    return prod(rows[:-1])


def _grid(mask: list[int]) -> Grid:
    gh, gw = mask[-2:]
    return gh, gw
