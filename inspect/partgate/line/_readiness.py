"""Whether the station may be given parts: every proof it needs, since when, and what is missing.

    NOT PROVEN --its check passes--> PROVEN --its check fails--> NOT PROVEN, with a reason

The station is ready while every proof stands. Nothing is taken on trust: a check asks the thing itself.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

NOT_YET = "not proven yet"

Check = Callable[[], str | None]
"""Returns why a thing is not fit; None if it is. Must not wait."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What one thing has shown of itself."""

    name: str
    since: datetime
    """UTC: since when it has been proven, or has not."""

    why_not: str | None = NOT_YET
    """None while it is proven."""


class Readiness:
    """The proofs of one station. `look` is one thread's at a time; the rest may be called by any."""

    def __init__(self, checks: Mapping[str, Check], *, station_id: str) -> None:
        """Begin with nothing proven.

        Args:
            checks: by the proof's name, in the order in which they are shown.
            station_id: for the log.
        """
        self._checks, self._station_id = dict(checks), station_id
        now = datetime.now(UTC)
        self._proofs = tuple(Proof(name=name, since=now) for name in checks)
        self._lock = threading.Lock()

    @property
    def proofs(self) -> tuple[Proof, ...]:
        """Return all proofs, as they were when `look` was last called."""
        with self._lock:
            return self._proofs

    @property
    def is_ready(self) -> bool:
        """Whether every proof stands."""
        return not self.why_not

    @property
    def why_not(self) -> str | None:
        """What is missing, in a sentence; None while the station is ready."""
        missing = [f"{proof.name}: {proof.why_not}" for proof in self.proofs if proof.why_not is not None]
        return "; ".join(missing) or None

    def look(self) -> bool:
        """Ask every check, log what has changed, and return whether the station is ready."""
        before = self.proofs
        was_ready = self.is_ready
        after = tuple(_asked(proof, self._checks[proof.name]) for proof in before)
        with self._lock:
            self._proofs = after
        for old, new in zip(before, after, strict=True):
            self._tell(old, new)
        if self.is_ready and not was_ready:
            log.info("station ready", station=self._station_id)
        elif was_ready and not self.is_ready:
            log.warning("station not ready", station=self._station_id, why=self.why_not)
        return self.is_ready

    def withdraw(self, why: str) -> None:
        """Take every proof back: who looks after them cannot, and old ones are worth nothing."""
        now = datetime.now(UTC)
        with self._lock:
            self._proofs = tuple(
                proof if proof.why_not is not None else replace(proof, since=now, why_not=why)
                for proof in self._proofs
            )

    def _tell(self, old: Proof, new: Proof) -> None:
        if old.since == new.since and (old.why_not == NOT_YET) == (new.why_not == NOT_YET):
            return
        if new.why_not is None:
            log.info("proven", station=self._station_id, proof=new.name)
        else:
            log.warning("not proven", station=self._station_id, proof=new.name, why=new.why_not)


def _asked(proof: Proof, check: Check) -> Proof:
    """Return a proof as its check says; a reason that only counts seconds is no change."""
    why_not = check()
    if (proof.why_not is None) == (why_not is None):
        return replace(proof, why_not=why_not)
    return Proof(name=proof.name, since=datetime.now(UTC), why_not=why_not)
