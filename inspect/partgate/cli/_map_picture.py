"""An image with its anomaly map laid over it, as the review site shows it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from partgate.review import Limits, Placement, inspected_box, noted_box, overlay
from partgate_station import Recipe

GREY_DIMENSIONS = 2
# As strong as the review site shows it at first: the defect stays visible below.
STRENGTH = 0.45


def map_picture(
    image: NDArray[np.uint8],
    anomaly_map: NDArray[np.float32],
    recipe: Recipe,
    *,
    map_box: tuple[int, int, int, int] | None = None,
    own_scale: bool = False,
) -> NDArray[np.uint8]:
    """Return the image, its longer side at most 960 px, with the map over what was judged.

    Args:
        image: (h, w) grey or (h, w, 3) RGB.
        anomaly_map: (gh, gw) float32.
        recipe: with regions, and the thresholds between which the map's colours lie.
        map_box: (left, top, right, bottom) of what the map covers; None for the box around what the recipe
            inspects, which it is unless the part was aligned.
        own_scale: colours lie between the map's own median and maximum instead.

    Returns:
        (h, w, 3) uint8, blue, green, red.
    """
    height_px, width_px = image.shape[:2]
    box = noted_box(map_box) or inspected_box(
        recipe.model_dump(mode="json"), "", width_px=width_px, height_px=height_px
    )
    thresholds = recipe.thresholds
    limits = None if own_scale else Limits(review=thresholds.review, reject=thresholds.reject)
    cover = overlay(anomaly_map, Placement(width_px=width_px, height_px=height_px, box=box, limits=limits))
    code = cv2.COLOR_GRAY2BGR if image.ndim == GREY_DIMENSIONS else cv2.COLOR_RGB2BGR
    below = cv2.resize(cv2.cvtColor(image, code), cover.shape[1::-1], interpolation=cv2.INTER_AREA)
    alpha = STRENGTH * cover[:, :, 3:].astype(np.float32) / 255
    return np.asarray(np.rint(below * (1 - alpha) + cover[:, :, :3] * alpha), np.uint8)
