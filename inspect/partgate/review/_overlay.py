"""The anomaly map as a coloured, mostly transparent picture to lie over its frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partgate.review._recipe_content import Box, Limits

LONGEST_PX = 960
STRONGEST = 225
"""Of 255: what lies below a defect stays visible at full strength."""
TONES = (0.4, 0.9)
"""The stretch of the colour map in use: its dark end looks like a shadow, its pale end like glare."""
BRIGHTEST_SHARE = 3.0
"""The colour ends here, counted from the review threshold in distances to the reject threshold."""
OUTLINE_BGRA = (255, 255, 255, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a map lies in its frame and what its numbers mean."""

    width_px: int
    height_px: int
    box: Box
    """What of the frame the map covers."""
    limits: Limits | None
    """None: unknown; the map's own median and maximum then take their place."""


def overlay(anomaly_map: NDArray[np.float32], placement: Placement) -> NDArray[np.uint8]:
    """Return the map as a picture of the frame's shape.

    Good texture stays clear: below the review threshold the cover fades out within a quarter of
    the way between the thresholds; it is full at the reject threshold, from where the colour goes
    on to brighten. What lies at or above the review threshold has a white outline.

    Args:
        anomaly_map: (gh, gw) float32, higher is worse; numbers that are not finite count as good.

    Returns:
        (h, w, 4) uint8, blue, green, red, alpha; the longer side has at most `LONGEST_PX`.
    """
    shrink = min(1.0, LONGEST_PX / max(placement.width_px, placement.height_px))
    shape = (max(1, round(placement.height_px * shrink)), max(1, round(placement.width_px * shrink)))
    canvas = np.zeros((*shape, 4), np.uint8)  # (h, w, 4)
    window = _window(placement.box, shrink, shape)
    canvas[window] = _coloured(_finite(anomaly_map), canvas[window].shape[:2], placement.limits)
    return canvas


def _window(box: Box, shrink: float, shape: tuple[int, int]) -> tuple[slice, slice]:
    top = min(max(0, round(box.y * shrink)), shape[0] - 1)
    left = min(max(0, round(box.x * shrink)), shape[1] - 1)
    bottom = min(max(top + 1, round((box.y + box.height) * shrink)), shape[0])
    right = min(max(left + 1, round((box.x + box.width) * shrink)), shape[1])
    return slice(top, bottom), slice(left, right)


def _finite(anomaly_map: NDArray[np.float32]) -> NDArray[np.float32]:
    finite = anomaly_map[np.isfinite(anomaly_map)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return np.nan_to_num(anomaly_map, nan=low, posinf=high, neginf=low).astype(np.float32)


def _coloured(
    anomaly_map: NDArray[np.float32], shape: tuple[int, int], limits: Limits | None
) -> NDArray[np.uint8]:
    import cv2

    wide = _no_finer(anomaly_map, shape).astype(np.float64)
    known = limits or Limits(review=float(np.median(wide)), reject=float(wide.max()))
    # Clipped before it is smoothed: one huge cell must not ring across the picture.
    coarse = np.clip((wide - known.review) / _span(known), -1, BRIGHTEST_SHARE)  # 0 at review, 1 at reject
    share = cv2.resize(coarse.astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)  # (h, w)
    cover = np.clip((share + 0.25) / 1.25, 0, 1)
    tone = np.round(255 * np.interp(share, (0, BRIGHTEST_SHARE), TONES)).astype(np.uint8)
    picture = cv2.cvtColor(cv2.applyColorMap(tone, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2BGRA)
    picture[..., 3] = np.round(STRONGEST * cover * cover * (3 - 2 * cover)).astype(np.uint8)
    if limits is not None:
        contours, _ = cv2.findContours(
            (share >= 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(picture, contours, -1, OUTLINE_BGRA, 1, cv2.LINE_8)
    return np.asarray(picture, dtype=np.uint8)


def _no_finer(anomaly_map: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the map with no more cells than the picture has pixels, each the worst of several.

    A frame judged in many tiles may have a finer map than the picture: a defect of one cell must not
    fall between two pixels.
    """
    for axis, pixels in enumerate(shape):
        together = -(-anomaly_map.shape[axis] // pixels)
        if together > 1:
            starts = np.arange(0, anomaly_map.shape[axis], together)
            anomaly_map = np.maximum.reduceat(anomaly_map, starts, axis=axis)
    return anomaly_map


def _span(limits: Limits) -> float:
    """Return the distance from review to reject; never so small that the colour would be a step."""
    return max(limits.reject - limits.review, 0.2 * abs(limits.review), 1e-6)
