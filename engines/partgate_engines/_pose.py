"""Where a part lies in its frame against a taught reference: moved, turned, nearer or farther.

    frame --> sketch --> coarse search of turn and scale, refined --> Pose --> frame as if it lay there

A frame whose part is not there, or lies farther off than allowed, is refused: a score of it would say
something of its place, not of the part.
"""

import base64
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from partgate_engines._errors import PartNotLocated
from partgate_engines._similarity import refine

SKETCH_PX = 128  # along the longer side; at 160 no better, and slower (docs/decisions/0022)
COARSE_PX = 64
_STEP_DEG, _STEP_SCALE = 4.0, 0.06  # of the coarse search: as far apart as refining bridges
_BLUR_PX = 5
_QUIET = 1.0  # grey levels: a picture without differences shows no part

Matrix = NDArray[np.float64]


class PoseLimits(BaseModel):
    """How far off a part may lie; farther is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    shift: Annotated[float, Field(gt=0, le=0.5)] = 0.15
    """Of the frame's width or height."""

    turn_deg: Annotated[float, Field(ge=0, le=180)] = 15.0
    scale: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """0.1: from 0.9 to 1.1 times as large."""


class PoseReference(BaseModel):
    """A taught part, to which those of other frames are aligned."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sketch: str
    """PNG in base64: the part's picture, grey, 128 px along its longer side."""

    width_px: Annotated[int, Field(ge=1)]
    """Of the frames."""

    height_px: Annotated[int, Field(ge=1)]
    limits: PoseLimits = PoseLimits()
    least_likeness: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """Correlation of an aligned frame with the sketch below which there is no part."""

    @classmethod
    def of(
        cls, pixels: NDArray[np.uint8], limits: PoseLimits, *, least_likeness: float = 0.0
    ) -> "PoseReference":
        """Take a frame's part as the reference.

        Args:
            pixels: (h, w), (h, w, 1) or (h, w, 3) uint8.
            limits: how far off others may lie.
            least_likeness: see the attribute.
        """
        import cv2

        sketch = _sketch(pixels, SKETCH_PX)
        _, png = cv2.imencode(".png", np.clip(np.round(sketch), 0, 255).astype(np.uint8))
        return cls(
            sketch=base64.b64encode(png.tobytes()).decode("ascii"),
            width_px=pixels.shape[1],
            height_px=pixels.shape[0],
            limits=limits,
            least_likeness=least_likeness,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """Where a part lies against the reference."""

    matrix: Matrix
    """(2, 3): from a pixel (x, y, 1) of the reference's frame to that of the frame that shows it."""

    likeness: float
    """Correlation of the aligned frame with the reference, -1 to 1."""

    right_px: float
    """How far the middle of the reference has moved."""

    down_px: float
    turn_deg: float
    """Clockwise, as a person sees the picture."""

    scale: float
    """How many times as large the part is."""

    def text(self) -> str:
        """Return it in a person's words."""
        return (
            f"{self.right_px:+.1f} px right, {self.down_px:+.1f} px down, turned {self.turn_deg:+.1f}"
            f" degrees, {self.scale:.3f} times as large, likeness {self.likeness:.2f}"
        )


class Locator:
    """Finds the part of one reference in frames of its size. For one thread."""

    def __init__(self, reference: PoseReference) -> None:
        """Prepare the search."""
        import cv2

        self._reference = reference
        decoded = cv2.imdecode(np.frombuffer(base64.b64decode(reference.sketch), np.uint8), 0)
        if decoded is None:
            raise PartNotLocated(
                "the reference that parts are aligned to is no picture; learn the product again"
            )
        self._sketch = _edges(decoded.astype(np.float32))
        height, width = self._sketch.shape
        self._blurred = _blurred(self._sketch)
        self._coarse = _resized(self._sketch, COARSE_PX)
        # Of whole pixels on both sides, so that a sketch's pixels are not quite square.
        self._to_sketch = _scaling(width / reference.width_px, height / reference.height_px)

    def locate(self, pixels: NDArray[np.uint8]) -> Pose:
        """Return where the part lies.

        Args:
            pixels: (h, w), (h, w, 1) or (h, w, 3) uint8, as large as the reference.

        Raises:
            PartNotLocated: another size, no part like the reference, or one too far off.
        """
        self._check_size(pixels)
        grey = _sketch(pixels, SKETCH_PX)
        if float(grey.std()) < _QUIET:
            raise PartNotLocated("no part is seen: the frame shows nothing but one grey")
        sketch = _edges(grey)
        likeness, matrix = self._refined(sketch, np.eye(3))
        if likeness < self._settled:
            coarse = self._searched(sketch)
            found = self._refined(sketch, coarse)
            likeness, matrix = max((likeness, matrix), found, key=lambda one: one[0])
        pose = self._pose(likeness, matrix)
        self._check(pose)
        return pose

    def aligned(self, pixels: NDArray[np.uint8], pose: Pose) -> NDArray[np.uint8]:
        """Return a frame as if its part lay where the reference's does; the border is repeated outwards."""
        import cv2

        size = (pixels.shape[1], pixels.shape[0])
        warped = cv2.warpAffine(
            pixels, pose.matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        return np.asarray(warped.reshape(pixels.shape), dtype=np.uint8)

    @cached_property
    def _settled(self) -> float:
        """The likeness from which on no better pose is looked for: that of a part that is there."""
        return max(self._reference.least_likeness, 0.8)

    def _check_size(self, pixels: NDArray[np.uint8]) -> None:
        wanted = (self._reference.height_px, self._reference.width_px)
        if pixels.shape[:2] != wanted:
            raise PartNotLocated(
                f"a frame of {pixels.shape[1]}×{pixels.shape[0]} px; the reference that parts are aligned to"
                f" has {wanted[1]}×{wanted[0]} px"
            )

    def _searched(self, sketch: NDArray[np.float32]) -> Matrix:
        """Return the best of all turns and scales that are allowed, each with its best shift: (3, 3)."""
        import cv2

        coarse = _resized(sketch, COARSE_PX)
        height, width = coarse.shape
        window = cv2.createHanningWindow((width, height), cv2.CV_32F)
        limits, best = self._reference.limits, (-np.inf, np.eye(3))
        for turn, scale in product(_steps(limits.turn_deg, _STEP_DEG), 1 + _steps(limits.scale, _STEP_SCALE)):
            turned = _about_middle(width, height, turn_deg=turn, scale=scale)
            back = cv2.warpAffine(
                coarse, turned[:2], (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )  # fmt: skip
            (right, down), response = cv2.phaseCorrelate(self._coarse, back, window)
            if response > best[0]:
                best = (response, turned @ _moving(right, down))
        up = _scaling(sketch.shape[1] / width, sketch.shape[0] / height)
        return np.asarray(up @ best[1] @ np.linalg.inv(up))

    def _refined(self, sketch: NDArray[np.float32], start: Matrix) -> tuple[float, Matrix]:
        """Return the likeness and the pose near `start`: (3, 3), between sketches."""
        matrix = refine(self._blurred, _blurred(sketch), start)
        return self._likeness(sketch, matrix), matrix

    def _likeness(self, sketch: NDArray[np.float32], matrix: Matrix) -> float:
        """Return the correlation of a sketch, aligned, with the reference, where both show something."""
        import cv2

        height, width = self._sketch.shape
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        back = cv2.warpAffine(sketch, matrix[:2], (width, height), flags=flags)
        seen = cv2.warpAffine(np.ones_like(sketch), matrix[:2], (width, height), flags=flags) > 0.999  # noqa: PLR2004
        if seen.mean() < 0.5:  # noqa: PLR2004 - half of the reference is out of sight
            return -1.0
        ours, theirs = self._sketch[seen], back[seen]
        if min(float(ours.std()), float(theirs.std())) < _QUIET:
            return -1.0
        return float(((ours - ours.mean()) * (theirs - theirs.mean())).mean() / (ours.std() * theirs.std()))

    def _pose(self, likeness: float, between_sketches: Matrix) -> Pose:
        whole = np.linalg.inv(self._to_sketch) @ between_sketches @ self._to_sketch
        middle = np.array([(self._reference.width_px - 1) / 2, (self._reference.height_px - 1) / 2, 1.0])
        right, down = (whole @ middle - middle)[:2]
        return Pose(
            matrix=np.ascontiguousarray(whole[:2]),
            likeness=likeness,
            right_px=float(right),
            down_px=float(down),
            turn_deg=float(np.degrees(np.arctan2(between_sketches[1, 0], between_sketches[0, 0]))),
            scale=float(np.sqrt(abs(np.linalg.det(between_sketches[:2, :2])))),
        )

    def _check(self, pose: Pose) -> None:
        reference, limits = self._reference, self._reference.limits
        if pose.likeness < reference.least_likeness:
            raise PartNotLocated(
                f"no part like the reference is seen: likeness {pose.likeness:.2f}, at least"
                f" {reference.least_likeness:.2f} is needed"
            )
        beyond = [
            text
            for text, value, limit in (
                (f"{pose.right_px:+.0f} px to the right", pose.right_px / reference.width_px, limits.shift),
                (f"{pose.down_px:+.0f} px down", pose.down_px / reference.height_px, limits.shift),
                (f"turned {pose.turn_deg:+.1f} degrees", pose.turn_deg, limits.turn_deg),
                (f"{pose.scale:.3f} times as large", pose.scale - 1, limits.scale),
            )
            if abs(value) > limit
        ]
        if beyond:
            raise PartNotLocated(
                f"the part lies too far off: {', '.join(beyond)}; allowed are {limits.shift:.0%} of the"
                f" frame, {limits.turn_deg:g} degrees, {limits.scale:.0%} in size"
            )


def _sketch(pixels: NDArray[np.uint8], longer_px: int) -> NDArray[np.float32]:
    """Return a frame small and grey: (h, w) float32."""
    import cv2

    small = _resized(pixels, longer_px)
    if small.ndim == 3 and small.shape[2] == 3:  # noqa: PLR2004 - rows, columns, colours
        small = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return np.asarray(small.reshape(small.shape[:2]), dtype=np.float32)


def _resized(picture: NDArray[Any], longer_px: int) -> NDArray[Any]:
    import cv2

    height, width = picture.shape[:2]
    factor = min(longer_px / max(height, width), 1.0)
    size = (max(round(width * factor), 8), max(round(height * factor), 8))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def _edges(sketch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return where a sketch changes, 0 to 255: outlines stay where light and texture differ between parts."""
    import cv2

    smooth = cv2.GaussianBlur(sketch, (0, 0), 1.0)
    right, down = (cv2.Sobel(smooth, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    strength = np.sqrt(cv2.magnitude(right, down))  # the root: faint outlines count beside strong ones
    return np.asarray(strength * (255 / max(float(strength.max()), _QUIET)), dtype=np.float32)


def _blurred(sketch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a sketch whose grey levels lead the refinement from a few pixels away."""
    import cv2

    return np.asarray(cv2.GaussianBlur(sketch, (0, 0), _BLUR_PX / 3))


def _steps(limit: float, step: float) -> NDArray[np.float64]:
    """Return values from -limit to limit, at most `step` apart, 0 among them."""
    count = int(np.ceil(limit / step))
    return np.linspace(-limit, limit, 2 * count + 1) if count else np.zeros(1)


def _scaling(right: float, down: float) -> Matrix:
    """Return what takes pixel centres of one picture to those of another that is so many times as large."""
    return np.array([[right, 0, (right - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]], dtype=np.float64)


def _moving(right: float, down: float) -> Matrix:
    return np.array([[1, 0, right], [0, 1, down], [0, 0, 1]], dtype=np.float64)


def _about_middle(width: int, height: int, *, turn_deg: float, scale: float) -> Matrix:
    turn = np.radians(turn_deg)
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    middle = _moving((width - 1) / 2, (height - 1) / 2)
    return np.asarray(middle @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.linalg.inv(middle))
