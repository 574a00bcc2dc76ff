"""What the site reads in a stored recipe, leniently: one of a later version may hold keys not known here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The two thresholds of the recipe that judged a part."""

    review: float
    reject: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle in a frame, in pixels; the upper left corner and the size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRegion:
    """A region that is inspected, in pixels of the frame."""

    name: str
    camera_id: str | None
    """None: every camera's."""

    polygon: NDArray[np.float32]
    """(n, 1, 2), x and y."""


def named_regions(content: Mapping[str, Any] | None) -> tuple[NamedRegion, ...]:
    """Return the named inspect regions of a stored recipe; those that cannot be read are left out."""
    listed = (content or {}).get("regions")
    found = (_named(region) for region in (listed if isinstance(listed, list) else ()))
    return tuple(region for region in found if region is not None)


def _named(region: object) -> NamedRegion | None:
    if not isinstance(region, Mapping) or region.get("use", "inspect") != "inspect" or not region.get("name"):
        return None
    try:
        polygon = np.array(region.get("polygon"), dtype=np.float32).reshape(-1, 1, 2)
    except (TypeError, ValueError):
        return None
    return NamedRegion(name=str(region["name"]), camera_id=region.get("camera_id"), polygon=polygon)


def limits_in(content: Mapping[str, Any] | None) -> Limits | None:
    """Return the thresholds in a stored recipe, None where they cannot be read.

    Read leniently: a recipe of a later version may hold keys that this one does not know.
    """
    thresholds = (content or {}).get("thresholds")
    if not isinstance(thresholds, Mapping):
        return None
    review, reject = (thresholds.get(name) for name in ("review", "reject"))
    if not (is_finite(review) and is_finite(reject)):
        return None
    return Limits(review=review, reject=reject)


def is_finite(value: object) -> TypeGuard[float]:
    """Return whether a value out of JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def noted_box(corners: Sequence[int] | None) -> Box | None:
    """Return the box that a frame's row names: left, top, right, bottom; None where it names none."""
    if corners is None:
        return None
    left, top, right, bottom = corners
    return Box(x=left, y=top, width=right - left, height=bottom - top)


def inspected_box(content: Mapping[str, Any] | None, camera_id: str, *, width_px: int, height_px: int) -> Box:
    """Return what of a camera's frame a stored recipe judges: the box around its inspect regions.

    Read leniently, like everything out of a stored recipe; the whole frame where nothing is said.
    """
    points = [
        point
        for region in _sequence((content or {}).get("regions"))
        if isinstance(region, Mapping)
        and region.get("use", "inspect") == "inspect"
        and region.get("camera_id") in (None, camera_id)
        for point in _sequence(region.get("polygon"))
        if _is_point(point)
    ]
    if not points:
        return Box(x=0, y=0, width=width_px, height=height_px)
    # Outwards to whole pixels, as the graph's resize crops.
    left, top = (max(0, math.floor(min(axis))) for axis in zip(*points, strict=True))
    right, bottom = (math.ceil(max(axis)) for axis in zip(*points, strict=True))
    return Box(x=left, y=top, width=min(right, width_px) - left, height=min(bottom, height_px) - top)


def _sequence(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _is_point(point: object) -> bool:
    return (
        isinstance(point, list | tuple)
        and len(point) == 2  # noqa: PLR2004 - x and y
        and all(is_finite(number) for number in point)
    )
