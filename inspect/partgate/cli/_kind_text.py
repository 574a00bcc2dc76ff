"""What kind of model was chosen, and from what, in the terminal and on the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from partgate.cli._output import out, print_table, table

_NOT_COMPARED = (
    "The kind was not compared: that takes 10 good images of 8 parts, torch and anomalib, and --kind,"
    " --layers, --contrast and --backbone left out."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KindTable:
    """Two kinds beside each other."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Of every family of defects, in how many of 100 pairs each told the tile with a defect apart."""

    source: str
    verdict: str
    """What was chosen, and why."""

    cost: str
    """What the choice costs, and how to have it otherwise; empty where it is the usual kind."""


def print_kind(trial: dict[str, Any] | None) -> None:
    """Say which kind was chosen, and from what; or that none was compared."""
    found = kind_table(trial)
    if found is None:
        out.print(_NOT_COMPARED, markup=False)
        return
    print_table(table("Kinds, of single tiles in the same way:", found.columns, found.rows))
    for sentence in (f"By {found.source}.", found.verdict, found.cost):
        if sentence:
            out.print(sentence, markup=False)


def kind_table(trial: dict[str, Any] | None) -> KindTable | None:
    """Return what the kind was chosen from; None where none was compared.

    Args:
        trial: as a manifest has it.
    """
    if trial is None:
        return None
    kind, other = trial["kind"], trial["compared_with"]
    return KindTable(
        columns=("defects", other, f"{kind}, taught them", f"{kind}, taught others"),
        rows=tuple(_row(family) for family in trial["families"]),
        source=f"{trial['drawn_defects']} defects drawn on {trial['good_images']} good images",
        verdict=_verdict(trial, kind, other),
        cost=_cost(kind, other) if trial["taken"] else "",
    )


def _row(family: dict[str, Any]) -> tuple[str, ...]:
    shares: Sequence[float] = (family["auroc"], family["taught"], family["untaught"])
    return family["family"], *(f"{100 * share:.1f}" for share in shares)


def _verdict(trial: dict[str, Any], kind: str, other: str) -> str:
    gains = (
        f"{kind} gains {_gain(trial, 'taught')} on defects that it was taught, and {_gain(trial, 'untaught')}"
        " on those it was not"
    )
    if trial["taken"]:
        return f"Chosen: {gains}."
    if trial["is_better"]:
        return (
            f"{other} stays, though {gains}: from fewer than {trial['needs_parts']} good parts its thresholds"
            " lie so high that few defects reach them. Give more, or learn with --commissioning;"
            f" --kind {kind} takes it all the same."
        )
    return (
        f"{other} stays: {gains}. To be taken it has to gain more than two errors on the first, and to lose"
        " less on the others."
    )


def _gain(trial: dict[str, Any], which: str) -> str:
    return f"{100 * trial[f'{which}_gain']:+.1f} ± {100 * trial[f'{which}_error']:.1f}"


def _cost(kind: str, other: str) -> str:
    return (
        f"No image can be added to {kind} or taken out of it: partgate retrain and partgate models forget"
        f" refuse it, and what QA finds is learned by learning anew. --kind {other} has a memory bank, where"
        " they work."
    )
