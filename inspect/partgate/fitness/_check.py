"""What is looked at, what came of it, and what to do."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from partgate_station import PartgateError

UNAVAILABLE = 69  # what is unfit without a code of its own


class State(StrEnum):
    """How a thing is for judging parts."""

    OK = "ok"
    NOTE = "note"
    """Parts can be judged; it may be as it should be, or could be better."""

    UNFIT = "unfit"
    """Parts cannot be judged, or not be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    value: str
    """What was found."""

    advice: str = ""
    """What to do; empty where there is nothing to do."""

    exit_code: int = 0
    """What a command ends with if this is the first unfit thing; 0 where it is not unfit."""


def ok(name: str, value: str) -> Check:
    """Return that a thing is as it should be."""
    return Check(name=name, state=State.OK, value=value)


def note(name: str, value: str, advice: str = "") -> Check:
    """Return that a thing does not keep parts from being judged, and should be known."""
    return Check(name=name, state=State.NOTE, value=value, advice=advice)


def unfit(name: str, value: str, advice: str = "", *, exit_code: int = UNAVAILABLE) -> Check:
    """Return that a thing keeps parts from being judged or kept."""
    return Check(name=name, state=State.UNFIT, value=value, advice=advice, exit_code=exit_code)


def refused(name: str, error: PartgateError, advice: str = "") -> Check:
    """Return a thing that an error says is unfit; its own text says what to do."""
    return unfit(name, str(error), advice, exit_code=error.exit_code or UNAVAILABLE)


Look = Callable[[], Iterable[Check]]


class Refused(Exception):
    """Something that the looks which follow need cannot be had. Stays in this package."""

    def __init__(self, check: Check) -> None:
        super().__init__(check.value)
        self.check = check


@contextmanager
def about(name: str) -> Iterator[None]:
    """Let an error inside the block end the look, as a check of this name.

    Raises:
        Refused: for `looked`.
    """
    try:
        yield
    except PartgateError as error:
        raise Refused(refused(name, error)) from error


def looked(name: str, look: Look) -> tuple[Check, ...]:
    """Look; whatever goes wrong in doing so becomes a check as well.

    A machine is examined because something is wrong with it: what cannot be looked at must not hide
    the rest, whatever it raises. What was found before stays.
    """
    found: list[Check] = []
    try:
        for check in look():
            found.append(check)  # noqa: PERF402 - `extend` would lose what came before an error
    except Refused as error:
        found.append(error.check)
    except PartgateError as error:
        found.append(refused(name, error))
    except Exception as error:  # noqa: BLE001 - it becomes a finding, see above
        found.append(note(name, f"could not be looked at ({type(error).__name__}: {error})"))
    return tuple(found)


def looked_within(limit_s: float, name: str, look: Look) -> tuple[Check, ...]:
    """Look, but do not wait for ever: a disk or a driver that hangs is a finding, and the next one follows.

    Looks in a thread of its own, which is left behind if it hangs.
    """
    found: list[tuple[Check, ...]] = []
    thread = threading.Thread(
        target=lambda: found.append(looked(name, look)), name=f"check-{name}", daemon=True
    )
    thread.start()
    thread.join(limit_s)
    if found:
        return found[0]
    return (unfit(name, f"no answer in {limit_s:g} s", "what is looked at here hangs: restart the machine"),)


def exit_code(checks: Iterable[Check]) -> int:
    """Return the code of the first unfit thing, 0 if there is none."""
    return next((check.exit_code for check in checks if check.state is State.UNFIT), 0)
