"""The limits of a recipe's regions, ready for JSON, and the sensitivity that a limit takes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from partgate_engines import Calibration, RegionEvidence
from partgate_station import ConfigError, Region, Thresholds


def region_facts(
    regions: Sequence[Region], thresholds: Thresholds, calibration: Calibration
) -> list[dict[str, Any]]:
    """Return what there is to say of every inspect region with a name or a sensitivity, ready for JSON.

    `thresholds` are the region's own: what a part's worst patches have to be away from good ones, on
    average, if all of them lie in it. `good_parts` are on the same scale.
    """
    known = {one.name: one for one in calibration.regions}
    facts = []
    for region in regions:
        if region.name is None and region.sensitivity is None:
            continue
        one = known.get(region.name or "")
        facts.append(
            {
                "name": region.name,
                "sensitivity": region.weight,
                "set_by": _set_by(region, one),
                "thresholds": {
                    name: getattr(thresholds, name) / region.weight for name in ("review", "reject")
                },
                "good_parts": None if one is None or not one.scores else _spread(one.scores),
            }
        )
    return facts


def _set_by(region: Region, one: RegionEvidence | None) -> str:
    if region.sensitivity is None:
        return "nobody"
    return one.set_by if one is not None and one.sensitivity == region.weight else "recipe"


def _spread(scores: Sequence[float]) -> dict[str, Any]:
    return {
        "n": len(scores),
        "median": round(float(np.median(scores)), 6),
        "highest": round(max(scores), 6),
    }


def sensitivity_for(name: str, thresholds: Thresholds, reject: float) -> float:
    """Return the sensitivity by which a region rejects from a score on.

    Raises:
        ConfigError: it would be out of range; says what may be asked for.
    """
    least, most = (thresholds.reject / one for one in reversed(Region.SENSITIVITIES))
    if thresholds.reject <= 0 or not least <= reject <= most:
        raise ConfigError(
            f"region '{name}': --reject {reject:g}; the part's is {thresholds.reject:g}, and a region's own"
            f" may lie from {least:.6g} to {most:.6g}. Nothing was changed"
        )
    return thresholds.reject / reject
