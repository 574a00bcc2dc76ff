"""What learning saw, ready for JSON: images and their sizes, copies, odd ones, the bank's origins."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partgate.retraining._deferred import DeferredImages
from partgate.retraining._region_facts import region_facts
from partgate_engines import Bundle
from partgate_engines.anomaly import GoodImage, Learned, SetAside, copy_groups, parts_of, rows_by_image

_NAMED = 8


def what_was_seen(learned: Learned, bundle: Bundle, given: Sequence[GoodImage]) -> dict[str, Any]:
    """Return what learning saw and what it came to, besides the thresholds.

    Args:
        learned: the product.
        bundle: as it was saved.
        given: the images that learning was given, set aside or not; none is decoded for it that was before.
    """
    return {
        "given_images": len(given),
        "sizes": _sizes(given),
        "parts": len(set(parts_of(learned.good))),
        "set_aside": [_aside(one) for one in learned.set_aside],
        "duplicates": duplicates(learned),
        "worst_good": _worst(learned),
        "bank": bank_facts(bundle),
        "regions": region_facts(learned.regions, learned.calibration.thresholds, learned.calibration),
    }


def duplicates(learned: Learned) -> dict[str, list[dict[str, Any]]]:
    """Return the groups of images that are copies, and of those that show the same part."""
    origins = [source.origin for source in learned.good]
    parts: dict[int, list[int]] = {}
    for position, part in enumerate(parts_of(learned.good)):
        parts.setdefault(part, []).append(position)
    copies = copy_groups(learned.good)
    exact = {frozenset(group) for group in copies}
    near = [group for group in parts.values() if len(group) > 1 and frozenset(group) not in exact]
    return {
        name: [{"images": [origins[n] for n in group], "positions": list(group)} for group in groups]
        for name, groups in (("copies", copies), ("same_part", near))
    }


def lowest(images: Sequence[GoodImage], scores: Sequence[float]) -> list[dict[str, Any]]:
    """Return the images with the lowest scores, the lowest first; not those that have none."""
    known = [n for n in np.argsort(scores, kind="stable") if np.isfinite(scores[n])]
    return [
        {"image": images[n].origin, "position": n, "score": round(float(scores[n]), 6)}
        for n in map(int, known[:_NAMED])
    ]


def bank_facts(bundle: Bundle) -> dict[str, Any]:
    """Return the size of what was learned, and which images brought most of its rows."""
    manifest = bundle.manifest
    bank = bundle.bank()
    facts: dict[str, Any] = {
        "rows": manifest.bank_rows,
        "asked_for": manifest.bank_rows_learned,
        "features": manifest.features,
        "coverage": manifest.coverage,
    }
    if bank.form != "patches":
        return facts
    rows = rows_by_image(bank, manifest.n_good)
    first = np.argsort(-rows, kind="stable")[:_NAMED]
    facts["images"] = int((rows > 0).sum())
    facts["most_rows"] = [
        {"image": manifest.good[position].origin, "rows": int(rows[position])} for position in first
    ]
    return facts


def _sizes(given: Sequence[GoodImage]) -> list[dict[str, int]]:
    if isinstance(given, DeferredImages):
        found = Counter(given.shape(position) for position in range(len(given)))
    else:
        found = Counter(image.pixels.shape for image in given)
    return [
        {"width_px": shape[1], "height_px": shape[0], "channels": (*shape, 1)[2], "images": count}
        for shape, count in found.most_common(_NAMED)
    ]


def _aside(one: SetAside) -> dict[str, Any]:
    return {
        "image": one.origin,
        "position": one.position,
        "sha256": one.pixels_sha256,
        "score": round(one.score, 6),
        "limit": round(one.limit, 6),
    }


def held_out(learned: Learned) -> NDArray[np.float32]:
    """Return the held-out score of every learned image, not a number where it has none: (n,) float32."""
    if len(learned.held_out_scores) != len(learned.good):
        return np.full(len(learned.good), np.nan, dtype=np.float32)  # of one image, its mirrors were scored
    return learned.held_out_scores


def _worst(learned: Learned) -> list[dict[str, Any]]:
    """Return the learned images with the highest held-out scores, the worst first."""
    scores = np.nan_to_num(held_out(learned), nan=-np.inf)
    order = [int(n) for n in np.argsort(-scores, kind="stable")[:_NAMED] if np.isfinite(scores[n])]
    return [
        {"image": learned.good[n].origin, "position": n, "score": round(float(scores[n]), 6)} for n in order
    ]
