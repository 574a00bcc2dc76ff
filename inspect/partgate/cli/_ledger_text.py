"""The ledger's balance, in words and in JSON."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partgate.records import Balance, SuspectParts


def balance_json(balance: "Balance") -> dict[str, Any]:
    """Return the balance as programs rely on it."""
    return {
        "triggers": balance.triggers,
        "accept": balance.accept,
        "review": balance.review,
        "reject": balance.reject,
        "undecided": balance.undecided,
        "open": balance.open,
        "balanced": balance.balanced,
    }


def in_work(balance: "Balance", *, running: bool) -> int:
    """Return how many open parts are in work: all of them, while their stations run and no row is missing."""
    return balance.open if running and balance.is_whole else 0


def balance_line(balance: "Balance", *, in_work: int = 0) -> str:
    """Return the balance as one line a person can check; parts in work are no fault."""
    sum_line = (
        f"{balance.triggers - in_work} triggers = {balance.accept} accept + {balance.review} review"
        f" + {balance.reject} reject + {balance.undecided} undecided"
    )
    if balance.balanced:
        return f"{sum_line}: balanced"
    if in_work:
        return f"{sum_line}: balanced, {in_work} more in work"
    return f"{sum_line}, {balance.open} open: NOT BALANCED"


def orphan_line(orphans: int) -> str:
    """Return one line that says how many frames were given to no part."""
    return f"orphan frames: {orphans}"


def unconfirmed_line(parts: int) -> str:
    """Return one line that says of how many parts the gate did not confirm the verdict."""
    return f"signals not confirmed: {parts} (the gate stayed shut for these parts)"


def suspect_line(parts: "SuspectParts") -> str:
    """Return one line that says which parts are suspect, and why."""
    images = parts.why.startswith("IMAGE_HEALTH:")
    cause = "their images led to an alarm" if images else "the model was wrong of a golden frame after them"
    return (
        f"suspect: station '{parts.station_id}', triggers {parts.first_trigger_id} to"
        f" {parts.last_trigger_id}: {cause} ({parts.why})"
    )
