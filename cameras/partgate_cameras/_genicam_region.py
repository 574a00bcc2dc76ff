"""Binning and region of a GenICam camera, set in it, so that less has to come over the cable.

Source: the GenICam Standard Features Naming Convention (SFNC), image format control.
"""

from collections.abc import Mapping
from typing import Any

from partgate_cameras._errors import FeatureError
from partgate_cameras._features import WRITABLE, find_node, read, set_features
from partgate_station import FeatureValue, GenicamCamera

BEFORE_REGION = ("RegionSelector", "BinningSelector", "PixelFormat")
"""Features that decide what binning and region are of, or in what steps they come."""

_OFFSETS = ("OffsetX", "OffsetY")


def set_picture(node_map: Any, config: GenicamCamera) -> None:
    """Set binning and region, and read each feature back.

    The offsets go to 0 first, because size and offset share the sensor; then binning, because it changes how
    large a region may be; then the size, and the offsets last. Nothing is rounded: what the camera cannot do
    is an error that says what it can.

    Args:
        node_map: the remote device's, from harvesters.
        config: with or without either.

    Raises:
        FeatureError: names the feature, the value requested, and what is allowed.
    """
    if config.region is not None:
        set_features(node_map, _reset(node_map))
    if config.binning is not None:
        set_features(node_map, {"BinningHorizontal": config.binning, "BinningVertical": config.binning})
    if config.region is not None:
        region = config.region
        set_features(node_map, {"Width": region.width_px, "Height": region.height_px})
        offsets = {"OffsetX": region.x_px, "OffsetY": region.y_px}
        # A camera that always begins at 0 need not have them.
        set_features(node_map, {name: px for name, px in offsets.items() if px or _settable(node_map, name)})


def check_picture(node_map: Any, config: GenicamCamera) -> None:
    """Read binning and region once more, when all other features are set, of which some change them.

    Raises:
        FeatureError: names the feature, the value requested, and what it became.
    """
    requested: dict[str, int] = {}
    if config.binning is not None:
        requested |= {"BinningHorizontal": config.binning, "BinningVertical": config.binning}
    if config.region is not None:
        region = config.region
        requested |= {"Width": region.width_px, "Height": region.height_px}
        requested |= {"OffsetX": region.x_px, "OffsetY": region.y_px}
    for name, value in requested.items():
        actual = read(node_map, name)
        if actual is not None and actual != value:
            raise FeatureError(
                f"feature {name}: requested {value}, and {actual} when the other features were set:"
                " one of them changes it"
            )


def _reset(node_map: Any) -> Mapping[str, FeatureValue]:
    return {name: 0 for name in _OFFSETS if _settable(node_map, name) and read(node_map, name) != 0}


def _settable(node_map: Any, name: str) -> bool:
    node = find_node(node_map, name)
    return node is not None and node.get_access_mode() in WRITABLE
