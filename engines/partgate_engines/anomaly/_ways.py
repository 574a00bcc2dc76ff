"""The ways of looking at a product that are compared where learning is left to choose."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from partgate_engines._manifest import Contrast, KindName
from partgate_engines._tiles import Box, lay_out
from partgate_engines.anomaly._settings import Choosable, LearnSettings
from partgate_engines.anomaly._weights import PACKAGED_BACKBONE
from partgate_station import ConfigError

Candidates = Callable[[LearnSettings, Box], tuple[LearnSettings, ...]]
"""Returns what is compared with the settings found so far, cheapest first, for images of a box."""

Counted = Literal["mean", "weakest"]
"""Of the sizes: all alike, or the one told apart least."""

CONTRASTS: tuple[Contrast, ...] = ("global", "local")
LAYERS = (("blocks.2", "blocks.4"), ("blocks.4", "blocks.6"))

_STRIDE_PX = 8  # of a patch of the usual layers, for how many tiles there are


def scales(settings: LearnSettings, box: Box) -> tuple[LearnSettings, ...]:
    """Return tiles of twice the graph's size and of its size, where what is inspected is larger."""
    longer_px = max(box[2] - box[0], box[3] - box[1])
    every = (replace(settings, tile_px=factor * settings.size_px) for factor in (2, 1))
    return tuple(one for one in every if (one.tile_px or 0) < longer_px and tiles_of(one, box))


def layers(settings: LearnSettings, box: Box) -> tuple[LearnSettings, ...]:
    """Return the other layers."""
    del box
    return tuple(replace(settings, layers=names) for names in LAYERS if names != settings.layers)


def contrasts(settings: LearnSettings, box: Box) -> tuple[LearnSettings, ...]:
    """Return the other contrast."""
    del box
    return tuple(replace(settings, contrast=one) for one in CONTRASTS if one != settings.contrast)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Ways that are compared with the one found so far, and by what."""

    candidates: Candidates
    counted: Counted


def stages(settings: LearnSettings) -> tuple[Stage, ...]:
    """Return what is compared, one after the other: each begins with what the one before it found.

    The scale decides which defects can be seen at all, so it is judged by the size that is seen worst: what
    larger ones lose in tiles must not outweigh that the smallest are seen. Whoever does not know what
    defects will come has nothing of a mean over sizes one of which always escapes.
    """
    every = {
        "tile_px": Stage(candidates=scales, counted="weakest"),
        "layers": Stage(candidates=layers, counted="mean"),
        "contrast": Stage(candidates=contrasts, counted="mean"),
    }
    return tuple(stage for name, stage in every.items() if name in settings.auto)


def choosable(kind: KindName, backbone: str) -> tuple[Choosable, ...]:
    """Return what can be chosen for a kind; some have layers or a contrast of their own.

    Args:
        kind: of model; patchcore, the usual one, may be left for another.
        backbone: layers, and another kind, are known of the packaged one only.
    """
    found: list[Choosable] = ["tile_px"]
    if backbone == PACKAGED_BACKBONE and kind not in {"drawn", "reverse-distillation"}:
        found.append("layers")
    if kind != "drawn":
        found.append("contrast")
    if backbone == PACKAGED_BACKBONE and kind == "patchcore":
        found.append("kind")
    return tuple(found)


def tiles_of(settings: LearnSettings, box: Box) -> int:
    """Return how many tiles a box is; 0 if it would be more than are judged."""
    patches = settings.size_px // _STRIDE_PX
    try:
        return len(lay_out(box, (patches, patches), settings.tiling((patches, patches))).corners)
    except ConfigError:
        return 0


def named(settings: LearnSettings) -> str:
    """Return what a way of looking is called in the progress."""
    scale = "whole frames" if settings.tile_px is None else f"tiles of {settings.tile_px} px"
    return f"trying {scale}, {settings.contrast} contrast, {'+'.join(settings.layers)}"
