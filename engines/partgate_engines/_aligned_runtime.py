"""A runtime that looks for the part first, and judges the frame as if it lay where it was taught."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from partgate_engines._errors import PartNotLocated
from partgate_engines._pose import Locator, Matrix, Pose, PoseReference
from partgate_engines._runtime import AnomalyResult, FrameScore, Runtime, with_channels
from partgate_engines._tiles import Box
from partgate_station import PartgateError, Region


class AlignedRuntime:
    """Judges parts that move; regions are where they are on the taught part."""

    def __init__(self, runtime: Runtime, reference: PoseReference) -> None:
        """Judge with this runtime, which is closed with this one.

        Args:
            runtime: judges what is aligned.
            reference: what parts are aligned to.
        """
        self.unaligned = runtime
        """Judges frames as they are."""

        self._locator = Locator(reference)

    @property
    def name(self) -> str:
        """The runtime's kind."""
        return self.unaligned.name

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        """Judge one frame; the map lies over the frame as it was given.

        Raises:
            PartNotLocated: there is no part to judge, or it lies too far off.
            FrameRefused: see `Runtime.judge`.
            ConfigError: see `Runtime.judge`.
        """
        shaped = with_channels(frame)
        pose = self._locator.locate(shaped)
        result = self.unaligned.judge(self._locator.aligned(shaped, pose), regions)
        return _laid_over(result, pose, width_px=shaped.shape[1], height_px=shaped.shape[0])

    def scores(
        self, frames: Sequence[NDArray[np.uint8]], regions: Sequence[tuple[Region, ...]]
    ) -> tuple[FrameScore, ...]:
        """Score the frames of a part; `PartNotLocated` is one of the errors that are returned."""
        found = [self._aligned(frame) for frame in frames]
        judged = [number for number, frame in enumerate(found) if not isinstance(frame, PartgateError)]
        scores = self.unaligned.scores(
            [frame for frame in found if not isinstance(frame, PartgateError)],
            [regions[number] for number in judged],
        )
        scored = dict(zip(judged, scores, strict=True))
        return tuple(
            frame if isinstance(frame, PartgateError) else scored[number]
            for number, frame in enumerate(found)
        )

    def close(self) -> None:
        """Release the device."""
        self.unaligned.close()

    def _aligned(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8] | PartgateError:
        try:
            shaped = with_channels(frame)
            return self._locator.aligned(shaped, self._locator.locate(shaped))
        except PartNotLocated as error:
            return error
        except PartgateError as error:
            return error


def unaligned(runtime: Runtime) -> Runtime:
    """Return what judges frames as they are: golden frames show no part that could be looked for."""
    return runtime.unaligned if isinstance(runtime, AlignedRuntime) else runtime


def _laid_over(result: AnomalyResult, pose: Pose, *, width_px: int, height_px: int) -> AnomalyResult:
    """Return a result whose map lies over the part where the frame shows it."""
    import cv2

    left, top, right, bottom = result.box or (0, 0, width_px, height_px)
    corners = np.array([(x, y, 1.0) for x in (left, right) for y in (top, bottom)])
    xs, ys = pose.matrix @ corners.T
    box: Box = (
        int(np.clip(np.floor(xs.min()), 0, width_px - 1)),
        int(np.clip(np.floor(ys.min()), 0, height_px - 1)),
        int(np.clip(np.ceil(xs.max()), 1, width_px)),
        int(np.clip(np.ceil(ys.max()), 1, height_px)),
    )
    height, width = result.anomaly_map.shape
    from_cells = _cells_to_pixels(box, width, height)
    to_cells = np.linalg.inv(_cells_to_pixels((left, top, right, bottom), width, height))
    back = np.linalg.inv(np.vstack([pose.matrix, (0, 0, 1)]))
    moved = cv2.warpAffine(
        result.anomaly_map, (to_cells @ back @ from_cells)[:2], (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )  # fmt: skip
    laid = np.array(moved, dtype=np.float32)
    laid.setflags(write=False)
    return replace(result, anomaly_map=laid, box=box)


def _cells_to_pixels(box: Box, width: int, height: int) -> Matrix:
    """Return what takes the middle of a map's cell (column, row, 1) to a pixel of the frame."""
    left, top, right, bottom = box
    across, down = (right - left) / width, (bottom - top) / height
    return np.array([[across, 0, left + across / 2 - 0.5], [0, down, top + down / 2 - 0.5], [0, 0, 1]])
