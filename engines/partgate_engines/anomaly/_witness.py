"""Which learned images vouch for a place in an image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partgate_engines._bank import without
from partgate_engines._bundle import Bundle
from partgate_engines._openvino import OpenVinoGraph
from partgate_engines._openvino_device import compile_graph
from partgate_engines._placement import Placement, place
from partgate_engines._pose import Pose
from partgate_engines._tiles import Box, lay_out
from partgate_engines.anomaly._alignment import aligned, pose_of
from partgate_engines.anomaly._images import GoodImage, checked
from partgate_engines.anomaly._kinship import kin
from partgate_engines.anomaly._provenance import near_duplicates
from partgate_station import ConfigError, Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher:
    """A learned image that has rows near a patch."""

    position: int
    """Among the images that the product was learned from."""

    origin: str
    row: int
    """Its nearest row in the memory bank."""

    distance: float
    """Of that row from the patch."""

    duplicates: int
    """How many of its rows lie no farther from the patch than `Trace.within`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What a memory bank says of one place in an image."""

    box: Box
    """(left, top, right, bottom) in pixels of the image: the patch, or the box around it where a part that
    is turned was aligned."""

    distance: float
    """From the nearest row, whatever its region's sensitivity."""

    within: float
    """A row that is no farther away counts as a near-duplicate: the bank was chosen so that no patch of a
    good image lies farther from its nearest row."""

    vouchers: tuple[Voucher, ...]
    """The images with the nearest rows, the nearest first."""


def feature_graph(bundle: Bundle) -> OpenVinoGraph:
    """Return a bundle's graph, compiled with its features: some hundred milliseconds.

    Raises:
        BundleRefused: the bundle was changed since it was opened.
    """
    compiled = compile_graph(bundle.graph, content=bundle.graph_bytes(), with_features=True)
    return OpenVinoGraph(bundle.graph, with_features=True, compiled=compiled)


class Witness:
    """Asks a bundle's memory bank about images; holds the graph, compiled with its features."""

    def __init__(self, bundle: Bundle, regions: tuple[Region, ...] = ()) -> None:
        """Read the bank and compile the graph: some hundred milliseconds.

        Raises:
            BundleRefused: the bundle was changed since it was opened.
        """
        self._graph = feature_graph(bundle)
        self._manifest = bundle.manifest
        self._bank = bundle.bank()
        self._augmented = self._bank.augmented()
        self._regions = regions
        self._kin = kin(bundle.manifest.good)

    def seen(self, image: GoodImage) -> GoodImage:
        """Return an image as the model sees it: aligned, where parts are; maps and boxes lie on this one.

        Raises:
            ImagesRefused: its part is not where it may be.
        """
        return aligned([image], self._manifest.pose)[0]

    def held_out(self, image: GoodImage, position: int) -> tuple[float, NDArray[np.float32]]:
        """Return score and map of a learned image by the rows of all others.

        Args:
            image: one that was learned from.
            position: among those.

        Returns:
            The score and the (GH, GW) map, zeros where nobody else brought a row.
        """
        own = np.isin(self._bank.origin, self._kin[position])
        pixels = checked(self.seen(image))
        placement = self._placed(pixels)
        if own.all():
            return float("nan"), np.zeros(placement.cells.shape, dtype=np.float32)
        self._graph.bind_bank(without(self._augmented, own))
        return self._graph.run(pixels, placement)

    def judged(self, image: GoodImage) -> tuple[float, NDArray[np.float32]]:
        """Return score and map of an image."""
        return self._run(checked(self.seen(image)))

    def _run(self, pixels: NDArray[np.uint8]) -> tuple[float, NDArray[np.float32]]:
        self._graph.bind_bank(self._augmented)
        return self._graph.run(pixels, self._placed(pixels))

    def trace(self, image: GoodImage, *, at: tuple[float, float] | None = None, count: int = 5) -> Trace:
        """Return which learned images vouch for a place in an image.

        Args:
            image: any.
            at: (x, y) in its pixels; None for where the map is highest.
            count: how many images to name at most.

        Raises:
            ConfigError: nothing is judged at that place, or the model keeps no patches.
        """
        if self._bank.form != "patches":
            raise ConfigError(
                f"a model of kind {self._manifest.kind} keeps no patches of its images: none vouches alone"
            )
        pixels = checked(self.seen(image))
        _, anomaly_map = self._run(pixels)
        placement = self._placed(pixels)
        pose = pose_of(image, self._manifest.pose)
        row, column = self._cell(placement, anomaly_map, at, pose)
        patch = self._graph.patches()[placement.cells[row, column]]
        return Trace(
            box=_in_frame(self._box_of(placement, row, column), pose),
            distance=float(placement.plain(anomaly_map)[row, column]),
            within=self._manifest.coverage,
            vouchers=self._vouchers(patch, count),
        )

    def _vouchers(self, patch: NDArray[np.float32], count: int) -> tuple[Voucher, ...]:
        rows, distance = near_duplicates(self._bank, patch, within=np.inf)
        _, first = np.unique(self._bank.origin[rows], return_index=True)
        near = np.bincount(self._bank.origin[rows[distance <= self._manifest.coverage]],
                           minlength=self._manifest.n_good)  # fmt: skip
        return tuple(
            Voucher(
                position=(position := int(self._bank.origin[rows[here]])),
                origin=self._manifest.good[position].origin,
                row=int(rows[here]),
                distance=float(distance[here]),
                duplicates=int(near[position]),
            )
            for here in np.sort(first)[:count]
        )

    def _cell(
        self,
        placement: Placement,
        anomaly_map: NDArray[np.float32],
        at: tuple[float, float] | None,
        pose: Pose | None,
    ) -> tuple[int, int]:
        if at is None:
            worst = int(anomaly_map.argmax())
            return worst // placement.cells.shape[1], worst % placement.cells.shape[1]
        x, y = at if pose is None else _on_reference(at, pose)
        layout = lay_out(placement.box, self._manifest.grid, self._manifest.tiling)
        row = int(np.searchsorted(layout.rows.edges_px[:, 1], y - placement.box[1], "right"))
        column = int(np.searchsorted(layout.columns.edges_px[:, 1], x - placement.box[0], "right"))
        if (
            x < placement.box[0]
            or y < placement.box[1]
            or row >= layout.shape[0]
            or column >= layout.shape[1]
            or not self._is_judged(placement, row, column)
        ):
            taught = "" if pose is None else f", which is {x:.0f},{y:.0f} of the taught part"
            raise ConfigError(
                f"--at {at[0]:g},{at[1]:g}{taught}: nothing is judged there; the box around what is inspected"
                f" is {','.join(map(str, placement.box))} (left, top, right, bottom)"
            )
        return row, column

    def _is_judged(self, placement: Placement, row: int, column: int) -> bool:
        patch = placement.cells[row, column]
        return bool(patch >= 0 and placement.mask.ravel()[patch] > 0)

    def _box_of(self, placement: Placement, row: int, column: int) -> Box:
        layout = lay_out(placement.box, self._manifest.grid, self._manifest.tiling)
        left, right = placement.box[0] + layout.columns.edges_px[column]
        top, bottom = placement.box[1] + layout.rows.edges_px[row]
        return round(left), round(top), round(right), round(bottom)

    def _placed(self, pixels: NDArray[np.uint8]) -> Placement:
        return place(
            height_px=pixels.shape[0],
            width_px=pixels.shape[1],
            regions=self._regions,
            size_px=self._graph.size_px,
            grid=self._graph.grid,
            tiling=self._manifest.tiling,
        )


def _on_reference(at: tuple[float, float], pose: Pose) -> tuple[float, float]:
    """Return where a place of a frame lies on the taught part."""
    x, y = np.linalg.solve(pose.matrix[:, :2], np.array(at) - pose.matrix[:, 2])
    return float(x), float(y)


def _in_frame(box: Box, pose: Pose | None) -> Box:
    """Return the box around where a box of the taught part lies in a frame."""
    if pose is None:
        return box
    left, top, right, bottom = box
    corners = np.array([(x, y, 1) for x in (left, right) for y in (top, bottom)]) @ pose.matrix.T  # (4, 2)
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return round(left), round(top), round(right), round(bottom)
