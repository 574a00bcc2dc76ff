"""In which of a recipe's named regions the worst place of a frame lies."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partgate.review._recipe_content import Box, NamedRegion


def worst_region(anomaly_map: NDArray[np.float32], box: Box, regions: Sequence[NamedRegion]) -> str | None:
    """Return the name of the region in which the map is highest; where several lie there, the smallest.

    Args:
        anomaly_map: (gh, gw) float32, as it was weighed for the score.
        box: what of the frame it covers.
        regions: of the frame's camera.

    Returns:
        None where no region lies within a cell of that place.
    """
    import cv2

    if not regions or not np.isfinite(anomaly_map).any():
        return None
    row, column = np.unravel_index(np.nanargmax(anomaly_map), anomaly_map.shape)
    across, down = box.width / anomaly_map.shape[1], box.height / anomaly_map.shape[0]
    place = (float(box.x + (column + 0.5) * across), float(box.y + (row + 0.5) * down))
    inside = {r.name: cv2.pointPolygonTest(r.polygon, place, measureDist=True) for r in regions}
    holding = [region for region in regions if inside[region.name] >= 0]
    if holding:
        return min(holding, key=lambda region: cv2.contourArea(region.polygon)).name
    # At the edge of what is inspected a cell is judged if any of it lies in a region.
    nearest = max(inside, key=inside.__getitem__)
    return nearest if inside[nearest] >= -max(across, down) else None
