"""One frozen object per arrow of a part's way: trigger, decision, outcome."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from partgate_station import Verdict


class Reason(StrEnum):
    """Why a part is UNDECIDED. The text stored is `CODE: sentence`."""

    NO_RECIPE = "NO_RECIPE"
    CAMERA_TIMEOUT = "CAMERA_TIMEOUT"
    CAMERA_FAULT = "CAMERA_FAULT"
    DAMAGED_IMAGE = "DAMAGED_IMAGE"
    NOT_LOCATED = "NOT_LOCATED"
    REGION_MISFIT = "REGION_MISFIT"
    MODEL_FAULT = "MODEL_FAULT"
    MODEL_SUSPECT = "MODEL_SUSPECT"
    IMAGE_HEALTH = "IMAGE_HEALTH"
    SCORE_NOT_FINITE = "SCORE_NOT_FINITE"
    DEADLINE_MISSED = "DEADLINE_MISSED"
    NOT_RECORDED = "NOT_RECORDED"
    TRIGGER_OVERRUN = "TRIGGER_OVERRUN"
    STATION_STOPPED = "STATION_STOPPED"
    STATION_FAULT = "STATION_FAULT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A part is in position."""

    trigger_id: int
    triggered_at: datetime
    """UTC, for the record."""
    monotonic_s: float
    """The same moment on the clock that deadlines are counted on."""
    serial_number: str | None = None
    refused: str | None = None
    """Why the part cannot be judged, as `CODE: sentence`, where its trigger says so; its row is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is said of a part and, where nothing can be said, why."""

    verdict: Verdict
    score: float | None = None
    reason: str | None = None

    @classmethod
    def undecided(cls, code: Reason, sentence: str, *, score: float | None = None) -> "Decision":
        """Return the decision that nothing can be decided; the gate stays shut."""
        return cls(verdict=Verdict.UNDECIDED, reason=f"{code}: {sentence}", score=score)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A part that has been judged and signalled."""

    part_id: uuid.UUID
    trigger_id: int
    decision: Decision
    gate_open: bool
    latency_ms: float
    """From the trigger to the reject signal."""
