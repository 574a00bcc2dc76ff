"""What tile size, layers and contrast were chosen from, in the terminal and on the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from partgate.cli._output import out, print_table, table

_LEAST_SAID = "at least 10 good images, of several parts in each half"


def print_trials(trials: Sequence[dict[str, Any]], kind: str) -> None:
    """Say what was chosen, and from what; or why nothing was."""
    found = trial_table(trials, kind)
    if found is None:
        out.print(f"Nothing was chosen: nothing to compare, or too few images; it takes {_LEAST_SAID}.")
        return
    out.print(f"Chosen: {found.chosen}, by {found.source}.", markup=False)
    rows = [
        (
            "chosen" if row.is_chosen else "",
            *row.words,
            *(f"{share:.1f}" for share in row.shares),
            *row.figures,
        )
        for row in found.rows
    ]
    print_table(
        table("In how many of 100 pairs the image with a defect scored higher:", ("", *found.columns), rows)
    )
    out.print(f"With images of real defects compare {found.other_kind} by --defects.")


def chosen_of(trials: Sequence[dict[str, Any]]) -> int:
    """Return the number of the trial that was chosen.

    Models from before trials said so compared all of them with the first and took the best.
    """
    taken = [number for number, trial in enumerate(trials) if trial.get("taken")]
    if taken:
        return taken[-1]
    best = max(range(len(trials)), key=lambda number: trials[number]["auroc"])
    return best if trials[best]["auroc"] - trials[0]["auroc"] > trials[best]["error"] else 0


def way_of(trial: dict[str, Any]) -> str:
    """Return how a trial looked at frames, in words."""
    return f"{frames_of(trial)}, {trial['contrast']} contrast, layers {','.join(trial['layers'])}"


def frames_of(trial: dict[str, Any]) -> str:
    """Return what of a frame a trial looked at in one piece."""
    tile_px = trial.get("tile_px")
    return "whole frames" if tile_px is None else f"{trial['tiles']} tiles of {tile_px} px"


def source_of(trial: dict[str, Any]) -> str:
    """Return what a trial rests on."""
    return f"{trial['drawn_defects']} defects drawn on {trial['good_images']} good images"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """A way of looking in a table."""

    is_chosen: bool
    words: tuple[str, ...]
    """Frames, contrast and layers."""

    shares: tuple[float, ...]
    """Of 100 pairs, for each size and on average."""

    figures: tuple[str, str]
    """What it gained over the one it was compared with, and what a frame took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTable:
    """All ways that were tried."""

    chosen: str
    source: str
    other_kind: str
    """The options by which the next kind worth a comparison looks at the same tiles."""

    columns: tuple[str, ...]
    rows: tuple[TrialRow, ...]


def trial_table(trials: Sequence[dict[str, Any]], kind: str) -> TrialTable | None:
    """Return what was chosen from what; None where nothing was compared.

    Args:
        trials: as a manifest has them.
        kind: of model; drawn has layers and a contrast of its own.
    """
    if not trials:
        return None
    chosen = chosen_of(trials)
    sizes = [_size_name(size) for size in trials[0].get("by_size", ())]
    return TrialTable(
        chosen=f"drawn, {frames_of(trials[chosen])}" if kind == "drawn" else way_of(trials[chosen]),
        source=source_of(trials[chosen]),
        other_kind=_other_kind(trials[chosen], kind),
        columns=("frames", "contrast", "layers", *sizes, "mean", "gain", "ms a frame"),
        rows=tuple(_row(trial, trials, is_chosen=number == chosen) for number, trial in enumerate(trials)),
    )


def _row(trial: dict[str, Any], trials: Sequence[dict[str, Any]], *, is_chosen: bool) -> TrialRow:
    other, cost_ms = trials[trial.get("compared_with", 0)], trial.get("frame_ms")
    return TrialRow(
        is_chosen=is_chosen,
        words=(frames_of(trial), trial["contrast"], ",".join(trial["layers"])),
        shares=tuple(100 * share for share in (*_shares(trial), trial["auroc"])),
        figures=("" if other is trial else _gain(trial, other), "" if cost_ms is None else f"{cost_ms:.0f}"),
    )


def _gain(trial: dict[str, Any], other: dict[str, Any]) -> str:
    counted = trial.get("counted", "mean")
    gain = trial["auroc"] - other["auroc"] if counted == "mean" else trial["gain"]
    return f"{100 * gain:+.1f} ± {100 * trial['error']:.1f} ({counted})"


def _other_kind(trial: dict[str, Any], kind: str) -> str:
    other = "--kind patchcore" if kind == "drawn" else "--kind drawn"
    tile_px = trial.get("tile_px")
    return other if tile_px is None else f"{other} --tile-px {tile_px}"


def _shares(trial: dict[str, Any]) -> list[float]:
    return [size["auroc"] for size in trial.get("by_size", ())]


def _size_name(size: dict[str, Any]) -> str:
    return f"{size['smallest_px']:.0f}-{size['largest_px']:.0f} px"
